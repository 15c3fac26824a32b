"""A chip as text and picture: spreads a layer, the worst converters, and offset, gain and INL over its converters."""

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from asim_lightning.evaluation.chip_layer import ChipLayer
from asim_lightning.report.draw import figure_of
from asim_lightning.report.picture import Axis, Picture, Series
from asim_lightning.text_table import text_table

_WORST = 5


def chip_table(layers: Sequence[ChipLayer]) -> str:
    """A line a layer: converters, their spreads and worst offset, stuck cells, spread of cells."""
    rows = [
        ["layer", "converters", "offset sd", "worst", "gain sd", "worst INL", "stuck at 0", "stuck at 1", "cells sd"]
    ]
    rows.append(["", "", "LSB", "LSB", "%", "LSB", "", "", "%"])
    for layer in layers:
        zeros, ones = layer.stuck
        gain = None if layer.gain is None else 100 * (layer.gain - 1)
        rows.append(
            [
                layer.name, f"{layer.converters:,}" if layer.converters else "-", _spread(layer.offset),
                "-" if layer.offset is None else f"{float(layer.offset[layer.offset.abs().argmax()]):+.3g}",
                _spread(gain),
                "-" if layer.inl is None else f"{float(layer.largest_inl.max()):.3g}",  # type: ignore[union-attr]
                _of(zeros, layer.cells), _of(ones, layer.cells),
                f"{layer.cell_percent:g}" if layer.cell_percent else "-",
            ]
        )  # fmt: skip
    return text_table(rows, 2, "l" + "r" * 8)


def worst_converters(layers: Sequence[ChipLayer]) -> str:
    """The converters with the largest sum of magnitudes of offset and INL, in LSB."""
    found = []
    for layer in layers:
        if not layer.converters:
            continue
        zero = torch.zeros(layer.converters)
        offset = zero if layer.offset is None else layer.offset
        inl = layer.largest_inl
        for at in (offset.abs() + (zero if inl is None else inl)).topk(min(_WORST, layer.converters)).indices.tolist():
            size = abs(float(offset[at])) + (0.0 if inl is None else float(inl[at]))
            errors = (
                "-" if layer.offset is None else f"{float(layer.offset[at]):+.3g}",
                "-" if layer.gain is None else f"{100 * float(layer.gain[at] - 1):+.3g}",
                "-" if inl is None else f"{float(inl[at]):.3g}",
            )
            found.append((size, layer.name, layer.place[at].tolist(), errors))
    rows = [["worst converters", "tile", "group", "output", "weight bit", "offset, LSB", "gain, %", "INL, LSB"]]
    for _, name, place, errors in sorted(found, reverse=True)[:_WORST]:
        rows.append([name, *map(str, place), *errors])
    return text_table(rows, 1, "l" + "r" * 7) if len(rows) > 1 else ""


def chip_figure(layers: Sequence[ChipLayer], title: str) -> Figure | None:
    """Histograms over all converters, and their errors along the outputs of layers; None where they have no errors."""
    kinds = (
        ("offset (LSB)", [layer.offset for layer in layers]),
        ("gain error (%)", [None if layer.gain is None else 100 * (layer.gain - 1) for layer in layers]),
        ("largest |INL| (LSB)", [layer.largest_inl for layer in layers]),
    )
    drawn = []
    for label, each in kinds:
        some = [(values, layer.place[:, 2]) for values, layer in zip(each, layers, strict=True) if values is not None]
        if some:
            values, outputs = (torch.cat(parts) for parts in zip(*some, strict=True))
            drawn.append((histogram_picture(label, values), output_picture(label, values, outputs)))
    if not drawn:
        return None
    return figure_of(*(each[row] for row in (0, 1) for each in drawn), title=title, across=len(drawn))


def histogram_picture(label: str, values: Tensor) -> Picture:
    """How many converters have which error.

    Args:
        label: The error, with its unit.
        values: That of each converter. # (converters,)
    """
    counts, edges = np.histogram(values.numpy(), bins=min(60, max(10, len(values) // 20)))
    steps = Series("", [*edges, edges[-1]], [0, *counts, 0], form="step")
    title = f"mean {float(values.mean()):.3g}, sd {float(values.std(unbiased=False)):.3g}"
    return Picture(title, Axis(label), Axis("converters"), [steps])


def output_picture(label: str, values: Tensor, outputs: Tensor) -> Picture:
    """Mean error of the converters of each output, over layers and tiles, and their spread: a gradient would be seen.

    Args:
        label: The error, with its unit.
        values: That of each converter. # (converters,)
        outputs: Output of the first column of each converter. # (converters,)
    """
    places = outputs.unique()
    found = [values[outputs == place] for place in (places[0], *places)]  # the first one is where the steps begin
    means = [float(each.mean()) for each in found]
    spreads = [float(each.std(unbiased=False)) for each in found]
    low, high = ([mean + side * sd for mean, sd in zip(means, spreads, strict=True)] for side in (-1, 1))
    x = [float(places[0]) - 0.5, *(float(place) + 0.5 for place in places)]
    line = Series("", x, means, low, high, form="step", style=1, dashes=0)
    return Picture("mean and sd by output", Axis("output of a layer"), Axis(label), [line])


def _spread(values: Tensor | None) -> str:
    return "-" if values is None else f"{float(values.std(unbiased=False)):.3g}"


def _of(stuck: int, cells: int) -> str:
    return f"{stuck:,} of {cells:,}" if stuck else "-"
