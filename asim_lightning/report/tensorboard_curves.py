"""A sweep in TensorBoard: its accuracy as curves with intervals over an axis and over energy, and as a figure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from torch.utils.tensorboard import SummaryWriter

from asim_lightning.circuit.units import quantity
from asim_lightning.evaluation.axis_settings import CHIP, NOISE_AXES
from asim_lightning.evaluation.results import (
    AxisValue,
    Result,
    axes_text,
    axis_text,
    distinct_values,
    noise_unit,
)
from asim_lightning.evaluation.run import Run
from asim_lightning.evaluation.whole_file import naming
from asim_lightning.report.accuracy import AccuracyPlot, accuracy_picture
from asim_lightning.report.choices import conditions_of, digital_energy, energy_of, front_of, varied
from asim_lightning.report.curves import drawn_lines
from asim_lightning.report.draw import figure_of
from asim_lightning.report.tensorboard_layout import sweep_layout
from asim_lightning.report.yields import groups_of_chips

SUFFIX = ".sweep"
"""How the names of event files of a sweep end."""
ENERGY_TAG = "sweep/accuracy_vs_energy_in_nanojoules"
"""Tag of the curves of accuracy over energy."""


def write_dashboard(
    folder: str | Path, rows: Sequence[Result], plot: AccuracyPlot, figure: Figure | None = None
) -> Path:
    """Write a sweep as TensorBoard event files, in place of those that an earlier call left in the folder.

    One run for each line of the picture (`drawn_lines`): the folder itself if there is one, else a folder below it,
    such as "adc_bits=6". Each run holds the accuracy, 0..1, and the ends of its interval as the scalars ``TAG/mean``,
    ``TAG/low`` and ``TAG/high``, with `TAG` and steps as `scalar_steps` chooses them. Several chips are one line: their
    mean, and the lowest and highest of them. The folder also holds ``sweep/accuracy_float`` and
    ``sweep/accuracy_quantized``, the layout of the custom scalars tab, the figure, and of several chips a histogram of
    their accuracies.

    Args:
        folder: Folder of the runs; created if it is absent.
        rows: Results of the sweep.
        plot: Axis of the curves and of the figure, and its headline and marks.
        figure: The figure; None: `accuracy_picture`.

    Raises:
        ValueError: No simulated point has the axis.
    """
    folder, axis = Path(folder), plot.axis
    groups = groups_of_chips(rows)
    curves = rows if axis == CHIP else over_chips(rows)
    lines, _ = drawn_lines(curves, axis, plot.labels)
    figure = figure or figure_of(accuracy_picture(rows, plot))
    for stale in folder.rglob(f"events.out.tfevents.*{SUFFIX}"):
        stale.unlink()

    tag, steps = scalar_steps(axis, distinct_values(row.axes[axis] for _, line in lines for row in line))
    with naming([folder]), SummaryWriter(str(folder), filename_suffix=SUFFIX) as writer:
        if axis != CHIP:
            writer.add_custom_scalars(sweep_layout(tag))
        for row in rows:
            if row.kind != "simulated":
                where = f"_{run_name(row.axes)}" if row.axes else ""
                writer.add_scalar(f"sweep/accuracy_{row.kind}{where}", row.accuracy, 0)
        writer.add_figure(f"sweep/{axis}", figure, 0, close=False)
        for others, chips in groups:
            name = ",".join(part for part in ("sweep/accuracy_of_chips", run_name(others)) if part)
            writer.add_histogram(name, np.array([row.accuracy for row in chips]), 0)
        for others, line in lines if axis != CHIP else ():
            stepped = [(steps[axis_text(row.axes[axis])], row) for row in line]
            if others:
                with SummaryWriter(str(folder / run_name(others)), filename_suffix=SUFFIX) as run:
                    add_curve(run, tag, stepped)
            else:
                add_curve(writer, tag, stepped)
    return folder


def write_trade_off(folder: Path, run: Run) -> list[Path]:
    """Write the accuracy of the points of `pareto` with its interval, at steps of one nJ an image.

    One run for each combination of conditions, such as a noise, in a folder of its own: "energy" or
    "energy,random_noise=0.1"; where all take the same energy, of all points. The quantised network in a digital macro
    is one more, "energy,digital". Nothing is written where there are several chips, whose curves would be too many, and
    for costs that have no energy in µJ.

    Args:
        folder: Folder of the run, whose earlier event files are removed already.
        run: The run.

    Returns:
        The folders.
    """
    energy, front, several = energy_of(run), front_of(run), varied(run)
    curves: dict[str, dict[int, Result]] = {}
    if energy != "energy_uj" or CHIP in several or run.yields:
        return []
    shown = front or [point for point in run.points if energy in point.figures]
    for point in sorted(shown, key=lambda point: point.merit):  # of equal energies the best one stays
        name = _energy_run(run_name(conditions_of(point, several)))
        curves.setdefault(name, {})[round(1000 * point.figures["energy_uj"])] = point
    order = list(dict.fromkeys(run_name(conditions_of(point, several)) for point in shown))
    curves = {name: curves[name] for name in (_energy_run(each) for each in order)}
    if curves and (digital := digital_energy(run)) is not None and run.of_kind("quantized"):
        curves[_energy_run("digital")] = {round(1000 * digital): run.of_kind("quantized")[0]}
    for name, curve in curves.items():
        with naming([folder / name]), SummaryWriter(str(folder / name), filename_suffix=SUFFIX) as writer:
            writer.add_custom_scalars(sweep_layout(ENERGY_TAG))
            add_curve(writer, ENERGY_TAG, sorted(curve.items()))
    return [folder / name for name in curves]


def _energy_run(conditions: str) -> str:
    """Name of the run of a curve of energies under some conditions: "energy,random_noise=0.1"."""
    return ",".join(each for each in ("energy", conditions) if each)


def over_chips(rows: Sequence[Result]) -> list[Result]:
    """Results in which the chips of a point are one: their mean accuracy, the lowest, and the highest."""
    found: dict[str, list[Result]] = {}
    for row in rows:
        others = {name: value for name, value in row.axes.items() if name != CHIP}
        found.setdefault(f"{row.kind} {axes_text(others)}", []).append(replace(row, axes=others))
    return [
        some[0]
        if len(some) == 1
        else replace(
            some[0],
            accuracy=float(np.mean([row.accuracy for row in some])),
            low=min(row.accuracy for row in some),
            high=max(row.accuracy for row in some),
        )
        for some in found.values()
    ]


def scalar_steps(axis: str, values: Sequence[AxisValue]) -> tuple[str, dict[str, int]]:
    """Tag and integer steps of an axis: TensorBoard has only integers along x, and truncates 0.7 to 0.

    Integers stand for themselves. Noise counts in millipercent, ``round(1000 percent)``, or in thousandths of the LSB
    or mV that it is given in, and other numbers in thousandths. Where a value is not a number, or two would share a
    step, the step is the position in `values`.

    Returns:
        The tag, which says how to read the step, such as "sweep/accuracy_vs_random_noise_in_millipercent", and the
        step of each value by its `axis_text`.
    """
    texts, unit = [axis_text(value) for value in values], noise_unit(values) if axis in NOISE_AXES else None
    if unit is not None:
        numbers = [read[0] for value in values if (read := quantity(value)) is not None]
    else:
        numbers = [value for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)]
    name, factor = f"sweep/accuracy_vs_{axis}", 1
    if unit is not None:
        name, factor = f"{name}_in_milli{'percent' if unit == '%' else unit}", 1000
    elif not all(float(value).is_integer() for value in numbers):
        name, factor = f"{name}_in_thousandths", 1000
    steps = [round(factor * value) for value in numbers]
    if len(numbers) < len(values) or len(set(steps)) < len(steps):
        return f"sweep/accuracy_vs_place_of_{axis}", {text: place for place, text in enumerate(texts)}
    return name, dict(zip(texts, steps, strict=True))


def add_curve(writer: SummaryWriter, tag: str, stepped: Sequence[tuple[int, Result]]) -> None:
    """Write the accuracy and the ends of its interval at each step of `scalar_steps`."""
    for step, row in stepped:
        for end, share in (("mean", row.accuracy), ("low", row.low), ("high", row.high)):
            writer.add_scalar(f"{tag}/{end}", share, step)


def write_curve(
    folders: Iterable[str | Path], axis: str, tag: str, steps: Mapping[str, int], results: Sequence[Result]
) -> None:
    """Write the curve of one sweep of a training run, in place of one that an earlier fit left in the folder.

    Args:
        folders: Folders of the run's event files.
        axis: Which noise of the macro.
        tag: Tag of the curve, as `scalar_steps` gives it.
        steps: Step of each value of the axis, by its text.
        results: The result at each level.
    """
    suffix = f".{axis}"
    for folder in folders:
        # A file of its own, written once: steps are noise levels, so that a second curve below the same tag, as of a
        # fit that goes on in its folder, would be drawn as a zigzag with the first.
        for stale in Path(folder).glob(f"events.out.tfevents.*{suffix}"):
            stale.unlink()
        with SummaryWriter(str(folder), filename_suffix=suffix) as writer:
            add_curve(writer, tag, [(steps[axis_text(row.axes[axis])], row) for row in results])


def run_name(axes: Mapping[str, AxisValue]) -> str:
    """Name of a run's folder, valid on any system: "adc_bits=6,votes=3".

    Args:
        axes: Values of axes by name.
    """
    return re.sub(r"[^\w=.,+-]", "_", ",".join(f"{name}={axis_text(value)}" for name, value in axes.items()))
