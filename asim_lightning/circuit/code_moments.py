"""Level and sigma of each count from mean and standard deviation of its codes, which are rounded and bounded."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asim_lightning.circuit.code_fit import BISECTIONS, SMALLEST_SIGMA, Array, below, of_two_codes, parts

_LEVEL_STEPS = 40
_ROUNDING = 2e-6
"""Of variances in a file of five digits."""


def fit_moments(mean: Array, std: Array, top: int) -> tuple[Array, Array]:
    """Level and sigma of each count for which its codes have this mean and standard deviation.

    Args:
        mean: Of the codes, 0..top. # (counts,)
        std: Of the codes, of a deviation that such codes can have, see `impossible_moments`. # (counts,)
        top: Largest code.
    """
    level, sigma = np.round(mean), np.zeros(len(mean))
    fraction = mean - np.floor(mean)
    least = fraction * (1.0 - fraction)  # variance of two codes alone
    two = (std > 0) & (least > 0) & (std**2 <= 1.002 * least + _ROUNDING)
    upper = np.floor(mean[two]).astype(np.int64) + 1
    level[two], sigma[two] = of_two_codes(upper, fraction[two], 0.0005 * least[two] + _ROUNDING / 4, top)
    some = np.flatnonzero((std > 0) & ~two)
    some = some[np.argsort(std[some])]
    for part in parts(some, 2 * np.ceil(8 * std[some]) + 5):
        level[part], sigma[part] = _of_moments(mean[part], std[part], top)
    return level, sigma


def _of_moments(mean: Array, std: Array, top: int) -> tuple[Array, Array]:
    low = torch.full((len(mean),), SMALLEST_SIGMA, dtype=torch.float64)
    wanted, variance = torch.from_numpy(mean), torch.from_numpy(std**2)
    high = torch.from_numpy(2.0 * std + 1.0)
    reach = int(np.ceil(8 * std.max())) + 2

    def level_at(sigma: Tensor) -> Tensor:
        """Level of the wanted mean, by Newton's method between bounds."""
        least, most, at = wanted - reach, wanted + reach, wanted
        for _ in range(_LEVEL_STEPS):
            mean, _, slope = _moments(at, sigma, wanted, reach, top)
            least, most = torch.where(mean < wanted, at, least), torch.where(mean < wanted, most, at)
            new = at + (wanted - mean) / slope
            at, before = torch.where((new > least) & (new < most), new, (least + most) / 2), at
            if bool(((at - before).abs() < 1e-10).all()):
                break
        return at

    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        at = level_at(middle)
        found = _moments(at, middle, wanted, reach, top)[1]
        # at an end of the range the level stays in it, where the deviation allows that
        near = (at >= 0.0) & (at <= top)
        good = (found <= variance + 1e-6) & (near | (found < 0.999 * variance))
        low, high = torch.where(good, middle, low), torch.where(good, high, middle)
    return level_at(low).numpy(), low.numpy()


def _moments(level: Tensor, sigma: Tensor, around: Tensor, reach: int, top: int) -> tuple[Tensor, Tensor, Tensor]:
    """Mean of codes, their mean square distance from a value near it, of which codes lie at most `reach` away, and the
    mean's derivative by the level."""
    codes = around.round()[:, None] + torch.arange(-reach, reach + 1, dtype=torch.float64)  # (counts, codes)
    real = (codes >= 1) & (codes <= top)
    distance = (level[:, None] - codes + 0.5) / sigma[:, None]
    at_least = real * below(distance)
    slope = (real * torch.exp(-0.5 * distance * distance)).sum(1) / (2.5066282746310002 * sigma)
    floor = codes[:, 0].clamp(1, top) - 1.0  # what lies below all of these codes
    weight = 2.0 * (codes - around[:, None]) - 1.0
    return floor + at_least.sum(1), (floor - around) ** 2 + (at_least * weight).sum(1), slope


def impossible_moments(mean: Array, std: Array, level: Array, sigma: Array, top: int) -> NDArray[np.bool_]:
    """Whether no codes of 0..top have a mean and a standard deviation, to which a level and a sigma were fitted.

    Of whole codes the deviation is at least ``sqrt(p (1 - p))``, p the mean's fraction; near the ends of the range it
    is bounded from above. A rounding of the given numbers by 0.02 is allowed.
    """
    fraction = mean - np.floor(mean)
    too_small = std < np.sqrt(fraction * (1.0 - fraction)) - 0.02
    reach = int(np.ceil(8 * std.max())) + 2
    at, spread, around = (torch.from_numpy(each) for each in (level, np.maximum(sigma, 1e-9), mean))
    found_mean, square, _ = (each.numpy() for each in _moments(at, spread, around, reach, top))
    found_std = np.sqrt(np.maximum(square, 0.0))
    wrong: NDArray[np.bool_] = too_small | (np.abs(found_mean - mean) > 0.02) | (found_std < std * 0.98 - 0.02)
    return wrong
