"""The origin of a run's numbers: data, weights, commands, versions."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from html import escape
from operator import itemgetter

from asim_lightning.circuit.macro import MacroConfig
from asim_lightning.circuit.presets import preset
from asim_lightning.evaluation.results import axis_text
from asim_lightning.evaluation.run import CommandRecord, Run
from asim_lightning.evaluation.target import Target, meaning_of_early_end
from asim_lightning.report.html_page import list_html, table_html
from asim_lightning.report.labels import duration, legend_text, macro_words
from asim_lightning.report.verdict import varied
from asim_lightning.table import Table, count_range, plain


def facts(run: Run) -> list[tuple[str, str]]:
    """Data, weights and samples of the numbers."""
    images, trials = [row.images for row in run.rows], [point.trials for point in run.points]
    backbone = run.settings.get("model", {}).get("backbone", {}).get("name", "")
    weights, data = run.settings.get("weights"), run.settings.get("data", {}).get("class", "")
    reads = "1 read" if {*trials} == {1} else f"{count_range(trials)} reads" if trials else "none"
    is_doctor = run.kind == "doctor"  # its notes have the images of both of its parts
    says_points = not run.document or (bool(trials) and not is_doctor)
    several = () if run.document else varied(run)
    axes = {} if run.document or not run.points else run.points[0].axes
    single = {name: value for name, value in axes.items() if name not in several}
    unsaid = {*several, *(name for fields in run.corners.values() for name in fields if name not in axes)}
    seen = "" if is_doctor or not images else count_range(images) + f" of {data.rpartition('.')[2]}" * bool(data)
    found = [
        ("network", backbone),
        ("weights", f"SHA-256 {weights[:16]}" if weights else ""),
        ("macro", macro_words(run.macro, single, unsaid) if run.macro else ""),
        ("corners", "; ".join(f"{name}: {legend_text(each) or 'as the macro'}" for name, each in run.corners.items())),
        ("images", seen),
        ("all-digital macro", f"{run.all_digital[0]:.4g} µJ an image for the same products" if run.all_digital else ""),
        ("points", f"{len(run.points):,} simulated, {reads} each" if says_points else ""),
        ("intervals", _intervals(run)),
        ("findings", "; ".join(each["text"] for each in run.document.get("findings", ()))),
        ("notes", "; ".join(run.document.get("notes", ()))),
        ("files", f"results.csv and those next to it in {run.folder}"),
    ]
    return [(name, said) for name, said in found if said]


def _intervals(run: Run) -> str:
    """The meaning of the intervals of a run."""
    if run.until is not None:
        images = max(each.images for each in run.rows)
        return meaning_of_early_end(Target.read(run.until, "`until`"), images).rstrip(".")
    if run.document:
        of = "over images, and over chips of a macro with spreads"
    elif run.settings.get("search", {}).get("chips") is not None:
        of = "over images and chips"
    elif run.yields:
        of = "of each chip over images, and of yields over chips"
    else:
        return "95 %, over images; nothing in them knows of other chips or other data"
    return f"95 %, {of}; nothing in them knows of other data"


def origin_html(run: Run) -> list[str]:
    """Commands with their differences from recipe and preset, seeds, versions, machine and time."""
    if not run.commands:
        said = '<p class="note">The folder has no record of a command, such as after a sweep in Python.</p>'
        return [said, list_html([("versions", _pairs(run.settings.get("versions", {})))])]
    found = []
    for command in run.commands:
        found += [f"<pre><code>{escape(command.command)}</code></pre>", list_html(_account(command))]
        if differences := difference_table(command):
            found.append(table_html(differences))
    return found


def _account(command: CommandRecord) -> list[tuple[str, str]]:
    machine = command.machine
    time = "not finished" if command.seconds is None else duration(command.seconds)
    calls = f", {command.calls} calls" if command.calls > 1 else ""
    found = [("recipe", command.recipe or "none"), ("preset", command.preset or "none")]
    found += [("seeds", _pairs(command.seeds)), ("versions", _pairs(command.versions))]
    if machine:
        threads = f"{machine.get('threads')} of {machine.get('processors')} threads"
        kernels = f"{machine.get('capability')}, C++ kernels {machine.get('kernels')}, device {machine.get('device')}"
        found.append(("machine", f"{machine.get('cpu')}, {threads}, {kernels}, {machine.get('system')}"))
    return [*found, ("wall time", f"{time}{calls}, started {command.started}")]


def difference_table(command: CommandRecord) -> Table[Sequence[str]]:
    """Settings in which a command differs from its recipe, and its macro from the preset, if any."""
    where = f"recipe {command.recipe}" if command.recipe else "defaults"
    rows: list[Sequence[str]] = [
        (name, where, "-" if before is None else _setting(before), _setting(after))
        for name, (before, after) in command.differences.items()
    ]
    base = asdict(MacroConfig()) if not command.recipe else {}
    if command.preset:
        where, base = f"preset {command.preset}", asdict(preset(command.preset).config())
    for name in (name for name in base if name in command.macro):
        before, after = _setting(base[name]), _setting(command.macro[name])
        if before != after:
            rows.append((f"model.plan.macro.{name}", where, before, after))
    heads = ("setting", "differs from", "there", "here")
    return Table([plain(head, itemgetter(at), "l") for at, head in enumerate(heads)], rows, file="settings.csv")


def _setting(value: object) -> str:
    """A value as YAML would write it."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {_setting(each)}" for name, each in value.items()) or "{}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_setting, value))}]"
    return axis_text(value)  # type: ignore[arg-type]  # a text if YAML has no such value


def _pairs(values: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {_setting(value)}" for name, value in values.items()) or "none recorded"
