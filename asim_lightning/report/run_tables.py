"""Tables of a run in a report: points, choices, yields, layers, and settings that differ, with the numbers of each."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from asim_lightning.circuit.macro import MacroConfig
from asim_lightning.circuit.presets import preset
from asim_lightning.evaluation.results import KINDS, axis_text, value_words
from asim_lightning.evaluation.run import CommandRecord, Run
from asim_lightning.evaluation.target import Target
from asim_lightning.report.axis_labels import head_of, label_of, legend_text
from asim_lightning.report.choices import choices, front_of, target_words
from asim_lightning.report.cost_names import cost_label, main_costs
from asim_lightning.report.layers import layer_numbers, layers_shown
from asim_lightning.report.numbers import interval_text
from asim_lightning.report.picture import Rows
from asim_lightning.report.verdict import point_words

_KEPT = ("kind", "accuracy (%), 95 %", "target")
"""Columns that are shown in any case."""


@dataclass(frozen=True)
class Table:
    """A table of a report."""

    title: str
    file: str
    """Name of the CSV of its numbers."""
    shown: Rows
    """Cells as people read them."""
    numbers: Rows
    """The same, in full and as a program reads them."""
    marked: Sequence[int] = ()
    """Places of the rows, without the head, that stand out."""
    note: str = ""


def tables(run: Run, target: Target) -> list[Table]:
    """The tables of a run's results, in the order of a page.

    Args:
        run: The run.
        target: The accuracy to keep.

    Raises:
        ValueError: The run lacks what the target is a share of.
    """
    found = (choice_table(run, target), yield_table(run), point_table(run, target), layer_table(run, target))
    return [each for each in found if each is not None]


def point_table(run: Run, target: Target) -> Table:
    """All points with accuracy, difference to the quantised network, decision, and costs.

    A column in which all simulated points agree is a note, so that the table fits a page; its CSV has all columns.
    """
    front = {id(each) for each in front_of(run)}
    decided = run.decided(target)
    cheapest = {id(each) for each in decided.cheapest}
    names = main_costs(run.costs)
    columns: list[object] = ["kind", *run.axes, "accuracy", "low", "high", "difference", "difference_low"]
    columns += ["difference_high", "target", *run.costs, "on_the_front"]
    numbers: Rows = [[*columns, "trials", "images", "seconds", "algorithm", "right"]]
    shown: list[dict[str, object]] = []
    marked = []
    order = sorted(zip(run.results, decided.results, strict=True), key=lambda each: KINDS.index(each[0].kind))
    for place, (row, with_verdict) in enumerate(order):
        is_point, difference, is_front = row.kind == "simulated", row.difference, id(row) in front
        verdict = str(run.decision(target, row)) if is_point else ""
        accuracy = f"{100 * row.accuracy:.2f} {interval_text(row.low, row.high)}"
        pair = "-" if difference is None else _difference(difference.mean, difference.low, difference.high)
        shown.append({
            "kind": row.kind,
            **{table_head(run, name): value_words(row.axes[name]) if name in row.axes else "-" for name in run.axes},
            "accuracy (%), 95 %": accuracy,
            "to quantized (points)": pair,
            "target": verdict or "-",
            **{cost_label(name): f"{row.figures[name]:.4g}" if name in row.figures else "-" for name in names},
            "front": "front" if is_front else "-",
            "reads": row.trials,
            "images": row.images,
            "algorithm": row.algorithm,
        })  # fmt: skip
        ends = ["", "", ""] if difference is None else [difference.mean, difference.low, difference.high]
        written = [axis_text(row.axes[name]) if name in row.axes else "" for name in run.axes]
        numbers.append([
            row.kind, *written, row.accuracy, row.low, row.high, *ends, verdict,
            *(row.figures.get(name, "") for name in run.costs), is_front, row.trials, row.images, row.seconds,
            row.algorithm, " ".join(map(str, row.right)),
        ])  # fmt: skip
        marked += [place] if id(with_verdict) in cheapest else []
    heads, note = _that_differ(shown)
    green = f"Green: the cheapest point that keeps {target_words(target)}, under each condition. " if marked else ""
    rows: Rows = [list(heads), *([row[head] for head in heads] for row in shown)]
    return Table("All points", "points.csv", rows, numbers, marked, green + note)


def table_head(run: Run, name: str) -> str:
    """The text of an axis at the head of a column, without its unit if the cells have theirs."""
    has_texts = any(isinstance(point.axes.get(name), str) for point in run.points)
    return head_of(name) if has_texts else label_of(name)


def _that_differ(rows: Sequence[Mapping[str, object]]) -> tuple[list[str], str]:
    """Heads of the columns in which simulated points differ, and a note on the others, of those with a value."""
    simulated = [row for row in rows if row["kind"] == "simulated"] or list(rows)
    alike = {
        head: simulated[0][head]
        for head in rows[0]
        if head not in _KEPT and len(simulated) > 1 and len({str(row[head]) for row in simulated}) == 1
    }
    said = [f"{head} {value}" for head, value in alike.items() if value != "-"]
    return [head for head in rows[0] if head not in alike], f"All simulated points: {', '.join(said)}." if said else ""


def choice_table(run: Run, target: Target) -> Table | None:
    """The cheapest point that keeps the target under each combination of conditions; None where there is no choice."""
    found, points = [] if run.yields else choices(run, target), len(run.points)
    if not found or not found[0].conditions or len(found) == points:
        return None
    costs = main_costs(run.costs)
    head: list[object] = ["conditions", "kept", "undecided", "missed", "cheapest that is kept", "accuracy (%)"]
    rows: Rows = [[*head, "95 % interval", *map(cost_label, costs)]]
    columns: list[object] = ["conditions", "kept", "undecided", "missed", "cheapest", "accuracy", "low", "high"]
    numbers: Rows = [[*columns, *costs]]
    for choice in found:
        best, where = choice.best, legend_text(choice.conditions)
        counts = [where, choice.kept, choice.undecided, choice.missed]
        rows.append([*counts, *["-"] * (3 + len(costs))])
        numbers.append([*counts, *[""] * (4 + len(costs))])
        if best is not None:
            what = point_words(run, best, list(choice.conditions))
            texts = [f"{best.figures[name]:.4g}" if name in best.figures else "-" for name in costs]
            rows[-1][4:] = [what, f"{100 * best.accuracy:.2f}", interval_text(best.low, best.high), *texts]
            numbers[-1][4:8] = [what, best.accuracy, best.low, best.high]
            numbers[-1][8:] = [best.figures.get(name, "") for name in costs]
    return Table(f"Points that keep {target_words(target)}", "choices.csv", rows, numbers)


def yield_table(run: Run) -> Table | None:
    """Good chips at each threshold, for each combination of the other axes; None without yields."""
    if not run.yields:
        return None
    axes = list(run.yields[0].axes)
    head: list[object] = [*(table_head(run, name) for name in axes), "mean (%)", "95 % interval", "chip sd (points)"]
    rows: Rows = [
        [*head, "at least (%)", "good chips", "chips", "yield (%)", "on these images (%)", "on all images (%)"]
    ]
    columns: list[object] = ["mean", "mean_low", "mean_high", "chip_sd", "threshold", "good", "chips", "yield"]
    numbers: Rows = [[*axes, *columns, "low", "high", "low_all_images", "high_all_images"]]
    for found in run.yields:
        for threshold in reversed(run.thresholds):
            at, mean = found.at(threshold), found.mean
            rows.append([
                *map(value_words, found.axes.values()), f"{100 * mean.mean:.2f}", interval_text(mean.low, mean.high),
                f"{100 * found.spread:.2f}", f"{100 * threshold:g}", at.good, at.total, f"{100 * at.share:.1f}",
                interval_text(at.low, at.high), interval_text(at.low_all, at.high_all),
            ])  # fmt: skip
            numbers.append([
                *map(axis_text, found.axes.values()), mean.mean, mean.low, mean.high, found.spread, threshold, at.good,
                at.total, at.share, at.low, at.high, at.low_all, at.high_all,
            ])  # fmt: skip
    return Table("Yields", "yields.csv", rows, numbers)


def layer_table(run: Run, target: Target) -> Table | None:
    """What each layer takes, of the point that `layers_shown` chooses; None where it is not known."""
    layers, whose = layers_shown(run, target)
    if not layers:
        return None
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
    return Table("Layers, one image", "layers.csv", rows, layer_numbers(layers), note=whose)


def difference_rows(command: CommandRecord) -> Rows:
    """Settings in which a command differs from its recipe, and its macro from the preset, if any."""
    rows: Rows = [["setting", "differs from", "there", "here"]]
    where = f"recipe {command.recipe}" if command.recipe else "defaults"
    for name, (before, after) in command.differences.items():
        rows.append([name, where, "-" if before is None else text_of(before), text_of(after)])
    base = asdict(preset(command.preset).config()) if command.preset else {}
    if not command.recipe and not command.preset:
        base, where = asdict(MacroConfig()), "defaults"
    for name, before in base.items():
        if name in command.macro and text_of(command.macro[name]) != text_of(before):
            source = f"preset {command.preset}" if command.preset else where
            rows.append([f"model.plan.macro.{name}", source, text_of(before), text_of(command.macro[name])])
    return rows


def text_of(value: object) -> str:
    """A value as YAML would write it."""
    if isinstance(value, dict):
        return ", ".join(f"{name}: {text_of(each)}" for name, each in value.items()) or "{}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(text_of, value))}]"
    return axis_text(value)  # type: ignore[arg-type]  # a text where it is none of YAML's


def _difference(mean: float, low: float, high: float) -> str:
    return f"{100 * mean:+.2f} [{100 * low:.2f}, {100 * high:.2f}]"
