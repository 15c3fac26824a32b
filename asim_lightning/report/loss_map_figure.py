"""Where a network loses its answers: shares of layers as a table, and of layers and bit positions as a heat map."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, nan

from asim_lightning.evaluation.loss_map import LossMap
from asim_lightning.report.picture import Axis, Grid, Picture
from asim_lightning.table import Column, Table

_MOST = 15
"""Rows of layers, after which the others are one row."""
_LEAST = 0.5
"""Percent from which a share is written into its cell."""
_SAID = 1.0
"""Percent of the sum from which it is said where most of a layer's share is."""


@dataclass(frozen=True)
class LayerShare:
    """The share of a layer, or of several that are one row.

    Attributes:
        layer: Its name.
        share: Its share of the loss increase, nats.
        percent: The same in percent of the sum of all shares; None: nothing is lost.
        first: The first of the bit positions that hold most of the share; None: they are not known.
        last: The last of them.
        within: What they hold, percent of the share.
    """

    layer: str
    share: float
    percent: float | None
    first: int | None = None
    last: int | None = None
    within: float | None = None

    @property
    def positions(self) -> str:
        """Where most of it is, as in "bits 8 to 10: 71 %"."""
        if self.within is None or self.percent is None or self.percent < _SAID:
            return ""
        where = f"bit {self.first}" if self.first == self.last else f"bits {self.first} to {self.last}"
        return f"{where}: {self.within:.0f} %"


def loss_map_table(found: LossMap) -> Table[LayerShare]:
    """The table of a map: a row a layer, the largest share first."""
    shares = found.by_layer
    names = list(shares)
    rows = [
        LayerShare(name, shares[name], _percent(shares[name], found.sum), *_most_of(found.layers[name]))
        for name in names[:_MOST]
    ]
    if others := [shares[name] for name in names[_MOST:]]:
        said = f"{len(others)} other layer{'s' * (len(others) > 1)}"
        rows.append(LayerShare(said, sum(others), _percent(sum(others), found.sum)))
    columns: list[Column[LayerShare]] = [
        Column("layer", lambda row: row.layer, {"layer": lambda row: row.layer}, side="l"),
        Column("share\n(nats)", lambda row: f"{round(row.share, 4) + 0.0:.4f}", {"share": lambda row: row.share}),
        Column("of the\nsum (%)", lambda row: _cell(row.percent), {"percent": lambda row: row.percent}),
        Column(
            "most of it in", lambda row: row.positions,
            {
                "first_bit": lambda row: row.first, "last_bit": lambda row: row.last,
                "percent_in_them": lambda row: row.within,
            },
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
    return Picture(
        title,
        Axis("bit position (weight bit + input digit), 0: least significant", "names",
             list(map(str, range(count)))),
        Axis("", "names", list(found.layers)),
        grid=Grid(cells, "share of the sum (%)", (min(known), max(known) or 1.0), number=".0f", least=_LEAST),
        note=_note(found),
        numbers=[
            ["layer", "bit", "share"],
            *list[list[object]](
                [name, bit, share] for name, shares in found.layers.items() for bit, share in enumerate(shares)
            ),
        ],
        file="map.csv",
    )  # fmt: skip


def _percent(share: float, total: float) -> float | None:
    return 100 * share / total if total > 0 else None


def _cell(percent: float | None) -> str:
    return "" if percent is None else f"{round(percent, 1) + 0.0:.1f}"  # no -0.0


def _most_of(shares: Sequence[float]) -> tuple[int | None, int | None, float | None]:
    """The fewest adjacent positions that hold most of a layer's share: the first, the last, and percent in them."""
    total = sum(shares)
    if len(shares) < 2 or total <= 0:
        return None, None, None
    for width in range(1, len(shares) + 1):
        within, first = max((sum(shares[start : start + width]), start) for start in range(len(shares) - width + 1))
        if within > total / 2:
            break
    return first, first + width - 1, 100 * within / total


def _note(found: LossMap) -> str:
    """How the sum of the shares compares with the increase, and what the map is of."""
    of = [f"{found.images:,} images"] if found.images else []
    if found.stepped_back_to is not None:
        of.append(f"noise and spreads times {found.stepped_back_to:.3g}")
    said = f"shares sum up to {found.sum:.4g} nats; the macro adds {found.increase:.4g} to the mean loss"
    return f"{said} ({', '.join(of)})" if of else said
