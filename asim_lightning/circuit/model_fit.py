"""The charge and current models fitted to measured codes by maximum likelihood."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from asim_lightning.circuit.code_fit import SMALLEST_SIGMA, Array, log_probability
from asim_lightning.circuit.measured import MeasuredCurve

FEWEST_COUNTS = 8
"""Fewest counts of two codes or more: of others, nothing is known of noise."""
PARAMETERS = ("offset", "gain", "bend", "random", "nonlinear")
_BOUNDED = (False, False, True, True, True)
_95, _HALF_CHI2 = 1.959964, 1.9207294
_FAR = 1e4  # sigmas, of a threshold that is not there: infinity has no derivative
_STEPS, _DAMPINGS = 200, 40
_SURE = 16.0
"""Twice the log-likelihood that a rise of sigma must gain: four standard errors, because free levels gain too."""


@dataclass(frozen=True)
class Estimate:
    """A parameter with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class ModelFit:
    """A column model fitted to measured codes.

    ``level = offset + gain * top * x`` with ``x = k / (1 + alpha k) / full_scale`` for a count k, and
    ``sigma = top / 100 * sqrt(random^2 + nonlinear^2 / (x rows + 1))``.
    """

    model: str
    """Either charge, for which alpha is 0, or current."""
    alpha: Estimate | None
    """1 / count; None of charge."""
    offset: Estimate
    """LSB."""
    gain: Estimate
    random_noise: Estimate
    """Percent of full scale."""
    nonlinear_noise: Estimate
    """Percent of full scale at count 0."""
    log_likelihood: float

    @property
    def aic(self) -> float:
        """Akaike's criterion, ``2 parameters - 2 log-likelihood``: of two models, the smaller one predicts better."""
        return 2 * (4 if self.alpha is None else 5) - 2 * self.log_likelihood


@dataclass(frozen=True, eq=False)
class _Codes:
    """Reads by count and code, thresholds in codes. # (cells,)"""

    count: Tensor
    number: Tensor
    lower: Tensor
    upper: Tensor
    full_scale: int
    rows: int

    def log_likelihood(self, level: Tensor, sigma: Tensor) -> Tensor:
        """Of all reads, for levels and sigmas by cell."""
        low, high = ((each - level) / sigma for each in (self.lower, self.upper))
        return (self.number * log_probability(low, high)).sum()

    def of_model(self, theta: Tensor, top: int) -> Tensor:
        """Of all reads, for offset, gain, ``alpha * full_scale`` and both variances in LSB^2. # (5,)"""
        offset, gain, bend, random, nonlinear = theta
        share = self.count / self.full_scale
        share = share / (1.0 + bend * share)
        variance = random + nonlinear / (share * self.rows + 1.0)
        return self.log_likelihood(offset + gain * top * share, variance.clamp_min(SMALLEST_SIGMA**2 / 100).sqrt())


def fit_models(curve: MeasuredCurve, top: int, rows: int, reads: int | None) -> tuple[ModelFit, ModelFit, float, int]:
    """The charge and the current model, and the log-likelihood and number of parameters of each count by itself.

    Args:
        curve: A measured column.
        top: Largest code of its ADC.
        rows: Rows that a column sums.
        reads: Reads of each count; None where the curve knows.

    Raises:
        ValueError: Too few counts have two codes or more, or the number of reads is not known.
    """
    some = int((curve.sigma > 0).sum())
    if some < FEWEST_COUNTS:
        raise ValueError(
            f"fit-column needs {FEWEST_COUNTS} or more counts whose reads gave two codes or more, since one code tells "
            f"nothing of noise, got {some}"
        )
    codes = _codes(curve, top, rows, reads)
    level, sigma = (torch.from_numpy(each)[codes.count.long()] for each in (curve.level, curve.sigma))
    own = float(codes.log_likelihood(level, sigma.clamp_min(SMALLEST_SIGMA)))
    return _fit(codes, curve, top, "charge"), _fit(codes, curve, top, "current"), own, len(curve.level) + some


def rising_sigma(curve: MeasuredCurve, top: int, reads: int | None) -> tuple[float, float] | None:
    """Sigma at the first and the last count, LSB, of a column whose noise rises with the count; None of any other.

    The variance is a line in the count. Each count has a level of its own, so that INL is not taken for noise.

    Args:
        curve: A measured column with noise.
        top: Largest code of its ADC.
        reads: Reads of each count; None where the curve knows.
    """
    codes = _codes(curve, top, curve.full_scale, reads)
    even, _ = _line_of_variances(codes, curve, 1)
    line, variances = _line_of_variances(codes, curve, 2)
    low, high = math.sqrt(variances[0]), math.sqrt(variances[-1])
    return (low, high) if 2 * (line - even) > _SURE and high > low else None


def _line_of_variances(codes: _Codes, curve: MeasuredCurve, ends: int) -> tuple[float, list[float]]:
    """Largest log-likelihood for free levels, and the variances at both ends of the counts, or the one of all."""
    level = torch.from_numpy(curve.level).clone().requires_grad_()
    start = math.log(float((curve.sigma[curve.sigma > 0] ** 2).mean()))
    logarithms = torch.full((ends,), start, dtype=torch.float64, requires_grad=True)
    search = torch.optim.LBFGS([level, logarithms], max_iter=500, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        search.zero_grad()
        variance = logarithms.exp()
        variance = variance[0] + (variance[-1] - variance[0]) * codes.count / codes.full_scale
        value = -codes.log_likelihood(level[codes.count.long()], variance.sqrt())
        value.backward()
        return value

    search.step(loss)
    return -float(loss().detach()), logarithms.detach().exp().tolist()


def _codes(curve: MeasuredCurve, top: int, rows: int, reads: int | None) -> _Codes:
    if curve.measurement.reads is not None:
        table = curve.measurement.reads.astype(np.float64)
    elif reads is not None:
        table = reads * _probabilities(curve, top)
    else:
        raise ValueError("fit-column needs `--reads`, of how many reads each mean and std are, for a file of them")
    counts, code = np.nonzero(table > 1e-9)
    lower = torch.from_numpy(np.where(code == 0, -_FAR * top, code - 0.5))
    upper = torch.from_numpy(np.where(code == top, _FAR * top, code + 0.5))
    number = torch.from_numpy(table[counts, code])
    return _Codes(torch.from_numpy(counts).double(), number, lower, upper, curve.full_scale, rows)


def _probabilities(curve: MeasuredCurve, top: int) -> Array:
    """Probability of each code at each count. # (counts, codes)"""
    thresholds = torch.arange(top, dtype=torch.float64) + 0.5
    level, sigma = torch.from_numpy(curve.level)[:, None], torch.from_numpy(curve.sigma)[:, None].clamp_min(1e-9)
    below = torch.exp(torch.special.log_ndtr((thresholds - level) / sigma))  # (counts, top)
    ends = torch.zeros(len(curve.level), 1, dtype=torch.float64)
    found: Array = torch.cat([ends, below, ends + 1.0], 1).diff(dim=1).numpy()
    return found


def _fit(codes: _Codes, curve: MeasuredCurve, top: int, model: str) -> ModelFit:
    free = [name != "bend" or model == "current" for name in PARAMETERS]

    def function(theta: Tensor) -> Tensor:
        return codes.of_model(theta, top)

    theta, gradient, curvature = _maximum(function, _start(curve, top, free[2]), free)
    found = _estimates(theta, gradient, curvature, free)
    percent = 100.0 / top
    random, nonlinear = (
        Estimate(*(percent * math.sqrt(max(0.0, part)) for part in (each.value, each.low, each.high)))
        for each in found[3:]
    )
    scale = curve.full_scale
    alpha = Estimate(*(max(0.0, part) / scale for part in (found[2].value, found[2].low, found[2].high)))
    value = float(function(theta))
    return ModelFit(model, alpha if free[2] else None, found[0], found[1], random, nonlinear, value)


def _start(curve: MeasuredCurve, top: int, bends: bool) -> Tensor:
    """Parameters near the maximum: least squares of levels, and a variance that covers what is left."""
    share = np.arange(len(curve.level)) / curve.full_scale
    best: tuple[float, list[float]] = (math.inf, [])
    for bend in (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0) if bends else (0.0,):
        line = np.stack([np.ones_like(share), top * share / (1.0 + bend * share)], 1)
        (offset, gain), *_ = np.linalg.lstsq(line, curve.level, rcond=None)
        rest = float(((curve.level - line @ (offset, gain)) ** 2).mean())
        if rest < best[0]:
            best = rest, [float(offset), float(gain), bend]
    variance = best[0] + float((curve.sigma[curve.sigma > 0] ** 2).mean())
    return torch.tensor([*best[1], variance / 2, variance / 2], dtype=torch.float64)


def _maximum(function: Callable[[Tensor], Tensor], theta: Tensor, free: list[bool]) -> tuple[Tensor, Tensor, Tensor]:
    """Maximum of a function whose bounded parameters are 0 or more, by damped Newton steps; place, slope, Hessian."""
    bounded, open_ = torch.tensor(_BOUNDED), torch.tensor(free)
    best, damping = function(theta), 1e-3
    for _ in range(_STEPS):
        gradient, curvature = _derivatives(function, theta)
        moving = open_ & ~(bounded & (theta <= 0) & (gradient <= 0))
        chosen = moving.nonzero().flatten()
        information = -curvature[chosen][:, chosen]
        gained = 0.0
        for _ in range(_DAMPINGS):
            damped = information + damping * torch.diag(information.diagonal().abs() + 1e-12)
            step = torch.zeros_like(theta)
            step[chosen] = torch.linalg.solve(damped, gradient[chosen])
            new = torch.where(bounded, (theta + step).clamp_min(0.0), theta + step)
            value = function(new)
            if bool(value >= best) and bool(value.isfinite()):
                gained, theta, best, damping = float(value - best), new, value, max(damping / 10, 1e-12)
                break
            damping *= 10
        if gained < 1e-9:
            break
    return theta, *_derivatives(function, theta)


def _derivatives(function: Callable[[Tensor], Tensor], theta: Tensor) -> tuple[Tensor, Tensor]:
    at = theta.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(function(at), at, create_graph=True)
    rows = [torch.autograd.grad(each, at, retain_graph=True)[0] for each in gradient]
    return gradient.detach(), torch.stack(rows)


def _estimates(theta: Tensor, gradient: Tensor, curvature: Tensor, free: list[bool]) -> list[Estimate]:
    """Parameters with intervals by observed information; at a bound, by the likelihood that falls from there."""
    inside = torch.tensor([f and (not b or t > 0) for f, b, t in zip(free, _BOUNDED, theta, strict=True)])
    chosen = inside.nonzero().flatten()
    information = -curvature[chosen][:, chosen]
    covariance = torch.linalg.pinv(information)
    errors = torch.zeros_like(theta)
    errors[chosen] = covariance.diagonal().clamp_min(0.0).sqrt()
    found = []
    for place, value in enumerate(theta.tolist()):
        if inside[place] or not free[place]:
            reach = _95 * float(errors[place])
            found.append(Estimate(value, value - reach, value + reach))
            continue
        cross = curvature[place, chosen]
        bend = max(0.0, float(-curvature[place, place] - cross @ covariance @ cross))
        slope = max(0.0, -float(gradient[place]))
        root = math.sqrt(slope**2 + 2 * _HALF_CHI2 * bend)
        found.append(Estimate(0.0, 0.0, 2 * _HALF_CHI2 / (slope + root) if root else math.inf))
    return found
