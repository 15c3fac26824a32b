"""Errors of all weight bits of an output together, for random inputs.

Bits of a weight are not independent: the top bits of a small weight are all like its sign. So the counts of these bits
are alike, their errors are alike, and with the sign they partly cancel. Sums of digits do not tell this.
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from asim_lightning.engine.digit_sums import Table
from asim_lightning.engine.error_tables import Block, Tables
from asim_lightning.engine.integer import digits
from asim_lightning.engine.product import Product, Tile

_NODES, _DRAWS = 12, 16


@dataclass(frozen=True, eq=False)
class RandomInputs:
    """Random input digits on the rows of a tile.

    Attributes:
        sums: Sums at which draws are made, ascending, float64. # (nodes,)
        digits: # (rows, nodes * draws), float32
    """

    sums: Tensor
    digits: Tensor

    @property
    def table(self) -> Table:
        """Shares of the nodes at a sum: linear between them."""
        return Table.interpolated(self.sums, torch.eye(len(self.sums), dtype=torch.float64, device="cpu"))


@lru_cache(maxsize=64)
def random_inputs(rows: int, top: int) -> RandomInputs:
    """Digits 0..top at random rows, for sums from 0 to the largest. Larger values of a digit are rarer: the shares of
    values fall geometrically (for sums above half of the largest they rise)."""
    sums = (torch.linspace(0.0, 1.0, _NODES, dtype=torch.float64, device="cpu").square() * rows * top).round().unique()
    generator = torch.Generator("cpu").manual_seed(0)
    order = (
        torch.rand(rows, len(sums), _DRAWS, generator=generator, dtype=torch.float32, device="cpu")
        .argsort(0)
        .argsort(0)
    )
    shares = _shares_of_values(sums / rows, top)
    drawn = sum(
        (order < (rows * share).round()[:, None] for share in shares),
        torch.zeros(order.shape, dtype=torch.float32, device="cpu"),
    )
    return RandomInputs(sums, drawn.flatten(1))


def _shares_of_values(mean: Tensor, top: int) -> Tensor:
    """Shares of digits of at least 1, 2, .. top, if the shares of the values 0..top fall geometrically to a mean."""
    values = torch.arange(top + 1, dtype=torch.float64, device="cpu")
    low, high = torch.full_like(mean, -60.0), torch.full_like(mean, 60.0)
    for _ in range(60):  # bisection of the logarithm of the ratio of two shares
        middle = (low + high) / 2.0
        shares = (middle[:, None] * values).softmax(1)
        too_large = shares @ values > mean
        low, high = torch.where(too_large, low, middle), torch.where(too_large, middle, high)
    return shares.flip(1).cumsum(1).flip(1)[:, 1:].T


def variance_of_outputs(
    product: Product, tiles: list[Tile], w: Tensor, block: Block, rows: int, errors: Table, mean: Tables | None
) -> Tensor:
    """Variance of the sum of a block's errors for one input digit, at the nodes of `random_inputs`.

    Args:
        tiles: Tiles of so many rows.
        errors: Mean error at a count, in counts.
        mean: The part of the errors that counts as their mean.

    Returns:
        # (outputs, tiles, nodes), float32
    """
    cycle = block.cycle
    found = random_inputs(rows, 2 ** len(cycle.input_bits) - 1)
    inputs, integers = found.digits.to(w.device), w.to(torch.int32)
    _, factors = block.factors(0)
    parts, geometry = [], product.geometry(None, w)
    for tile in tiles:
        total: Tensor | float = 0.0
        for (bits, signed), factor in zip(block.weights, factors, strict=True):
            plane = geometry.held(digits(integers, bits, signed), tile)
            error = errors.values.to(w.device)[(plane @ inputs).long() - errors.low, 0]
            if mean is not None:
                of_inputs = mean[0].values.to(w.device)[inputs.sum(0).long() - mean[0].low]
                error -= mean[1].values.to(w.device)[plane.sum(-1).long() - mean[1].low] @ of_inputs.T
            total = total + factor * error
        parts.append(torch.as_tensor(total).square().unflatten(-1, (-1, _DRAWS)).mean(-1))
    return torch.stack(parts, -2)
