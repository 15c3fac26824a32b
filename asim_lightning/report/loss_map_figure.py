"""Where a network loses its answers: shares of layers as a table, and of layers and bit positions as a heat map."""

from collections.abc import Sequence
from math import isfinite, nan
from typing import NamedTuple

from asim_lightning.evaluation.loss_map import LossMap
from asim_lightning.report.picture import Axis, Grid, Picture
from asim_lightning.table import Column, Rows, Table, plain

_MOST_ROWS = 15
_LEAST = 0.5
"""Least percent that is written into a cell."""
_SAID = 1.0
"""Least percent of the sum for which the table says where most of the share is."""


class LayerShare(NamedTuple):
    """The share of a layer, or of several in one row, of the loss increase: nats, and percent of all shares.

    Then the first and the last of the bit positions with most of it, and their percent of the share.
    """

    layer: str
    share: float
    percent: float | None
    first: int | None = None
    last: int | None = None
    within: float | None = None

    @property
    def positions(self) -> str:
        """The bit positions with most of it, such as "bits 8 to 10: 71 %"."""
        if self.within is None or self.percent is None or self.percent < _SAID:
            return ""
        where = f"bit {self.first}" if self.first == self.last else f"bits {self.first} to {self.last}"
        return f"{where}: {self.within:.0f} %"


def loss_map_table(found: LossMap) -> Table[LayerShare]:
    """The table of a map: a row for each layer, the largest share first."""
    shares = list(found.by_layer.items())
    rest = [share for _, share in shares[_MOST_ROWS:]]
    if rest:
        shares = [*shares[:_MOST_ROWS], (f"{len(rest)} other layer{'s' * (len(rest) > 1)}", sum(rest))]
    rows = []
    for name, share in shares:
        percent = 100 * share / found.sum if found.sum > 0 else None
        rows.append(LayerShare(name, share, percent, *_most_of(found.layers.get(name, ()))))
    columns: list[Column[LayerShare]] = [
        plain("layer", lambda row: row.layer, "l"),
        Column("share\n(nats)", lambda row: _cell(row.share, 4), {"share": lambda row: row.share}),
        Column("of the\nsum (%)", lambda row: _cell(row.percent, 1), {"percent": lambda row: row.percent}),
        Column(
            "most of it in", lambda row: row.positions,
            {"first_bit": lambda row: row.first, "last_bit": lambda row: row.last,
             "percent_in_them": lambda row: row.within},
            side="l",
        ),
    ]  # fmt: skip
    return Table(columns, rows, _note(found), "Shares of layers", "layers_map.csv")


def loss_map_picture(found: LossMap, title: str) -> Picture:
    """A heat map of layers, in the order of the network, and bit positions."""
    count = max(map(len, found.layers.values()))
    cells = [
        [nan if place >= len(shares) or found.sum <= 0 else 100 * shares[place] / found.sum for place in range(count)]
        for shares in found.layers.values()
    ]
    known = [0.0, *(value for shares in cells for value in shares if isfinite(value))]
    numbers: Rows = [["layer", "bit", "share"]]
    numbers += [[name, bit, share] for name, shares in found.layers.items() for bit, share in enumerate(shares)]
    return Picture(
        title,
        Axis("bit position (weight bit + input digit), 0: least significant", "names", [*map(str, range(count))]),
        Axis("", "names", list(found.layers)),
        grid=Grid(cells, "share of the sum (%)", (min(known), max(known) or 1.0), number=".0f", least=_LEAST),
        note=_note(found),
        numbers=numbers,
        file="map.csv",
    )


def _cell(number: float | None, digits: int) -> str:
    return "" if number is None else f"{round(number, digits) + 0.0:.{digits}f}"  # avoids -0.0


def _most_of(shares: Sequence[float]) -> tuple[int | None, int | None, float | None]:
    """The fewest adjacent positions with most of a layer's share: the first, the last, and their percent."""
    total = sum(shares)
    if len(shares) < 2 or total <= 0:
        return None, None, None
    for width in range(1, len(shares) + 1):
        within, first = max((sum(shares[start : start + width]), start) for start in range(len(shares) - width + 1))
        if within > total / 2:
            break
    return first, first + width - 1, 100 * within / total


def _note(found: LossMap) -> str:
    """How the sum of the shares compares with the increase, and the images and noise of the map."""
    of = [f"{found.images:,} images"] if found.images else []
    if found.stepped_back_to is not None:
        of.append(f"noise and spreads times {found.stepped_back_to:.3g}")
    said = f"shares sum up to {found.sum:.4g} nats; the macro adds {found.increase:.4g} to the mean loss"
    return f"{said} ({', '.join(of)})" if of else said
