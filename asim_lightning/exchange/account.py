"""The account of an import or export: what happened to every key of a state dict, or why it is unused."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from asim_lightning.exchange.layouts import Network, Pair
from asim_lightning.exchange.read import WeightFile
from asim_lightning.table import text_table

USED, IGNORED, MISSING, UNKNOWN = "used", "ignored", "missing", "unknown"
"""Statuses of a row; missing and unknown are not accounted for."""


@dataclass(frozen=True)
class Row:
    """What happened to one tensor.

    Attributes:
        source: Its key in the source; empty if it is missing there.
        target: Its key in the target; empty if it has none.
        shape: Its shape in the source, else in the target.
        status: used, ignored, missing or unknown.
        why: Why it is unused, or how it was changed; otherwise empty.
    """

    source: str
    target: str
    shape: tuple[int, ...]
    status: str
    why: str = ""

    def __str__(self) -> str:
        return f"{self.source or self.target} is {self.status}: {self.why}"


@dataclass(frozen=True)
class Account:
    """A state dict in another layout, and what happened to each key.

    Attributes:
        state: State dict of the target.
        rows: One row for each tensor.
        unused: Tensors without a key in the target, saved for a later export.
        notes: Further notes for the user.
    """

    state: dict[str, Tensor]
    rows: tuple[Row, ...]
    unused: dict[str, Tensor] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def open(self) -> tuple[Row, ...]:
        """Rows that are not accounted for."""
        return tuple(row for row in self.rows if row.status in (MISSING, UNKNOWN))

    def count(self, status: str) -> int:
        """Number of rows with a status."""
        return sum(row.status == status for row in self.rows)

    def __str__(self) -> str:
        cells = [("key", "becomes", "shape", "status", "why")] + [
            (r.source or "-", r.target or "-", _shown(r.shape), r.status, r.why) for r in self.rows
        ]
        return text_table(cells, 1, "lllll")


def imported(file: WeightFile, network: Network) -> Account:
    """The tensors of a file under this package's keys."""
    state: dict[str, Tensor] = {}
    rows: dict[str, Row] = {}  # by key of the file
    missing: list[Row] = []
    for pair in network.pairs:
        value = file.state.get(pair.theirs)
        if value is None and pair.counts_batches:
            state[pair.ours] = torch.zeros(pair.shape, dtype=torch.int64)
            missing.append(Row("", pair.ours, pair.shape, IGNORED, "counts training batches; starts at 0"))
        elif value is None:
            missing.append(Row("", pair.ours, pair.shape, MISSING, f"no {pair.theirs}"))
        elif not (value.is_floating_point() or pair.counts_batches):
            rows[pair.theirs] = Row(
                pair.theirs, pair.ours, tuple(value.shape), MISSING, "has no floating-point numbers"
            )
        elif tuple(value.shape) != pair.their_shape:
            why = f"must have the shape {_shown(pair.their_shape)}"
            rows[pair.theirs] = Row(pair.theirs, pair.ours, tuple(value.shape), MISSING, why)
        else:
            state[pair.ours] = value.reshape(pair.shape)
            others = [rows[pair.theirs].target] if pair.theirs in rows else []
            target = ", ".join([*others, pair.ours])
            rows[pair.theirs] = Row(pair.theirs, target, tuple(value.shape), USED, _remark(pair, value))
    unused, stem = {}, network.unused_stem
    for key in file.state.keys() - rows.keys():
        shape = tuple(file.state[key].shape)
        if (key, shape) == stem:
            unused[key] = file.state[key]
            size = "large" if network.backbone.small else "small"
            rows[key] = Row(key, "", shape, IGNORED, f"first convolution for {size} images; kept for export")
        else:
            rows[key] = Row(key, "", shape, UNKNOWN, f"{network.backbone.name} has no such tensor")
    return Account(state, (*(rows[key] for key in file.state), *missing), unused, network.said)


def _shown(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"


def _remark(pair: Pair, value: Tensor) -> str:
    shape = "" if pair.shape == pair.their_shape else f"as {_shown(pair.shape)}"
    unsound = "" if value.is_meta or bool(value.isfinite().all()) else "holds values that are not finite"
    return "; ".join(part for part in (shape, unsound) if part)
