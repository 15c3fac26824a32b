"""A sweep or search in TensorBoard, as one run: accuracy over an axis and over energy, chips, pictures."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import mean
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from matplotlib.figure import Figure

from asim_lightning.circuit.units import quantity
from asim_lightning.circuit.voltage import NOISE_AXES
from asim_lightning.evaluation.axis_settings import CHIP
from asim_lightning.evaluation.results import AxisValue, Result, axis_text, distinct_values, is_number, noise_unit
from asim_lightning.evaluation.run import Run
from asim_lightning.evaluation.target import grouped
from asim_lightning.report.accuracy import drawn_lines, values_of
from asim_lightning.report.verdict import conditions_of, front_of, varied
from asim_lightning.report.yields import groups_of_chips

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

Curves: TypeAlias = Mapping[str, Sequence[tuple[int, Result]]]
"""Steps and points of curves by their tags."""
Charts: TypeAlias = dict[str, list[Any]]
"""Kind of chart and its tags, by the chart's title."""
_ENERGY_TAG = "sweep/accuracy_vs_energy_in_nanojoules"
_SUFFIX = ".sweep"
_ENDS = ("mean", "low", "high")


def write_run(
    run: Run, curves: Curves, figures: Mapping[str, Figure], scalars: Mapping[str, Sequence[float]] = {}
) -> None:
    """Write TensorBoard's event file of a run into its folder, replacing the file of an earlier call.

    Curves are as in `Measure.plain`; their scalars are ``TAG/mean``, ``TAG/low`` and ``TAG/high``. Figures are named by
    their tags, and scalars have a number for each point.
    """
    for stale in run.folder.rglob(f"events.out.tfevents.*{_SUFFIX}"):
        stale.unlink()
    # TensorBoard takes time to import, and most commands do without
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(run.folder), filename_suffix=_SUFFIX) as writer:
        if curves:
            writer.add_custom_scalars({"Sweep": charts_of(list(curves))})
        for tag, points in curves.items():
            add_curve(writer, tag, points)
        for row in run.references:
            writer.add_scalar(_tag(f"sweep/accuracy_{row.kind}", row.axes, "_"), row.plain[0], 0)
        for others, chips in groups_of_chips(run.rows):
            accuracies = np.array([row.plain[0] for row in chips])
            writer.add_histogram(_tag("sweep/accuracy_of_chips", others, ","), accuracies, 0)
        for tag, figure in figures.items():
            writer.add_figure(tag, figure, 0, close=False)
        for tag, numbers in scalars.items():
            for step, number in enumerate(numbers):
                writer.add_scalar(tag, number, step)


def axis_curves(rows: Sequence[Result], axis: str) -> Curves:
    """Accuracy over an axis, a curve for each of `drawn_lines`, with chips averaged; empty along chips."""
    if axis == CHIP:
        return {}
    lines, _ = drawn_lines(over_chips(rows), axis)
    tag, steps = scalar_steps(axis, distinct_values(row.axes[axis] for _, line in lines for row in line))
    return {_tag(tag, others, "/"): [(steps[axis_text(row.axes[axis])], row) for row in line] for others, line in lines}


def energy_curves(run: Run) -> Curves:
    """Accuracy over energy, at steps of one nJ an image, of the front under each combination of conditions.

    If all points take the same energy, all are shown. The quantised network in a digital macro is one more curve. It is
    empty for several chips, because there would be too many curves, and without energies.
    """
    energy, several = "energy_uj", varied(run)
    if CHIP in several or run.yields:
        return {}
    curves: dict[str, dict[int, Result]] = {}
    for point in front_of(run) or [point for point in run.points if energy in point.figures]:
        curve = curves.setdefault(_tag(_ENERGY_TAG, conditions_of(point, several), "/"), {})
        step = round(1000 * point.figures[energy])
        curve[step] = max(point, curve.get(step, point), key=lambda each: each.merit)
    if curves and run.all_digital is not None and run.of_kind("quantized"):
        curves[f"{_ENERGY_TAG}/digital"] = {round(1000 * run.all_digital[0]): run.of_kind("quantized")[0]}
    return {tag: sorted(curve.items()) for tag, curve in curves.items()}


def charts_of(tags: Sequence[str]) -> Charts:
    """Charts of the custom scalars tab: each curve with its interval, and all curves of one axis together."""
    charts, axes = Charts(), dict[str, list[str]]()
    for tag in tags:
        axis, _, name = tag.removeprefix("sweep/accuracy_vs_").partition("/")
        title = f"accuracy (x = {axis.replace('_', ' ')})"  # such as "random noise in millipercent"
        # only a Margin chart is not smoothed; smoothing would shift the curve
        charts[f"{title}, {name}" if name else title] = ["Margin", [f"{tag}/{end}" for end in _ENDS]]
        axes.setdefault(title, []).append(f"{re.escape(tag)}/mean$")  # a Multiline chart takes regular expressions
    return charts | {title: ["Multiline", some] for title, some in axes.items() if len(some) > 1}


def over_chips(rows: Sequence[Result]) -> list[Result]:
    """Results with the chips of each point merged: their mean accuracy, the lowest, and the highest."""
    found = []
    without = [replace(row, axes=row.without(CHIP)) for row in rows]
    for chips in grouped(without, lambda row: (row.kind, values_of(row, row.axes))):
        if len({row.images for row in chips}) > 1:
            continue  # a target ended the images of each chip, so that chips have no mean
        merged = chips[0]
        if len(chips) > 1:
            accuracies = [row.accuracy for row in chips]  # `mean` is exact, so within the ends
            merged = replace(merged, accuracy=mean(accuracies), low=min(accuracies), high=max(accuracies))
        found.append(merged)
    return found


def scalar_steps(axis: str, values: Sequence[AxisValue]) -> tuple[str, dict[str, int]]:
    """A tag that names the unit of steps along an axis, and the integer step of each value by its `axis_text`.

    TensorBoard truncates 0.7 to 0. Integers are their steps. Other numbers are counted in thousandths, noise in
    thousandths of its unit. If a value is not a number, or two values would share a step, indices are steps.
    """
    texts, unit = [axis_text(value) for value in values], noise_unit(values) if axis in NOISE_AXES else None
    read = [quantity(value) if unit else (value,) if is_number(value) else None for value in values]
    numbers = [float(each[0]) for each in read if each is not None]  # type: ignore[arg-type]
    unit = "milli" + {"%": "percent"}.get(unit, unit) if unit else ""
    if not unit and not all(map(float.is_integer, numbers)):
        unit = "thousandths"
    steps = [round(1000 * number if unit else number) for number in numbers]
    if len(numbers) < len(values) or len(set(steps)) < len(steps):
        return f"sweep/accuracy_vs_place_of_{axis}", {text: place for place, text in enumerate(texts)}
    return f"sweep/accuracy_vs_{axis}{f'_in_{unit}' if unit else ''}", dict(zip(texts, steps, strict=True))


def add_curve(writer: "SummaryWriter", tag: str, stepped: Sequence[tuple[int, Result]]) -> None:
    """Write the accuracy and its interval at each step of `scalar_steps`."""
    for step, row in stepped:
        for end, number in zip(_ENDS, row.plain, strict=True):
            writer.add_scalar(f"{tag}/{end}", number, step)


def _tag(start: str, axes: Mapping[str, AxisValue], between: str) -> str:
    """A tag that ends with values of axes, such as "adc_bits=6,votes=3", if there are any."""
    name = re.sub(r"[^\w=.,+-]", "_", ",".join(f"{each}={axis_text(value)}" for each, value in axes.items()))
    return f"{start}{between}{name}" if name else start
