"""A chip as text and picture: spreads by layer, worst converters, and offset, gain and INL over converters."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, zeros

from asim_lightning.evaluation.chip_layer import ChipLayer
from asim_lightning.report.draw import figure_of
from asim_lightning.report.picture import WIDTH, Axis, Picture, Series
from asim_lightning.table import Table, TableColumn

_WORST = 5
_Converter: TypeAlias = tuple[ChipLayer, int]
"""A layer, and the index of a converter in it."""
_LAYERS: list[TableColumn[ChipLayer]] = [
    TableColumn("layer", lambda layer: layer.name, side="l"),
    TableColumn("converters", lambda layer: f"{layer.converters:,}" if layer.converters else "-"),
    TableColumn("offset sd\nLSB", lambda layer: _spread(layer.offset)),
    TableColumn("worst\nLSB", lambda layer: _number(layer.offset, "+.3g")),
    TableColumn("gain sd\n%", lambda layer: _spread(layer.gain_error)),
    TableColumn("worst INL\nLSB", lambda layer: _number(layer.largest_inl, ".3g")),
    TableColumn("stuck at 0", lambda layer: _of(layer.stuck[0], layer.cells)),
    TableColumn("stuck at 1", lambda layer: _of(layer.stuck[1], layer.cells)),
    TableColumn("cells sd\n%", lambda layer: f"{layer.cell_percent:g}" if layer.cell_percent else "-"),
]
_CONVERTERS: list[TableColumn[_Converter]] = [
    TableColumn("worst converters", lambda row: row[0].name, side="l"),
    *(
        TableColumn[_Converter](head, lambda row, at=at: int(row[0].place[row[1], at]))  # type: ignore[misc]
        for at, head in enumerate(("tile", "group", "output", "weight bit"))
    ),
    TableColumn("offset, LSB", lambda row: _number(row[0].offset, "+.3g", row[1])),
    TableColumn("gain, %", lambda row: _number(row[0].gain_error, "+.3g", row[1])),
    TableColumn("INL, LSB", lambda row: _number(row[0].largest_inl, ".3g", row[1])),
]


def chip_table(layers: Sequence[ChipLayer]) -> Table[ChipLayer]:
    """A row for each layer: converters, their spreads and worst offset, stuck cells, spread of cells. Below, the
    converters with the largest sum of magnitudes of offset and INL, in LSB."""
    found = []
    for layer in layers:
        sizes = zeros(layer.converters)
        for errors in (layer.offset, layer.largest_inl):
            sizes = sizes if errors is None else sizes + errors.abs()
        found += [(float(sizes[at]), layer, at) for at in sizes.topk(min(_WORST, len(sizes))).indices.tolist()]
    worst = [(layer, at) for _, layer, at in sorted(found, key=lambda each: -each[0])[:_WORST]]
    return Table(_LAYERS, layers, f"\n{Table(_CONVERTERS, worst)}" if worst else "")


def chip_figure(layers: Sequence[ChipLayer], title: str, width: float = WIDTH) -> Figure | None:
    """Histograms over all converters, and their errors along the outputs of layers; None if they have no errors."""
    kinds = {"offset (LSB)": "offset", "gain error (%)": "gain_error", "largest |INL| (LSB)": "largest_inl"}
    drawn = []
    for label, kind in kinds.items():
        errors = [(getattr(layer, kind), layer.place[:, 2]) for layer in layers]
        if some := [each for each in errors if each[0] is not None]:
            values, outputs = (torch.cat(parts) for parts in zip(*some, strict=True))
            drawn.append((histogram_picture(label, values), output_picture(label, values, outputs)))
    if not drawn:
        return None
    return figure_of(*(each[row] for row in (0, 1) for each in drawn), title=title, across=len(drawn), width=width)


def histogram_picture(label: str, values: Tensor) -> Picture:
    """A histogram of the converters' errors."""
    counts, edges = np.histogram(values.numpy(), bins=min(60, max(10, len(values) // 20)))
    steps = Series("", [*edges, edges[-1]], [0, *counts, 0], form="step")
    title = f"mean {float(values.mean()):.3g}, sd {float(values.std(unbiased=False)):.3g}"
    return Picture(title, Axis(label), Axis("converters"), [steps])


def output_picture(label: str, values: Tensor, outputs: Tensor) -> Picture:
    """Mean error and spread of the converters of each output, over layers and tiles; it shows a gradient.

    Outputs belong to the first column of each converter. # (converters,)
    """
    places = outputs.unique()
    found = [values[outputs == place] for place in (places[0], *places)]  # the first value starts the steps
    means = [float(each.mean()) for each in found]
    spreads = [float(each.std(unbiased=False)) for each in found]
    low, high = ([mean + side * sd for mean, sd in zip(means, spreads, strict=True)] for side in (-1, 1))
    x = [float(places[0]) - 0.5, *(float(place) + 0.5 for place in places)]
    line = Series("", x, means, low, high, form="step", style=1, dashes=0)
    return Picture("mean and sd by output", Axis("output of a layer"), Axis(label), [line])


def _spread(values: Tensor | None) -> str:
    return "-" if values is None else f"{float(values.std(unbiased=False)):.3g}"


def _number(values: Tensor | None, digits: str, at: int | None = None) -> str:
    """One of some errors; the largest if no index is given."""
    return "-" if values is None else f"{float(values[values.abs().argmax() if at is None else at]):{digits}}"


def _of(stuck: int, cells: int) -> str:
    return f"{stuck:,} of {cells:,}" if stuck else "-"
