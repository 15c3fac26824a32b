"""95 % intervals of levels and sigmas by likelihood ratio."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asim_lightning.circuit.code_fit import BISECTIONS, Array, cells_of, fit_reads, parts

_HALF_CHI2 = 1.9207294
"""Half of the 95 % quantile of chi-square with one degree of freedom."""
_GOLDEN, _SECTIONS = 0.6180339887498949, 32


def intervals(reads: NDArray[np.int64], top: int) -> tuple[Array, Array]:
    """95 % intervals of level and sigma of each count by likelihood ratio, lower and upper ends; NaN of one code alone.

    Args:
        reads: How often each code was read. # (counts, codes)
        top: Largest code.

    Returns:
        Of levels and of sigmas. # (2, counts) each
    """
    found = np.full((2, 2, len(reads)), np.nan)
    codes = (reads > 0).sum(1)
    some = np.flatnonzero(codes > 1)
    for part in parts(some, codes[some]):
        found[:, :, part] = _intervals(reads[part], top)
    return found[0], found[1]


def _intervals(reads: NDArray[np.int64], top: int) -> Array:
    level, sigma = (torch.from_numpy(each) for each in fit_reads(reads, top))
    cells, centre = cells_of(reads, top)
    level = level - centre
    least = cells.log_likelihood(level, 1.0 / sigma) - _HALF_CHI2
    reach, small, large = 8.0 * sigma + 3.0, torch.full_like(sigma, 1e-3), 8.0 * sigma + 3.0

    def of_level(at: Tensor) -> Tensor:
        return _largest(lambda log_s: cells.log_likelihood(at, torch.exp(-log_s)), small.log(), large.log())

    def of_sigma(at: Tensor) -> Tensor:
        return _largest(lambda each: cells.log_likelihood(each, 1.0 / at), level - reach, level + reach)

    ends = [_end(of_level, level, level + side * reach, least) + centre for side in (-1.0, 1.0)]
    low = _end(of_sigma, sigma, small, least)
    ends += [torch.where(low < 2 * small, 0.0, low), _end(of_sigma, sigma, large, least)]
    return torch.stack(ends).view(2, 2, -1).numpy()


def _largest(function: Callable[[Tensor], Tensor], low: Tensor, high: Tensor) -> Tensor:
    """Largest value of functions with one maximum between two ends, by golden sections."""
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_left, at_right = function(left), function(right)
    for _ in range(_SECTIONS):
        up = at_left < at_right
        low, high = torch.where(up, left, low), torch.where(up, high, right)
        kept = torch.where(up, right, left)
        new = torch.where(up, low + _GOLDEN * (high - low), high - _GOLDEN * (high - low))
        value = function(new)
        kept_value = torch.where(up, at_right, at_left)
        left, right = torch.where(up, kept, new), torch.where(up, new, kept)
        at_left, at_right = torch.where(up, kept_value, value), torch.where(up, value, kept_value)
    return torch.maximum(at_left, at_right)


def _end(function: Callable[[Tensor], Tensor], inside: Tensor, outside: Tensor, least: Tensor) -> Tensor:
    """Where a function falls below its least value on the way from inside to outside."""
    for _ in range(BISECTIONS):
        middle = (inside + outside) / 2
        good = function(middle) >= least
        inside, outside = torch.where(good, middle, inside), torch.where(good, outside, middle)
    return (inside + outside) / 2
