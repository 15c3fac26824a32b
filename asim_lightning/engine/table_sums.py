"""Sums over digits of functions that are tabulated for every possible digit sum."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from asim_lightning.engine.native import passes


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
    kernels = passes.best_library() if sums.device.type == "cpu" else None
    if kernels is not None:
        return passes.table_sums(kernels, sums.contiguous(), table.values.contiguous(), -table.low, factors)
    return table_sums_anywhere(sums, table, factors)


def table_sums_anywhere(sums: Tensor, table: Table, factors: Sequence[float]) -> Tensor:
    """`table_sums` in plain torch, on any device: the definition."""
    values = table.values.to(sums.device)[sums.long() - table.low]  # (rows, tiles, digits, positions, functions)
    weights = torch.tensor(list(factors), dtype=torch.float32, device=sums.device)
    return torch.einsum("rtdpf,d->rptf", values, weights)
