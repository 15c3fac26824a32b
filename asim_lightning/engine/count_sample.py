"""Errors of all weight bits of an output together, for random inputs.

Bits of a weight are not independent: the top bits of a small weight are all like its sign. So the counts of these bits
are alike, their errors are alike, and with the sign they partly cancel. The sums of digits do not show this.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from asim_lightning.engine.digit_sums import Table
from asim_lightning.engine.error_tables import Block, ErrorTables
from asim_lightning.engine.integer import digits
from asim_lightning.engine.overlap import SAMPLE_NODES, nearest, sample_sums, shares_of_values
from asim_lightning.engine.product import Product, Tile
from asim_lightning.engine.stored_weights import StoredBits

_DRAWS = 16
_TAIL = 1.5
"""Magnitudes of signed inputs are exponential numbers to this power: heavier tails than Laplace's, lighter than those
of inputs after GELU."""


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
def random_inputs(rows: int, top: int, by_driven: bool) -> RandomInputs:
    """Digits 0..top at random rows, for sums from 0 to the largest. Larger values of a digit are rarer: the shares of
    values fall geometrically (for sums above half of the largest they rise).

    Args:
        by_driven: Whether errors depend on the driven rows, so that more sums are needed.
    """
    sums = sample_sums(rows, top, by_driven)
    generator = torch.Generator("cpu").manual_seed(0)
    order = (
        torch.rand(rows, len(sums), _DRAWS, generator=generator, dtype=torch.float32, device="cpu")
        .argsort(0)
        .argsort(0)
    )
    shares = shares_of_values(sums / rows, top)
    drawn = sum(
        (order < (rows * share).round()[:, None] for share in shares),
        torch.zeros(order.shape, dtype=torch.float32, device="cpu"),
    )
    return RandomInputs(sums, drawn.flatten(1))


def magnitude_bits(input_bits: int) -> tuple[int, ...]:
    """Bits of the magnitudes of signed inputs whose sums choose the node of `random_values`."""
    return tuple(range(max(0, input_bits - 8), input_bits))


@lru_cache(maxsize=64)
def random_values(rows: int, input_bits: int) -> RandomInputs:
    """Signed values of rows at random, by the sum of their `magnitude_bits`: smaller magnitudes are more likely."""
    generator, top = torch.Generator("cpu").manual_seed(0), 2 ** (input_bits - 1) - 1
    chance = torch.rand(2, rows, 1, _DRAWS, generator=generator, dtype=torch.float64, device="cpu").clamp_min(1e-9)
    size = (-chance[0].log()) ** _TAIL / math.gamma(1.0 + _TAIL)
    # with shares of negative values from a quarter to three quarters, as after activations such as GELU
    below = chance[1] < torch.linspace(0.25, 0.75, _DRAWS, dtype=torch.float64, device="cpu")
    means = top * 2.0 ** torch.arange(-SAMPLE_NODES + 1, 3, dtype=torch.float64, device="cpu")
    drawn = (size * means[:, None]).clamp_max(top).round()
    lowest = magnitude_bits(input_bits)[0]
    sums = (drawn / 2.0**lowest).floor().sum(0).mean(-1).round()
    sums[0], sums[-1] = 0.0, rows * 2.0 ** (input_bits - 1 - lowest)  # the ends of the table
    chosen = sums.diff(prepend=-torch.ones_like(sums[:1])) > 0
    return RandomInputs(sums[chosen], torch.where(below, -drawn, drawn)[:, chosen].float().flatten(1))


def variance_of_outputs(
    product: Product, tiles: list[Tile], stored: StoredBits, block: Block, rows: int, found: ErrorTables
) -> Tensor:
    """Variance of the sum of a block's errors for one input digit, at the nodes of `random_inputs`.

    Args:
        tiles: Tiles of so many rows.
        stored: Bits on these tiles.
        found: Tables of the block on these tiles.

    Returns:
        # (outputs, tiles, nodes), float32
    """
    top, by_driven = 2 ** len(block.cycle.input_bits) - 1, found.driven is not None
    inputs = random_inputs(rows, top, by_driven).digits.to(stored.weights.integers.device)
    every = [
        _errors_of_digit(product, tile, stored.of_tiles([number]), block, inputs, found)
        for number, tile in enumerate(tiles)
    ]
    return torch.stack([each.square().unflatten(-1, (-1, _DRAWS)).mean(-1) for each in every], -2)


def variance_of_signed(
    product: Product,
    tiles: list[Tile],
    stored: StoredBits,
    parts: list[tuple[Block, ErrorTables]],
    rows: int,
    input_bits: int,
) -> Tensor:
    """Variance of the sum of all errors for signed inputs, at the nodes of `random_values`. Top bits of a small input
    are like its sign. # (outputs, tiles, nodes), float32"""
    device = stored.weights.integers.device
    values, every = random_values(rows, input_bits).digits.to(device, torch.int32), []
    for number, tile in enumerate(tiles):
        of_tile = stored.of_tiles([number])
        total = torch.zeros((), dtype=torch.float32, device=device)
        for block, found in parts:
            for (bits, signed), factor in zip(block.inputs, block.factors(0)[0], strict=True):
                its = _errors_of_digit(product, tile, of_tile, block, digits(values, bits, signed), found)
                total = total + factor * its
        every.append(total.square().unflatten(-1, (-1, _DRAWS)).mean(-1))
    return torch.stack(every, -2)


def _errors_of_digit(
    product: Product, tile: Tile, stored: StoredBits, block: Block, inputs: Tensor, found: ErrorTables
) -> Tensor:
    """Sum over weight bits of the mean errors at the counts of random digits, without the part that counts as their
    mean. # (outputs, draws)"""
    w = stored.weights.integers
    total, integers = torch.zeros((), dtype=torch.float32, device=w.device), w.to(torch.int32)
    geometry, errors, mean = product.geometry(None, w), found.errors, found.mean
    if errors is None:
        return total
    number = torch.zeros((), dtype=torch.int64, device=w.device)
    if found.driven is not None:
        number = nearest(found.driven.to(w.device), (inputs != 0).sum(0))
    for (bits, signed), factor in zip(block.weights, block.factors(0)[1], strict=True):
        plane = geometry.held(digits(integers, bits, signed), tile)
        error = errors.values.to(w.device)[(plane @ inputs).long() - errors.low, number]
        if mean is not None:
            of_inputs = mean[0].values.to(w.device)[inputs.sum(0).long() - mean[0].low]
            error -= mean[1].values.to(w.device)[plane.sum(-1).long() - mean[1].low] @ of_inputs.T
        # (outputs, tiles of 1) or a single 1
        total = total + factor * stored.signs(bits[0]) * error
    return total
