"""The charge, current and droop models fitted to measured codes by maximum likelihood."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import chdtri, ndtr, stdtrit
from torch import Tensor

from asim_lightning.circuit.code_fit import HALF_CHI2, SMALLEST_SIGMA, Array, log_probability
from asim_lightning.circuit.measured import MeasuredCurve

FEWEST_COUNTS = 8
"""Fewest counts with two codes or more; a count with one code tells nothing about noise."""
PARAMETERS = ("offset", "gain", "bend", "random", "nonlinear")
_BOUNDED = (False, False, True, True, True)
_FAR = 1e4  # sigmas to a missing threshold: infinity has no derivative
_ROUNDS, _FLAT = 3, 1e-12  # searches, each from the result of the one before; least curvature of a parameter
_SURE = 16.0
"""Twice the log-likelihood that a rise of sigma must gain: four standard errors, because free levels gain too."""


@dataclass(frozen=True)
class Estimate:
    """A parameter with its 95 % interval."""

    value: float
    low: float
    high: float

    def of(self, function: Callable[[float], float]) -> "Estimate":
        """The estimate of a rising function of the parameter, which is 0 or more."""
        return Estimate(*(function(max(0.0, end)) for end in (self.value, self.low, self.high)))


@dataclass(frozen=True)
class ModelFit:
    """A column model fitted to measured codes.

    ``level = offset + gain * top * x (1 - k driven / rows)`` and ``sigma = top / 100 * sqrt(random^2 + nonlinear^2 / (x
    rows + 1))`` with ``x = c / (1 + alpha c) / full_scale`` for a count c.
    """

    model: str
    """charge, for which alpha and k are 0, current or droop."""
    alpha: Estimate | None
    """1 / count; None except for current."""
    offset: Estimate
    """LSB."""
    gain: Estimate
    random_noise: Estimate
    """Percent of full scale."""
    nonlinear_noise: Estimate
    """Percent of full scale at count 0."""
    log_likelihood: float
    k: Estimate | None = None
    """Share of the level; None except for droop."""

    @property
    def aic(self) -> float:
        """Akaike's criterion, ``2 parameters - 2 log-likelihood``: the model with the smaller value predicts better."""
        return 2 * (4 if self.model == "charge" else 5) - 2 * self.log_likelihood


@dataclass(frozen=True, eq=False)
class AllFits:
    """The fits of one model to all converters of a chip.

    Offset, gain and bend have mean and spread over the converters whose reads tell them apart. The noise is one fit to
    the reads of all converters, around the level of each one's own fit.
    """

    fits: Sequence[ModelFit]
    curves: Sequence[MeasuredCurve]
    top: int
    """Largest code of the ADC."""
    rows: int
    """Rows that a column sums."""
    reads: int | None = None
    """Reads of each count; None if the curves have them."""

    @property
    def counted(self) -> list[ModelFit]:
        """The fits in mean and spread of offset and gain."""
        found = [fit for fit in self.fits if math.isfinite(fit.offset.high) and math.isfinite(fit.gain.high)]
        if len(found) < 2:
            raise ValueError("the reads tell offset from gain for fewer than 2 converters, so no spread is known")
        return found

    @property
    def offset(self) -> Estimate:
        """Standard deviation of the offset of converters, LSB."""
        return _spread([fit.offset for fit in self.counted], 1.0)

    @property
    def gain(self) -> Estimate:
        """Standard deviation of the gain of converters, percent of the mean gain."""
        gains = [fit.gain for fit in self.counted]
        return _spread(gains, 100.0 / _mean(gains).value)

    def mean(self) -> ModelFit:
        """The fit with mean parameters, with intervals of the mean, and the noise of all converters."""
        offset, gain = (_mean([getattr(fit, name) for fit in self.counted]) for name in ("offset", "gain"))
        bends = [fit.alpha for fit in self.counted if fit.alpha is not None]
        random, nonlinear, likelihood = self._noise()
        return ModelFit(
            self.fits[0].model, _mean(bends) if bends else None, offset, gain, random, nonlinear, likelihood
        )

    def _noise(self) -> tuple[Estimate, Estimate, float]:
        parts = []
        for fit, curve in zip(self.fits, self.curves, strict=True):
            codes = _codes(curve, self.top, self.reads)
            share = _share(codes.count.numpy(), fit, curve)
            level = torch.from_numpy(fit.offset.value + fit.gain.value * self.top * share)
            parts.append((codes, level, torch.from_numpy(share) * self.rows))
        least_variance = _least_sigma(self.curves[0]) ** 2 / 100

        def loss(theta: Tensor) -> Tensor:
            """Loss for both variances in LSB^2, the last two of five parameters. # (5,)"""
            sigmas = ((theta[3] + theta[4] / (x + 1.0)).clamp_min(least_variance).sqrt() for *_, x in parts)
            return torch.stack([each[0].loss(each[1], sigma) for each, sigma in zip(parts, sigmas, strict=True)]).sum()

        bounds = [(0.0, 0.0)] * 3 + [(0.0, None)] * 2
        squares = [(self.top / 100.0 * fit.random_noise.value) ** 2 for fit in self.fits]
        theta, least = _least(loss, [0.0, 0.0, 0.0, float(np.mean(squares)), 0.0], bounds)
        found = _estimates(loss, theta, np.array([False] * 3 + [True] * 2))[3:]
        random, nonlinear = (each.of(lambda variance: 100.0 / self.top * math.sqrt(variance)) for each in found)
        return random, nonlinear, -least

    @property
    def inl(self) -> tuple[float, float]:
        """Root mean square and largest magnitude of the levels beyond the model, LSB, at measured counts whose levels
        the ADC does not clip."""
        rest = []
        for fit, curve in zip(self.fits, self.curves, strict=True):
            line = fit.offset.value + fit.gain.value * self.top * _share(curve.counts, fit, curve)
            inside = (line >= 0) & (line <= self.top)  # the ADC clips other levels
            rest.append((curve.level[curve.counts] - line)[inside])
        errors = np.concatenate(rest)
        return float(np.sqrt((errors**2).mean())), float(np.abs(errors).max())


def _share(counts: NDArray[Any], fit: ModelFit, curve: MeasuredCurve) -> Array:
    """Counts as the model's share of full scale."""
    alpha = 0.0 if fit.alpha is None else fit.alpha.value
    share: Array = counts / (1.0 + alpha * counts) / curve.full_scale
    return share


def _mean(parts: Sequence[Estimate]) -> Estimate:
    """Mean of estimates, with the interval of this mean over converters."""
    values = np.array([each.value for each in parts])
    reach = float(stdtrit(len(values) - 1, 0.975) * values.std(ddof=1)) / math.sqrt(len(values))
    mean = float(values.mean())
    return Estimate(mean, mean - reach, mean + reach)


def _spread(parts: Sequence[Estimate], scale: float) -> Estimate:
    """Standard deviation of normal values behind estimates, without the error of the estimates."""
    values, others = np.array([each.value for each in parts]), len(parts) - 1
    errors = float(np.mean([(each.high - each.low) ** 2 for each in parts])) / (8.0 * HALF_CHI2)
    variances = float(values.var(ddof=1)) * np.array([1.0, *(others / chdtri(others, p) for p in (0.025, 0.975))])
    return Estimate(*(scale * math.sqrt(max(0.0, each - errors)) for each in variances.tolist()))


@dataclass(frozen=True, eq=False)
class _Codes:
    """Reads by count and code, thresholds in codes. # (cells,)"""

    count: Tensor
    number: Tensor
    lower: Tensor
    upper: Tensor

    def loss(self, level: Tensor, sigma: Tensor) -> Tensor:
        """Negative log-likelihood of all reads, for levels and sigmas by cell."""
        low, high = ((each - level) / sigma for each in (self.lower, self.upper))
        return -(self.number * log_probability(low, high)).sum()


@dataclass(frozen=True, eq=False)
class _Volts:
    """Voltages by count as mean and variance of reads, in LSB. # (measured,)"""

    count: Tensor
    number: Tensor
    mean: Tensor
    variance: Tensor

    def loss(self, level: Tensor, sigma: Tensor) -> Tensor:
        """Negative log-likelihood of all reads, for levels and sigmas by measured count."""
        square = (self.variance + (self.mean - level) ** 2) / sigma**2
        return (self.number * (sigma.log() + 0.5 * square)).sum()


def fit_models(curve: MeasuredCurve, top: int, rows: int, reads: int | None) -> tuple[ModelFit, ModelFit, float, int]:
    """The fitted charge and current model, and log-likelihood and number of parameters of a fit of each count.

    Args:
        curve: A measured column.
        top: Largest code of its ADC.
        rows: Rows that a column sums.
        reads: Reads of each count; None if the curve has them.
    """
    return _fit_models({rows: curve}, top, rows, reads, "current")


def fit_droop(
    curves: Mapping[int, MeasuredCurve], top: int, rows: int, reads: int | None
) -> tuple[ModelFit, ModelFit, float, int]:
    """`fit_models` with the droop model instead of current.

    Args:
        curves: A measured column by the number of driven rows, ascending; the others are those of `fit_models`.
    """
    return _fit_models(curves, top, rows, reads, "droop")


def _fit_models(
    curves: Mapping[int, MeasuredCurve], top: int, rows: int, reads: int | None, other: str
) -> tuple[ModelFit, ModelFit, float, int]:
    some, curve = sum(int((each.sigma[each.counts] > 0).sum()) for each in curves.values()), [*curves.values()][-1]
    if some < FEWEST_COUNTS:
        reads_differ = "whose reads gave two codes or more, because one code tells nothing about noise"
        differ = "whose voltages have noise" if curve.is_voltage else reads_differ
        raise ValueError(f"fit-column needs {FEWEST_COUNTS} or more counts {differ}, got {some}")
    parts, own = [], 0.0
    for driven, each in curves.items():
        codes = _codes(each, top, reads)
        level, sigma = (torch.from_numpy(x)[codes.count.long()] for x in (each.level, each.sigma))
        own -= float(codes.loss(level, sigma.clamp_min(_least_sigma(curve))))
        parts.append(_Part(codes, each, driven / rows))
    charge, found = (_fit(parts, curve, top, rows, model) for model in ("charge", other))
    return charge, found, own, sum(len(each.counts) for each in curves.values()) + some


def rising_sigma(curve: MeasuredCurve, top: int, reads: int | None) -> tuple[float, float] | None:
    """Sigma at the first and the last count, LSB, if the noise of a column rises with the count; else None.

    The variance is linear in the count. Each count has its own level, so that INL does not count as noise.

    Args:
        curve: A measured column with noise.
        top: Largest code of its ADC.
        reads: Reads of each count; None if the curve has them.
    """
    codes = _codes(curve, top, reads)
    measured = curve.sigma[curve.counts]
    start = math.log(float((measured[measured > 0] ** 2).mean()))
    losses, ends = [], [0.0]
    for parameters in (1, 2):

        def loss(theta: Tensor, parameters: int = parameters) -> Tensor:
            level, variance = theta[:-parameters][codes.count.long()], theta[-parameters:].exp()
            line = variance[0] + (variance[-1] - variance[0]) * codes.count / curve.full_scale
            return codes.loss(level, line.sqrt())

        found, least = _least(loss, [*curve.level, *[start] * parameters])
        losses.append(least)
        ends = np.exp(found[-parameters:] / 2).tolist()
    low, high = ends
    return (low, high) if 2 * (losses[0] - losses[1]) > _SURE and high > low else None


def _least_sigma(curve: MeasuredCurve) -> float:
    """Smallest sigma of a fit, LSB: codes do not tell a smaller one; of voltages a hundredth of the usual one, so that
    a count without noise does not decide alone."""
    usual = float(np.sqrt((curve.sigma[curve.counts] ** 2).mean()))
    return 0.01 * usual if curve.is_voltage else SMALLEST_SIGMA


def _codes(curve: MeasuredCurve, top: int, reads: int | None) -> _Codes | _Volts:
    counts = curve.counts
    if curve.is_voltage and (reads is not None or curve.number is not None):
        number = np.full(len(counts), reads) if curve.number is None else curve.number
        level, sigma = curve.level[counts], curve.sigma[counts]
        return _Volts(*(torch.from_numpy(each).double() for each in (counts, number, level, sigma**2)))
    if curve.reads is not None:
        table = curve.reads.astype(np.float64)
    elif reads is not None:
        level, sigma = curve.level[counts, None], np.maximum(curve.sigma[counts], 1e-9)[:, None]
        below = ndtr((np.arange(top) + 0.5 - level) / sigma)  # (counts, top)
        table = reads * np.diff(below, prepend=0.0, append=1.0)  # reads that the fit expects of each code
    else:
        raise ValueError("fit-column needs `--reads`, the number of reads of each mean and std, for a file of them")
    cell, code = np.nonzero(table > 1e-9)
    lower = torch.from_numpy(np.where(code == 0, -_FAR * top, code - 0.5))
    upper = torch.from_numpy(np.where(code == top, _FAR * top, code + 0.5))
    return _Codes(torch.from_numpy(counts[cell]).double(), torch.from_numpy(table[cell, code]), lower, upper)


@dataclass(frozen=True, eq=False)
class _Part:
    """Reads at a number of driven rows."""

    codes: _Codes | _Volts
    curve: MeasuredCurve
    driven: float
    """Share of all rows."""


def _fit(parts: Sequence[_Part], curve: MeasuredCurve, top: int, rows: int, model: str) -> ModelFit:
    """The model fitted to parts of which the curve is the one of the largest full scale."""
    free, is_droop = np.array([name != "bend" or model != "charge" for name in PARAMETERS]), model == "droop"
    least_variance = _least_sigma(curve) ** 2 / 100

    def loss(theta: Tensor) -> Tensor:
        """Loss for offset, gain, ``alpha * full_scale`` or k, and both variances in LSB^2. # (5,)"""
        offset, gain, bend, random, nonlinear = theta
        losses = []
        for part in parts:
            share = part.codes.count / curve.full_scale
            share = share if is_droop else share / (1.0 + bend * share)
            level = offset + gain * top * share * (1.0 - bend * part.driven if is_droop else 1.0)
            variance = random + nonlinear / (share * rows + 1.0)
            losses.append(part.codes.loss(level, variance.clamp_min(least_variance).sqrt()))
        return torch.stack(losses).sum()

    theta, least = np.array(_start(parts, curve.full_scale, top, model)), math.inf
    bounds = [(0.0 if bounded else None, None if each else 0.0) for bounded, each in zip(_BOUNDED, free, strict=True)]
    for _ in range(_ROUNDS):
        # in standard errors, because a search stops early if the sizes of parameters differ much
        curvature = torch.func.hessian(loss)(torch.from_numpy(theta)).numpy().diagonal()
        size = 1.0 / np.sqrt(np.abs(curvature).clip(_FLAT))

        def in_errors(steps: Tensor, size: Array = size) -> Tensor:
            return loss(steps * torch.from_numpy(size))

        steps, least = _least(in_errors, theta / size, bounds)
        theta = steps * size
    found = _estimates(loss, theta, free)
    random, nonlinear = (each.of(lambda variance: 100.0 / top * math.sqrt(variance)) for each in found[3:])
    alpha = found[2].of(lambda bend: bend / curve.full_scale) if model == "current" else None
    return ModelFit(model, alpha, found[0], found[1], random, nonlinear, -least, found[2] if is_droop else None)


def _start(parts: Sequence[_Part], full_scale: int, top: int, model: str) -> list[float]:
    """Parameters near the best: least squares of levels, and a variance that covers the rest."""
    curves = [part.curve for part in parts]
    share = np.concatenate([each.counts / full_scale for each in curves])
    level, sigma = (
        np.concatenate([getattr(each, name)[each.counts] for each in curves]) for name in ("level", "sigma")
    )
    driven = np.concatenate([np.full(len(part.curve.counts), part.driven) for part in parts])
    best: tuple[float, list[float]] = (math.inf, [])
    for bend in (0.0,) if model == "charge" else (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0):
        bent = share * (1.0 - bend * driven) if model == "droop" else share / (1.0 + bend * share)
        line = np.stack([np.ones_like(share), top * bent], 1)
        (offset, gain), *_ = np.linalg.lstsq(line, level, rcond=None)
        rest = float(((level - line @ (offset, gain)) ** 2).mean())
        if rest < best[0]:
            best = rest, [float(offset), float(gain), bend]
    variance = best[0] + float((sigma[sigma > 0] ** 2).mean())
    return [*best[1], variance / 2, variance / 2]


def _least(
    function: Callable[[Tensor], Tensor],
    start: Sequence[float],
    bounds: Sequence[tuple[float | None, float | None]] = (),
) -> tuple[Array, float]:
    """The arguments at which a function is least, and its value there."""

    def value_and_gradient(theta: Array) -> tuple[float, Array]:
        gradient, value = torch.func.grad_and_value(function)(torch.from_numpy(theta))
        return float(value), gradient.numpy()

    options = {"maxiter": 2000, "maxfun": 5000, "ftol": 1e-15, "gtol": 1e-9, "maxcor": 20}
    found = minimize(value_and_gradient, start, jac=True, method="L-BFGS-B", bounds=bounds or None, options=options)
    return found.x, float(found.fun)


def _estimates(loss: Callable[[Tensor], Tensor], theta: Array, free: NDArray[np.bool_]) -> list[Estimate]:
    """Parameters with intervals by observed information; at a bound, by how the likelihood falls from there."""
    at = torch.from_numpy(theta)
    slope, information = torch.func.grad(loss)(at).numpy(), torch.func.hessian(loss)(at).numpy()
    inside = free & ~(np.array(_BOUNDED) & (theta <= 0))
    covariance = np.linalg.pinv(information[np.ix_(inside, inside)])
    errors = np.zeros_like(theta)
    # a variance that is not positive: the reads do not tell this parameter from another one
    variances = covariance.diagonal()
    errors[inside] = np.sqrt(np.where(variances > 0, variances, np.inf))
    found = []
    for place, value in enumerate(theta.tolist()):
        if inside[place] or not free[place]:
            reach = math.sqrt(2 * HALF_CHI2) * float(errors[place])
            found.append(Estimate(value, value - reach, value + reach))
            continue
        cross = information[place, inside]
        bend = max(0.0, float(information[place, place] - cross @ covariance @ cross))
        rise = max(0.0, float(slope[place]))
        root = math.sqrt(rise**2 + 2 * HALF_CHI2 * bend)
        found.append(Estimate(0.0, 0.0, 2 * HALF_CHI2 / (rise + root) if root else math.inf))
    return found
