"""A chip as text and picture: spreads a layer, the worst converters, and histograms of offset, gain and INL."""

from collections.abc import Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor

from asim_lightning.evaluation.chip_layer import ChipLayer
from asim_lightning.text_table import text_table

_WORST = 5
_COLOUR = "#0072B2"


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
    """Histograms over all converters; None where they have no errors."""
    kinds = (
        ("offset, LSB", [layer.offset for layer in layers]),
        ("gain error, %", [None if layer.gain is None else 100 * (layer.gain - 1) for layer in layers]),
        ("largest |INL|, LSB", [layer.largest_inl for layer in layers]),
    )
    drawn = [(label, torch.cat(some)) for label, each in kinds if (some := [v for v in each if v is not None])]
    if not drawn:
        return None
    figure = Figure(figsize=(4.2 * len(drawn), 3.4), dpi=100, layout="constrained")
    for axes, (label, values) in zip(figure.subplots(1, len(drawn), squeeze=False)[0], drawn, strict=True):
        axes.hist(values.numpy(), bins=min(60, max(10, len(values) // 20)), color=_COLOUR)
        axes.set_xlabel(label)
        axes.set_ylabel("converters")
        axes.set_title(f"mean {float(values.mean()):.3g}, sd {float(values.std()):.3g}", fontsize=9)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title)
    return figure


def _spread(values: Tensor | None) -> str:
    return "-" if values is None else f"{float(values.std(unbiased=False)):.3g}"


def _of(stuck: int, cells: int) -> str:
    return f"{stuck:,} of {cells:,}" if stuck else "-"
