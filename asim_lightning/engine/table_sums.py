"""Sums over digits of functions that are tabulated for every possible digit sum."""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from asim_lightning.engine.native import passes
from asim_lightning.engine.native.passes import ADDRESS, INT32, INT64

_MANY = 2**14
"""Table entries that occupy a thread much longer than it takes to wake it."""


class _TableSums(passes.Structure):
    """As in digit_sums.cpp."""

    _fields_ = passes.fields(
        ("sums table factors out", ADDRESS), ("rows tiles digits positions functions offset", INT64),
        ("threads", INT32),
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Table:
    """Several functions of an integer, tabulated from `low` on."""

    low: int
    values: Tensor
    """float32. # (numbers, functions)"""

    @classmethod
    def interpolated(cls, nodes: Tensor, values: Tensor) -> "Table":
        """The table at all integers between the nodes.

        Args:
            nodes: Integers, ascending, float64. # (nodes,)
            values: Values at the nodes. # (nodes, functions)
        """
        x = np.arange(int(nodes[0]), int(nodes[-1]) + 1, dtype=np.float64)
        lines = [np.interp(x, nodes.numpy(), line.numpy()) for line in values.T]
        return cls(int(nodes[0]), torch.from_numpy(np.stack(lines, 1).astype(np.float32)))


def table_sums(sums: Tensor, table: Table, factors: Sequence[float]) -> Tensor:
    """``out[row, position, tile, term] = sum over digits of factor * table[sums[row, tile, digit, position], term]``.

    Args:
        sums: Integers within the table, float32. # (rows, tiles, digits, positions)
        table: The functions.
        factors: Factor of each digit.

    Returns:
        float32. # (rows, positions, tiles, functions)
    """
    if not passes.is_there(sums):
        return table_sums_anywhere(sums, table, factors)
    rows, tiles, digits, positions = sums.shape
    functions = table.values.shape[1]
    out = torch.empty(rows, positions, tiles, functions, dtype=torch.float32, device="cpu")
    weights = (ctypes.c_float * digits)(*factors)
    addressed = sums.contiguous(), table.values.contiguous(), weights, out
    threads = passes.threads_for(sums.numel(), _MANY)
    _TableSums.of(*addressed, *sums.shape, functions, -table.low, threads).call("asim_table_sums")
    return out


def table_sums_anywhere(sums: Tensor, table: Table, factors: Sequence[float]) -> Tensor:
    """`table_sums` in plain torch, on any device: the definition."""
    values = table.values.to(sums.device)[sums.long() - table.low]  # (rows, tiles, digits, positions, functions)
    weights = torch.tensor(list(factors), dtype=torch.float32, device=sums.device)
    return torch.einsum("rtdpf,d->rptf", values, weights)
