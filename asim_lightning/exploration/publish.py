"""Output of a sweep or a search: table, pictures, TensorBoard."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path

from matplotlib.figure import Figure

from asim_lightning.circuit import MacroConfig
from asim_lightning.cost.network_cost import doubts
from asim_lightning.evaluation.axis_settings import CHIP, CORNER, NOISE_AXES, TECHNOLOGY
from asim_lightning.evaluation.interval import NO_DIFFERENCE, difference_interval
from asim_lightning.evaluation.notes import interval_notes, near_notes
from asim_lightning.evaluation.results import (
    AxisValue,
    Result,
    axes_text,
    axis_text,
    distinct_values,
    is_number,
    noise_unit,
    stacked,
)
from asim_lightning.evaluation.run import DIFFERENCES, RESULTS, YIELDS, Run
from asim_lightning.evaluation.target import Target, figure, grouped, has_figure, meaning_of_early_end
from asim_lightning.exploration.axes import lsb_notes
from asim_lightning.exploration.methods import Point
from asim_lightning.exploration.point_costs import CostFigures
from asim_lightning.exploration.search import Search
from asim_lightning.exploration.search_space import of_technology
from asim_lightning.exploration.sweep import Sweep
from asim_lightning.report.accuracy import accuracy_picture, sweep_lines
from asim_lightning.report.draw import figure_of, save_figure
from asim_lightning.report.labels import in_one_unit, macro_words
from asim_lightning.report.picture import MOST_CURVES, Paper
from asim_lightning.report.results_table import Difference, differences_text, results_table, search_text
from asim_lightning.report.tensorboard_curves import axis_curves, energy_curves, write_run
from asim_lightning.report.trade_off import map_pictures, trade_off_picture
from asim_lightning.report.verdict import varied, verdict
from asim_lightning.report.yields import (
    MOST_GROUPS,
    chips_picture,
    groups_of_chips,
    write_yields,
    yield_picture,
    yield_text,
)
from asim_lightning.surgery import macro_layers
from asim_lightning.whole_file import write_lines

_SCALARS = ("accuracy", "yield", "energy", "latency", "tops_per_watt")
_MOST_EQUAL = 4
"""Most points in a note."""
_MOST_ROWS, _MOST_CHIPS = 102, 10
"""Most points with a table of steps along an axis; most points of chips in a table."""


def publish(run: Run, sweep: Sweep, name: str, paper: Paper = Paper()) -> str:
    """Write plot and dashboard into the sweep's folder; return the table and the paths of the files.

    The table and the yields of chips have the points of this call; plot, dashboard and results.csv have all points of
    the run.
    """
    every = Run(sweep.folder, sweep.study.folder.results())
    rows, swept, model = every.rows, list(run.rows[-1].axes), sweep.study.work.model
    axis = plot_axis([*rows, run.rows[-1]])
    # a weight-parallel cycle has signed codes and so another LSB
    macros = [layer.macro for layer in macro_layers(model.backbone).values()]
    bits = {None if each.weight_parallel else each.adc_bits for each in macros}
    swept += _of_corners(sweep)
    adc_bits = bits.pop() if len(bits) == 1 and not {"adc_bits", "weight_parallel"} & set(swept) else None
    title = _title(name, sweep.macro, every, _rules(sweep), (axis, *_of_corners(sweep))) + _volts(sweep)
    if run.until is None and _is_of_chips(in_one_unit(rows, axis)[0], axis):  # else chips saw different images
        drawn = chips_picture(rows, title, run.thresholds)
    else:
        drawn = accuracy_picture(rows, axis, title, getattr(model, "num_classes", None), adc_bits)
    whole = figure_of(drawn.in_words(run.measure.words), width=paper.width)
    file = re.sub(r"[^A-Za-z0-9_.-]+", "_", drawn.file.removesuffix(".csv"))
    picture = save_figure(whole, paper.path(sweep.folder, file))
    write_run(every, {**axis_curves(rows, axis), **energy_curves(every)}, {f"sweep/{axis}": whole})
    _write_differences(every, sweep.study.settings.axes)
    yields = _yield_files(run, sweep, name, paper) if run.yields else []
    earlier = len(rows) - len(run.rows)
    more = [f"earlier  picture and numbers also have {earlier:,} rows of earlier commands"] if earlier > 0 else []
    return "\n".join([sweep_text(run, sweep, axis), *_files(sweep.folder, [picture]), *more, *yields])


def sweep_text(run: Run, sweep: Sweep, axis: str | None = None) -> str:
    """The yields of a sweep over chips, the highest threshold first; its table, and notes, such as the steps along an
    axis; None: the axis of the plot."""
    words, end = run.measure.words, sweep.settings.end
    yields = [yield_text(run.yields, run.thresholds[::-1], end, words), ""] if run.yields else []
    notes = _notes(run, sweep.study.points.macros, sweep.costs, sweep.thresholds or ())
    lines = [
        *yields,
        _table(run.rows),
        *_equal_points(run.points, run.corners),
        *(f"\nnote     {each}" for each in notes),
        "",
        str(sweep.costs),
        *_changes(run, sweep, axis or plot_axis(run.rows)),
    ]
    return words("\n".join(lines))


def plot_axis(rows: Sequence[Result]) -> str:
    """The axis of a plot: random noise if it has several values, else the first axis that has; corners come last."""
    swept = list(rows[-1].axes)
    order = sorted(swept, key=lambda name: (name == CORNER, name != "random_noise"))
    several = [name for name in order if len(distinct_values(row.axes[name] for row in rows if name in row.axes)) > 1]
    return (several or order)[0]


def publish_search(run: Run, search: Search, name: str, paper: Paper = Paper()) -> str:
    """Write files and pictures into the search's folder; return the table and the paths of the files."""
    title = f"{name}, {len(run.compared)} points by {search.settings.method}"
    of_points = {*run.points[0].axes, *_of_corners(search)}
    title += "" if any(each.startswith(TECHNOLOGY) for each in of_points) else f", {search.technology}"
    macros = search.macros(run.points[0].axes)
    title = _title(title, min(macros, key=str), run, len(macros) - 1, _of_corners(search)) + _volts(search)
    figures = _figures(run, title, paper.width)
    pictures = [save_figure(drawn, paper.path(search.folder, file)) for file, drawn in figures.items()]
    known = [name for name in _SCALARS if all(has_figure(each, name) for each in run.points)]
    write_run(
        run,
        energy_curves(run),
        {f"search/{name.removeprefix('accuracy_')}": drawn for name, drawn in figures.items()},
        {f"search/{name}_of_point": [_scalar(each, name) for each in run.points] for name in known},
    )
    return "\n".join([whole_search_text(run, search), *_files(search.folder, pictures)])


def _scalar(point: Result, name: str) -> float:
    """A figure of a point, as in files."""
    return point.plain[0] if name == "accuracy" else figure(point, name)


def whole_search_text(run: Run, search: Search) -> str:
    """The table of a search, and notes on it."""
    ends = search.settings.ends
    lines = [
        search_text(run, str(search.technology)),
        *(f"Note: {each}." for each in _notes(run, search.macros, search.costs)),
        *([] if ends is None else [meaning_of_early_end(ends, run.references[0].images)]),
    ]
    return run.measure.words("\n".join(lines))


def _notes(
    run: Run,
    macros_at: Callable[[Point], set[MacroConfig]],
    figures: CostFigures,
    levels: Sequence[float] = (),
) -> list[str]:
    """Notes on intervals, targets and given `levels`, on noise in LSB, and on prices outside the range of the energy
    model."""
    points = [figures.corners.at(each.axes) for each in run.points]
    macros, prices = set[MacroConfig](), dict[str, None]()
    for row, point in zip(run.points, points, strict=True):
        here = macros_at(dict(row.axes))
        macros |= here
        prices |= dict.fromkeys(doubts(here, figures.technology.with_fields(**of_technology(point))))
    targets = [Target.read(each, "`targets`") for each in (*run.targets, *([run.until] if run.until else []))]
    targets += [Target("accuracy", level) for level in levels]
    notes = [*interval_notes(run.rows), *near_notes(targets, run.of_kind("quantized"))]
    if figures.noise_in == "written":
        return [*notes, *lsb_notes(points, macros), *prices]
    volts = "an LSB of noise, offset or trim step is at all points an LSB of each layer's own ADC (noise_in volts)"
    return [*notes, volts, *prices]


def _files(folder: Path, pictures: Sequence[Path]) -> list[str]:
    return [
        "",
        f"numbers  {folder / RESULTS}",
        *(f"picture  {picture}" for picture in pictures),
        f"charts   tensorboard --logdir {folder.parent.parent}",
    ]


def _figures(run: Run, title: str, width: float) -> dict[str, Figure]:
    """The pictures of a search by the name of their file."""
    figures = {}
    if (picture := trade_off_picture(run, title)) is not None:
        figures["trade_off"] = figure_of(picture.in_words(run.measure.words), width=width)
    if maps := map_pictures(run):
        references = ", ".join(f"{each.kind} {each.measure.quantity(each.accuracy)}" for each in run.references)
        panels = [replace(each, title=each.title * (len(maps) > 1)).in_words(run.measure.words) for each in maps]
        figures["accuracy_map"] = figure_of(*panels, title=f"{title} ({references})", width=width)
    return figures


def _write_differences(run: Run, names: Sequence[str]) -> None:
    """Write differences.csv: paired outcomes of points minus the quantised network's (`Measure.plain_change`)."""
    lines: list[Sequence[object]] = [[*names, "trials", "images", "difference", "low", "high"]]
    for row in run.rows:
        if row.difference is not None:
            axes = [axis_text(row.axes[name]) if name in row.axes else "" for name in names]
            ends = row.difference.mean, row.difference.low, row.difference.high
            numbers = [f"{row.measure.plain_change(each):.6f}" for each in ends]
            lines.append([*axes, row.trials, row.images, *numbers])
    write_lines(run.folder / DIFFERENCES, lines, "\n")


def differences(points: Sequence[Result], sweep: Sweep, axis: str) -> list[Difference]:
    """The change at each step along an axis, for each combination of the other axes.

    Corners have no order, so the changes are those from the first corner to each other one.
    """
    found = []
    for _, line in sweep_lines(points, axis):
        for before, after in ((line[0], each) for each in line[1:]) if axis == CORNER else pairwise(line):
            is_same = before.point == after.point or before.difference == after.difference == NO_DIFFERENCE
            change = NO_DIFFERENCE
            if not is_same:
                one, other = (stacked(sweep.study.reads(row)) for row in (after, before))
                change = difference_interval(one, other, after.measure.is_share)
            found.append(Difference(before.without(axis), before.axes[axis], after.axes[axis], change))
    return found


def _equal_points(points: Sequence[Result], corners: Mapping[str, Mapping[str, AxisValue]]) -> list[str]:
    """A note on points whose layers compute the same, because an axis or the supply of a corner has no effect there."""
    groups = [rows for rows in grouped(points, lambda row: row.point) if len(rows) > 1]
    if not groups:
        return []
    listed = "; ".join(axes_text(row.axes) for row in groups[0][:_MOST_EQUAL])
    more = [f"{len(groups[0]) - _MOST_EQUAL:,} more"] if len(groups[0]) > _MOST_EQUAL else []
    more += [f"so do those of {len(groups) - 1:,} more such groups"] if len(groups) > 1 else []
    supplies = {corners.get(str(row.axes.get(CORNER)), {}).get(f"{TECHNOLOGY}supply") for row in groups[0]}
    if len(supplies) > 1:
        more.append("noise and time do not follow the supply, the full scale only as a share ('0.8 supply')")
    return ["", f"note     these points compute the same: {'; '.join([listed, *more])}"]


def _changes(run: Run, sweep: Sweep, axis: str) -> list[str]:
    """The differences along the plot's axis if there are a few; none if outcomes decided how much was computed."""
    until, rows = sweep.settings.end, run.rows
    if until is not None and until.ends_images:
        meaning = meaning_of_early_end(until, max(row.images for row in rows))
        answer = [] if until.form == "width" else [f"answer   {verdict(run, until)}"]
        return ["", *answer, meaning]
    # steps between values in several units would have no order
    units = noise_unit(row.axes[axis] for row in rows if axis in row.axes) if axis in NOISE_AXES else "%"
    if any(CHIP in row.axes for row in rows) or len(rows) > _MOST_ROWS or units is None:
        return []
    steps = differences(run.points, sweep, axis)
    return ["", differences_text(axis, steps, run.measure)] if steps else []


def _yield_files(run: Run, sweep: Sweep, name: str, paper: Paper) -> list[str]:
    """Write picture and table of the yields of a sweep over chips; return their paths."""
    (quantized,) = run.of_kind("quantized")
    title = _title(name, sweep.macro, run, _rules(sweep), _of_corners(sweep)) + _volts(sweep)
    drawn = yield_picture(run.yields, title, run.thresholds, quantized.accuracy)
    whole = figure_of(drawn.in_words(run.measure.words), width=paper.width)
    picture = save_figure(whole, paper.path(sweep.folder, "yield"))
    numbers = write_yields(run.yields, run.thresholds[::-1], sweep.folder / YIELDS)
    return [f"yields   {numbers}", f"picture  {picture}"]


def _is_of_chips(rows: Sequence[Result], axis: str) -> bool:
    """Whether single chips are drawn as dots: some points have several, and no other axis could be drawn as lines."""
    chips = distinct_values(row.axes[CHIP] for row in rows if CHIP in row.axes)
    if len(chips) < 2 or len(groups_of_chips(rows)) > MOST_GROUPS:
        return False
    is_ordered = axis != CHIP and all(is_number(row.axes[axis]) for row in rows if axis in row.axes)
    return not is_ordered or len(chips) > MOST_CURVES


def _title(name: str, macro: MacroConfig, run: Run, rules: int = 0, others: Sequence[str] = ()) -> str:
    """Name of the run, the macro as configured, the number of rules, and axes with the same value at all points.

    Fields of `others`, such as the axis that the picture shows, are left out.
    """
    several = {*varied(run), *others}
    single = {each: value for each, value in run.points[0].axes.items() if each not in several}
    said = f", {rules} rule{'s' * (rules > 1)} for some layers" if rules else ""
    return f"{name}: {macro_words(asdict(macro), single, several)}{said}"


def _volts(study: Sweep | Search) -> str:
    return "" if study.costs.noise_in == "written" else ", noise_in volts"


def _of_corners(study: Sweep | Search) -> list[str]:
    """Fields that the corners of a study change."""
    return study.costs.corners.changed(study.study.settings.corners)


def _rules(sweep: Sweep) -> int:
    return len(sweep.study.work.model.hparams.get("plan", {}).get("rules", ()))


def _table(results: Sequence[Result]) -> str:
    references = [row for row in results if row.kind != "simulated"]
    chips, more = results[len(references) :], len(results) - len(references) - _MOST_CHIPS
    if more <= 0 or not any(CHIP in each.axes for each in results):
        return str(results_table(results))
    return f"{results_table([*references, *chips[:_MOST_CHIPS]])}\n{more:,} more points of chips: see numbers"
