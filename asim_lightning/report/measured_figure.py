"""Figures of columns: transfer, INL, DNL and noise of a measured one, a user's, and curves by driven rows."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asim_lightning.circuit import Cycle, Transfer
from asim_lightning.circuit.adapters import some_driven
from asim_lightning.circuit.code_fit import intervals
from asim_lightning.circuit.column_models import is_users
from asim_lightning.circuit.columns import Column, to_codes
from asim_lightning.circuit.measured import Measured, MeasuredCurve
from asim_lightning.report.draw import figure_of, save_figure
from asim_lightning.report.picture import GREY, Axis, Paper, Picture, Series

_MOST_POINTS = 129
"""Most points of a curve by driven rows."""


def draw_measured(columns: Iterable[Column], folder: Path, paper: Paper = Paper()) -> list[Path]:
    """Draw each measured column of some columns once, into a file with its file's name, and return the files."""
    found = [column for column in columns if isinstance(column, Measured)]
    measured = {(c.file, number): (c, curve) for c in found for number, curve in c.by_converter.items()}
    drawn: list[Path] = []
    for (file, converter), (column, curve) in measured.items():
        of = "" if converter is None else f", converter {converter}"
        name, title = Path(file).stem + of.replace(", ", "_").replace(" ", "_"), Path(file).name + of
        path = paper.path(folder, name)
        if path in drawn:  # same name, from another folder
            path = paper.path(folder, f"{name}_{len(drawn)}")
        pictures = measured_pictures(curve, column.macro.top_code or 1)
        drawn.append(save_figure(figure_of(*pictures, title=title, across=2, width=paper.width), path))
    return drawn


def draw_curves(circuits: Iterable[Transfer], folder: Path, paper: Paper = Paper()) -> list[Path]:
    """Draw each column that depends on driven rows or is a user's, once for each of its full scales, and return the
    files."""
    drawn: list[Path] = []
    for circuit in {each.column: each for each in circuits}.values():
        depends, own = circuit.column.depends_on_driven, is_users(circuit.column)
        for cycle in {each.full_scale: each for each in circuit.cycles if each.analog and (depends or own)}.values():
            name, number = f"{'driven' if depends else 'curve'}_{circuit.macro.column}_{cycle.full_scale}", len(drawn)
            path = paper.path(folder, name)
            path = paper.path(folder, f"{name}_{number}") if path in drawn else path
            title = f"{circuit.macro.column}: cycles of full scale {cycle.full_scale}"
            pictures = driven_pictures(circuit, cycle) if depends else swing_pictures(circuit, cycle)
            drawn.append(save_figure(figure_of(*pictures, title=title, across=2, width=paper.width), path))
    return drawn


def swing_pictures(circuit: Transfer, cycle: Cycle) -> list[Picture]:
    """Level, level less the ideal level, and sigma, by count over the swing, in LSB."""
    most, least = cycle.full_scale, -cycle.full_scale if cycle.signed else 0
    counts = torch.linspace(least, most, min(_MOST_POINTS, most - least + 1)).round()
    ideal, level = to_codes(counts, cycle), circuit.column.level(counts, cycle).expand_as(counts)
    sigma, x = circuit.column.sigma(counts, cycle).expand_as(counts), counts.tolist()

    def line(name: str, y: Tensor) -> Series:
        return Series(name, x, y.tolist(), form="line", marker="none")

    grey = Series("ideal", x, ideal.tolist(), form="line", colour=GREY, marker="none", dashes=1)
    return [
        Picture("level before rounding", Axis("count"), Axis("LSB"), [grey, line("column", level)]),
        Picture("level, less the ideal one", Axis("count"), Axis("LSB"), [line("", level - ideal)]),
        Picture("noise before rounding", Axis("count"), Axis("sigma (LSB)"), [line("", sigma)]),
    ]


def driven_pictures(circuit: Transfer, cycle: Cycle) -> list[Picture]:
    """Level less the ideal level, and sigma, by count, each for some numbers of driven rows and the counts that these
    allow, in LSB."""
    rows, levels, sigmas = circuit.macro.rows, [], []
    for style, driven in enumerate(some_driven(rows)):
        counts = torch.linspace(0.0, driven * (cycle.full_scale // rows), min(_MOST_POINTS, driven + 1))
        level, sigma = circuit.column.of_driven(torch.full_like(counts, driven), counts, cycle)
        lost, name, x = level - (counts - cycle.adc_low) / cycle.counts_a_code, f"{driven} rows driven", counts.tolist()
        levels.append(Series(name, x, lost.tolist(), form="line", style=style, marker="none"))
        sigmas.append(Series(name, x, sigma.expand_as(counts).tolist(), form="line", style=style, marker="none"))
    return [
        Picture("level, less the ideal one", Axis("count"), Axis("LSB"), levels),
        Picture("noise before rounding", Axis("count"), Axis("sigma (LSB)"), sigmas),
    ]


def measured_pictures(curve: MeasuredCurve, top: int) -> list[Picture]:
    """Level, its deviation from the line through both ends (INL), its steps (DNL) and sigma, by count, in LSB.

    ``INL(k) = level(k) - level(0) - k * slope`` and ``DNL(k) = level(k) - level(k - 1) - slope``, where
    ``slope = (level(full scale) - level(0)) / full scale``. 95 % intervals are drawn if single reads are known.
    """
    level, sigma, counts = curve.level, curve.sigma, np.arange(len(curve.level))
    slope = (level[-1] - level[0]) / curve.full_scale
    line, steps = level[0] + slope * counts, np.diff(level) - slope
    silent = np.isin(counts, curve.counts) & (sigma == 0) & (not curve.is_voltage)
    offset, gain = level[0], slope * curve.full_scale / top
    reads = curve.reads
    levels, sigmas = ((), ()) if reads is None else ([*map(curve.between, x)] for x in intervals(reads, top))
    ideal = Series("ideal", [0, curve.full_scale], [0, top], form="line", colour=GREY, marker="none", dashes=1)
    noise = [_steps("noise", sigma, sigmas)]
    if silent.any():
        codes = f"one code only: {silent.sum()} counts"
        noise.append(Series(codes, counts[silent].tolist(), sigma[silent].tolist(), style=1, marker="open"))
    note = "INL: from the line through both ends; DNL: from count to count"
    note += "; bands: 95 % intervals" * (reads is not None)
    if len(curve.counts) < len(level):
        note += f"; {len(curve.counts)} of {len(level)} counts were measured, linear between these"
    drawn = (
        (f"offset {offset:+.2f} LSB, gain {gain:.4f}", "code", [ideal, _steps("measured, before rounding", level)]),
        (f"INL: {_range(level - line)} LSB", "INL (LSB)", [_steps("", level - line, [end - line for end in levels])]),
        (f"DNL: {_range(steps)} LSB", "DNL (LSB)", [_steps("", np.append(steps[0], steps))]),
        (f"noise before rounding: up to {sigma.max():.3g} LSB", "sigma (LSB)", noise),
    )
    return [Picture(title, Axis("count"), Axis(label), series, note=note) for title, label, series in drawn]


def _steps(name: str, y: NDArray[np.float64], ends: Iterable[NDArray[np.float64]] = ()) -> Series:
    low, high = [each.tolist() for each in ends] or ((), ())
    return Series(name, range(len(y)), y.tolist(), low, high, form="step")


def _range(values: NDArray[np.float64]) -> str:
    return f"{values.min():+.2f} to {values.max():+.2f}"
