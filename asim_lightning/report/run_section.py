"""The part of a report that is about one run: what it shows, figures, tables, and what it was computed from."""

from collections.abc import Sequence
from dataclasses import asdict
from html import escape
from typing import Any

from asim_lightning.circuit.macro import MacroConfig
from asim_lightning.circuit.presets import preset
from asim_lightning.evaluation.accuracy_target import AccuracyTarget
from asim_lightning.evaluation.command_record import CommandRecord
from asim_lightning.evaluation.results import KINDS, axis_text, distinct_values, is_number, value_words
from asim_lightning.evaluation.run_results import CHIP, RunResults
from asim_lightning.report.accuracy_drawing import accuracy_drawing
from asim_lightning.report.axis_labels import LABELS, head_of, label_of, legend_text
from asim_lightning.report.choices import choices, digital_energy, pareto, varied
from asim_lightning.report.cost_names import cost_label, main_costs
from asim_lightning.report.drawing import Drawing, Rows
from asim_lightning.report.html_page import figure_html, list_html, table_html
from asim_lightning.report.layer_drawing import layer_drawing, layers_shown
from asim_lightning.report.numbers import duration, interval_text
from asim_lightning.report.trade_off_drawing import trade_off_drawing
from asim_lightning.report.verdict import point_words, verdict
from asim_lightning.report.yield_drawing import yield_drawing

_FEW = 3
"""Values that a title lists."""
_MOST_AXES = 8
"""Axes that get a figure of their own."""


def section_html(run: RunResults, target: AccuracyTarget, number: int, title: str = "") -> str:
    """The part of a page about one run.

    Args:
        run: The run.
        target: The accuracy to keep.
        number: Place of the run on the page, from 1; 0: alone, under the headline of the page.
        title: Its headline where it is not alone; empty: `run_title`.

    Raises:
        ValueError: The run lacks what the target is a share of.
        ModuleNotFoundError: plotly is not installed.
    """
    command = run.commands[-1].command if run.commands else ""
    figures = [
        figure_html(drawing, f"figure-{number}-{place}", command)
        for place, drawing in enumerate(drawings(run, target), 1)
    ]
    parts = [
        *([f"<h2>{escape(title or run_title(run))}</h2>"] if number else []),
        f'<p class="verdict">{escape(verdict(run, target))}</p>',
        list_html(facts(run)),
        '<div class="figures">',
        *figures,
        "</div>",
        *_choices(run, target),
        *_yields(run),
        "<h3>All points</h3>",
        points_html(run, target),
        *_layers(run, target),
        "<h3>What it was computed from</h3>",
        *_origin(run),
    ]
    return f'<section id="run-{number}">\n' + "\n".join(parts) + "\n</section>"


def run_title(run: RunResults) -> str:
    """Name of the recipe, what was done, and the axes that vary: "quickstart: sweep of ADC bits, random noise"."""
    recipe = run.commands[-1].recipe if run.commands else run.folder.resolve().parent.name
    kind = "yield" if run.yields else "search" if run.folder.name.startswith("search") else "sweep"
    names = [head_of(name, LABELS) for name in varied(run) if name != CHIP or kind != "yield"] or run.axes
    return f"{recipe}: {kind} of {', '.join(names)}" if names else f"{recipe}: {kind}"


def run_titles(runs: Sequence[RunResults]) -> list[str]:
    """Names of the runs of a report, which tell them apart: of several, with the values of axes and the folder."""
    if len(runs) == 1:
        return [run_title(runs[0])]
    return [f"{_title_with_values(each)} ({each.folder.name})" for each in runs]


def _title_with_values(run: RunResults) -> str:
    """As `run_title`, with the values of all axes: "search of ADC bits 6 to 9; random noise 0.3 lsb"."""
    rows = [point.result for point in run.of_kind("simulated")]
    said = []
    for name in (name for name in run.axes if name != CHIP or not run.yields):
        values = distinct_values(row.axes[name] for row in rows if name in row.axes)
        if len(values) > 1 and all(map(is_number, values)):
            text = f"{axis_text(values[0])} to {axis_text(values[-1])}"
        else:
            text = ", ".join(map(value_words, values)) if len(values) <= _FEW else f"({len(values)} values)"
        said.append(f"{head_of(name, LABELS)} {text}")
    head = run_title(run).partition(" of ")[0]
    return f"{head} of {'; '.join(said)}" if said else head


def drawings(run: RunResults, target: AccuracyTarget) -> list[Drawing]:
    """The figures of a run; energy by layer is that of the cheapest point that keeps the target, if one is known to."""
    several = [name for name in varied(run) if name != CHIP or not run.yields]
    axes = several or [name for name in run.axes if not run.yields][:1]
    found: list[Drawing | None] = [trade_off_drawing(run), yield_drawing(run)]
    if not run.yields:
        found += [accuracy_drawing(run, name) for name in axes[:_MOST_AXES]]
    return [each for each in (*found, layer_drawing(run, target)) if each is not None]


def facts(run: RunResults) -> list[tuple[str, str]]:
    """What the numbers are of."""
    results = [point.result for point in run.points]
    backbone = run.settings.get("model", {}).get("backbone", {}).get("name")
    images = sorted({row.images for row in results})
    simulated = [row for row in results if row.kind == "simulated"]
    trials = sorted({row.trials for row in simulated})
    found = [("network", backbone)] if backbone else []
    if weights := run.settings.get("weights"):
        found.append(("weights", f"SHA-256 {weights[:16]}"))
    if data := run.settings.get("data", {}).get("class", {}).get("class"):
        found.append(("images", f"{_ends(images)} of {data.rpartition('.')[2]}"))
    else:
        found.append(("images", _ends(images)))
    if (energy := digital_energy(run)) is not None:
        found.append(("all-digital macro", f"{energy:.4g} µJ an image for the same products"))
    decided = any(point.difference is not None or point.decisions for point in run.points)
    pairs = "" if decided or run.yields else "; targets are decided without pairs of images, as none are in the folder"
    found += [
        ("points", f"{len(simulated):,} simulated, {_ends(trials)} reads each" if simulated else "none simulated"),
        ("intervals", "95 %, over images; nothing in them knows of other chips or other data" + pairs),
        ("files", f"results.csv and those beside it in {run.folder}"),
    ]
    return found


def points_html(run: RunResults, target: AccuracyTarget) -> str:
    """All points with accuracy, difference to the quantised network, decision, and costs."""
    reference, front = target.reference(run), pareto(run)
    order = sorted(range(len(run.points)), key=lambda place: KINDS.index(run.points[place].result.kind))
    paired = any(point.difference is not None for point in run.points)
    names, is_timed = main_costs(run.costs), any(point.result.seconds for point in run.points)
    head: list[object] = ["kind", *(label_of(name, LABELS) for name in run.axes), "accuracy (%)", "95 % interval"]
    shown: Rows = [
        [*head, *["to quantized (points)"] * paired, "target", *map(cost_label, names), *["front"] * bool(front)]
    ]
    shown[0] += ["reads", "images", *["seconds", "algorithm"] * is_timed]
    columns: list[object] = ["kind", *run.axes, "accuracy", "low", "high", "difference", "difference_low"]
    columns += ["difference_high", "target", *run.costs, "on_the_front"]
    numbers: Rows = [[*columns, "trials", "images", "seconds", "algorithm", "right"]]
    for place in order:
        point = run.points[place]
        row, difference = point.result, point.difference
        simulated = row.kind == "simulated"
        decided = str(target.decision(point, reference)) if simulated else ""
        axes = [value_words(row.axes[name]) if name in row.axes else "-" for name in run.axes]
        pair = "-" if difference is None else _difference(difference.mean, difference.low, difference.high)
        costs = [f"{point.costs[name]:.4g}" if name in point.costs else "-" for name in names]
        shown.append([
            row.kind, *axes, f"{100 * row.accuracy:.2f}", interval_text(row.low, row.high), *[pair] * paired,
            decided or "-", *costs, *["front" if place in front else "-"] * bool(front), row.trials, row.images,
            *[f"{row.seconds:.1f}", row.algorithm] * is_timed,
        ])  # fmt: skip
        ends = ["", "", ""] if difference is None else [difference.mean, difference.low, difference.high]
        written = [axis_text(row.axes[name]) if name in row.axes else "" for name in run.axes]
        numbers.append([
            row.kind, *written, row.accuracy, row.low, row.high, *ends, decided,
            *(point.costs.get(name, "") for name in run.costs), place in front, row.trials, row.images, row.seconds,
            row.algorithm, " ".join(map(str, row.right)),
        ])  # fmt: skip
    marked = [index for index, place in enumerate(order) if place in front]
    return table_html(shown, "points.csv", marked, numbers)


def _choices(run: RunResults, target: AccuracyTarget) -> list[str]:
    """The cheapest point that keeps the target under each combination of conditions."""
    found, points = [] if run.yields else choices(run, target), len(run.of_kind("simulated"))
    if not found or not found[0].conditions or len(found) == points:  # where there is nothing to choose
        return []
    costs = main_costs(run.costs)
    head: list[object] = ["conditions", "kept", "undecided", "missed", "cheapest that is kept", "accuracy (%)"]
    rows: Rows = [[*head, "95 % interval", *map(cost_label, costs)]]
    for choice in found:
        best, where = choice.best, legend_text(choice.conditions, LABELS)
        rows.append([where, choice.kept, choice.undecided, choice.missed, *["-"] * (3 + len(costs))])
        if best is not None:
            what, row = point_words(run, best, list(choice.conditions)), best.result
            numbers = [f"{best.costs[name]:.4g}" if name in best.costs else "-" for name in costs]
            rows[-1][4:] = [what, f"{100 * row.accuracy:.2f}", interval_text(row.low, row.high), *numbers]
    return [f"<h3>Points that keep {escape(str(target))}</h3>", table_html(rows, "choices.csv")]


def _yields(run: RunResults) -> list[str]:
    if not run.yields:
        return []
    axes = list(run.yields[0].axes)
    head: list[object] = [*(label_of(name, LABELS) for name in axes), "mean (%)", "95 % interval", "chip sd (points)"]
    rows: Rows = [
        [*head, "at least (%)", "good chips", "chips", "yield (%)", "on these images (%)", "on all images (%)"]
    ]
    for found in run.yields:
        for threshold in reversed(run.thresholds):
            at, mean = found.at(threshold), found.mean
            rows.append([
                *map(value_words, found.axes.values()), f"{100 * mean.mean:.2f}", interval_text(mean.low, mean.high),
                f"{100 * found.spread:.2f}", f"{100 * threshold:g}", at.good, at.total, f"{100 * at.share:.1f}",
                interval_text(at.low, at.high), interval_text(at.low_all, at.high_all),
            ])  # fmt: skip
    return ["<h3>Yields</h3>", table_html(rows, "yields.csv")]


def _layers(run: RunResults, target: AccuracyTarget) -> list[str]:
    layers, whose = layers_shown(run, target)
    if not layers:
        return []
    total = sum(layer["energy_pj"] for layer in layers)
    head = [
        "layer",
        "on a macro",
        "multiplications",
        "conversions",
        "energy (nJ)",
        "share (%)",
        "latency (µs)",
        "why digital",
    ]
    rows: Rows = [head]  # type: ignore[list-item]
    for layer in layers:
        rows.append([
            layer["layer"], "yes" if layer["on_macro"] else "no", f"{layer['macs']:,}", f"{layer['conversions']:,}",
            f"{layer['energy_pj'] / 1000:.4g}", f"{100 * layer['energy_pj'] / total:.1f}" if total else "-",
            f"{1e6 * layer['latency_s']:.4g}", layer.get("why_digital", ""),
        ])  # fmt: skip
    numbers: Rows = [list(layers[0]), *([layer.get(name, "") for name in layers[0]] for layer in layers)]
    return [
        "<h3>Layers, one image</h3>",
        f'<p class="note">{escape(whose)}</p>',
        table_html(rows, "layers.csv", csv_rows=numbers),
    ]


def _origin(run: RunResults) -> list[str]:
    """Commands with their differences to recipe and preset, seeds, versions, machine and time."""
    if not run.commands:
        versions = run.settings.get("versions", {})
        said = '<p class="note">The folder has no record of a command, as that of a sweep in Python has none.</p>'
        return [said, list_html([("versions", _pairs(versions))])] if versions else [said]
    found = []
    for command in run.commands:
        found += [f"<pre><code>{escape(command.command)}</code></pre>", list_html(_account(command))]
        rows = difference_rows(command)
        if len(rows) > 1:
            found.append(table_html(rows, "differences.csv"))
    return found


def difference_rows(command: CommandRecord) -> Rows:
    """Settings in which a command differs from its recipe, and its macro from the preset, if any."""
    rows: Rows = [["setting", "differs from", "there", "here"]]
    where = f"recipe {command.recipe}" if command.recipe else "defaults"
    for name, (before, after) in command.differences.items():
        rows.append([name, where, "-" if before is None else _text(before), _text(after)])
    base = asdict(preset(command.preset).config()) if command.preset else {}
    if not command.recipe and not command.preset:
        base, where = asdict(MacroConfig()), "defaults"
    for name, before in base.items():
        if name in command.macro and _text(command.macro[name]) != _text(before):
            source = f"preset {command.preset}" if command.preset else where
            rows.append([f"model.plan.macro.{name}", source, _text(before), _text(command.macro[name])])
    return rows


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


def _text(value: object) -> str:
    """A value as YAML would write it."""
    if isinstance(value, dict):
        return ", ".join(f"{name}: {_text(each)}" for name, each in value.items()) or "{}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_text, value))}]"
    return axis_text(value)  # type: ignore[arg-type]  # a text where it is none of YAML's


def _pairs(values: Any) -> str:
    return ", ".join(f"{name} {_text(value)}" for name, value in values.items()) or "none recorded"


def _difference(mean: float, low: float, high: float) -> str:
    return f"{100 * mean:+.2f} [{100 * low:.2f}, {100 * high:.2f}]"


def _ends(numbers: Sequence[int]) -> str:
    return f"{numbers[0]:,}" if len(numbers) == 1 else f"{numbers[0]:,} to {numbers[-1]:,}"
