"""The account of an import or export: what happened to every key of a state dict, or why it is unused."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from asim_lightning.exchange.keys import in_our_shape
from asim_lightning.exchange.network import Network
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
    targets: dict[str, list[str]] = {}
    rows: list[Row] = []
    for pair in network.pairs:
        value = file.state.get(pair.theirs)
        status, why = MISSING, f"no {pair.theirs}" if pair.theirs else "no place"
        if value is None and pair.counts_batches:
            state[pair.ours] = torch.zeros(pair.shape, dtype=torch.int64)
            status, why = IGNORED, "counts training batches; starts at 0"
        elif value is not None:
            used, fitting = targets.setdefault(pair.theirs, []), in_our_shape(pair, value)
            if not (value.is_floating_point() or pair.counts_batches):
                why = f"{pair.theirs} has no floating-point numbers"
            elif fitting is None:
                why = f"{pair.theirs} has the shape {_shown(value.shape)}"
            else:
                state[pair.ours] = fitting
                used.append(pair.ours)
                continue
        rows.append(Row("", pair.ours, pair.shape, status, why))
    stem, unused = network.unused_stem, {}
    found: list[Row] = []
    for key, value in file.state.items():
        shape = tuple(value.shape)
        if targets.get(key):
            found.append(Row(key, ", ".join(targets[key]), shape, USED, _remark(value, state[targets[key][0]])))
        elif stem is not None and (key, shape) == stem:
            unused[key] = value
            size = "large" if network.backbone.small else "small"
            found.append(Row(key, "", shape, IGNORED, f"first convolution for {size} images; kept for export"))
        else:
            why = "has another shape or kind there" if key in targets else f"{network.backbone.name} has no such tensor"
            found.append(Row(key, "", shape, UNKNOWN, why))
    return Account(state, (*found, *rows), unused, network.said)


def _shown(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"


def _remark(before: Tensor, after: Tensor) -> str:
    shape = "" if before.shape == after.shape else f"as {_shown(after.shape)}"
    unsound = "" if before.is_meta or bool(before.isfinite().all()) else "holds values that are not finite"
    return "; ".join(part for part in (shape, unsound) if part)
