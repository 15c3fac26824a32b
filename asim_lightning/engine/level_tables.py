"""Level and noise of a column at some counts: over its swing, and for some numbers of driven rows."""

from dataclasses import dataclass

import torch

from asim_lightning.circuit.adapters import some_driven
from asim_lightning.circuit.columns import to_codes
from asim_lightning.circuit.schedule import Cycle
from asim_lightning.circuit.transfer import Transfer
from asim_lightning.table import TableColumn

_QUARTERS = ("0", "1/4", "1/2", "3/4", "1")
"""Parts of the swing."""


@dataclass(frozen=True)
class OverSwing:
    """Level and sigma at a count."""

    full_scale: int
    """Full scale of the cycle."""
    part: str
    """Part of the swing, which begins at count 0, or at minus the full scale if counts may be negative."""
    count: float
    level: float
    """In codes."""
    ideal: float
    """Level of an ideal column, in codes."""
    sigma: float
    """In codes."""


@dataclass(frozen=True)
class ByDriven:
    """Level and sigma at a number of driven rows, for half of the largest count that these rows allow."""

    full_scale: int
    """Full scale of the cycle."""
    driven: int
    """Rows whose input digit is not 0."""
    count: float
    level: float
    """In codes."""
    level_of_all: float
    """Level of the same count if all rows are driven, in codes."""
    sigma: float
    """In codes."""


def over_swing(circuit: Transfer, cycle: Cycle) -> list[OverSwing]:
    """Level and sigma at 0, 1/4, 1/2, 3/4 and all of a cycle's swing, with all rows driven, averaged over curves."""
    least = -cycle.full_scale if cycle.signed else 0
    counts = torch.linspace(least, cycle.full_scale, len(_QUARTERS), device="cpu").round()
    codes = (circuit.column.level(counts, cycle), to_codes(counts, cycle), circuit.column.sigma(counts, cycle))
    numbers = (counts, *(each.expand_as(counts) for each in codes))
    rows = zip(_QUARTERS, *(each.tolist() for each in numbers), strict=True)
    return [OverSwing(cycle.full_scale, *row) for row in rows]


def by_driven(circuit: Transfer, cycle: Cycle) -> list[ByDriven]:
    """Level and sigma for some numbers of driven rows, at half of the largest count that they allow."""
    rows, found = circuit.macro.rows, []
    for driven in some_driven(rows):
        count = torch.tensor([driven * (cycle.full_scale // rows) / 2.0], dtype=torch.float32, device="cpu")
        level, sigma = circuit.column.of_driven(torch.full_like(count, driven), count, cycle)
        every = float(circuit.column.level(count, cycle))
        found.append(ByDriven(cycle.full_scale, driven, float(count), float(level), every, float(sigma)))
    return found


SWING_COLUMNS: list[TableColumn[OverSwing]] = [
    TableColumn("full\nscale", lambda each: each.full_scale),
    TableColumn("part of\nswing", lambda each: each.part),
    TableColumn("count", lambda each: f"{each.count:g}"),
    TableColumn("level\nLSB", lambda each: f"{each.level:.4g}"),
    TableColumn("ideal\nlevel", lambda each: f"{each.ideal:.4g}"),
    TableColumn("sigma\nLSB", lambda each: f"{each.sigma:.4g}"),
]
SWING_LEGEND = "level and sigma of your column before rounding, in LSB; ideal level: of a column without errors"
DRIVEN_COLUMNS: list[TableColumn[ByDriven]] = [
    TableColumn("full\nscale", lambda each: each.full_scale),
    TableColumn("driven\nrows", lambda each: each.driven),
    TableColumn("count", lambda each: f"{each.count:g}"),
    TableColumn("level\nLSB", lambda each: f"{each.level:.4g}"),
    TableColumn("level, all\nrows driven", lambda each: f"{each.level_of_all:.4g}"),
    TableColumn("sigma\nLSB", lambda each: f"{each.sigma:.4g}"),
]
DRIVEN_LEGEND = (
    "driven rows: rows of a tile whose input digit is not 0; count: half of the largest that they allow. All numbers "
    "further up are for all rows driven, and so is what `calibrate-adc` and `doctor` compute from counts"
)
