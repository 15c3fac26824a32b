"""The charge, current and droop models fitted to measured codes by maximum likelihood."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtr
from torch import Tensor

from asim_lightning.circuit.code_fit import SMALLEST_SIGMA, Array, log_probability
from asim_lightning.circuit.estimate import Estimate, estimates, least_of, mean_of, spread_of
from asim_lightning.circuit.measured import MeasuredCurve

FEWEST_COUNTS = 8
"""Fewest counts with two codes or more; a count with one code tells nothing about noise."""
PARAMETERS = ("offset", "gain", "bend", "random", "nonlinear")
_BOUNDED = np.array([False, False, True, True, True])
_FAR = 1e4  # sigmas to a missing threshold: infinity has no derivative
_ROUNDS, _FLAT = 3, 1e-12  # searches, each from the result of the one before; least curvature of a parameter
_SURE = 16.0
"""Twice the log-likelihood that a rise of sigma must gain: four standard errors, because free levels gain too."""
_ROUNDED = 1e-4
"""INL that the digits of a file may make, LSB."""


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
    inl: float | None = None
    """Root mean square of the levels beyond the model, LSB; None for a file with noise."""

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
        return spread_of([fit.offset for fit in self.counted], 1.0)

    @property
    def gain(self) -> Estimate:
        """Standard deviation of the gain of converters, percent of the mean gain."""
        gains = [fit.gain for fit in self.counted]
        return spread_of(gains, 100.0 / mean_of(gains).value)

    def mean(self) -> ModelFit:
        """The fit with mean parameters, with intervals of the mean, and the noise of all converters."""
        offset, gain = (mean_of([getattr(fit, name) for fit in self.counted]) for name in ("offset", "gain"))
        bends = [fit.alpha for fit in self.counted if fit.alpha is not None]
        random, nonlinear, likelihood = self._noise()
        return ModelFit(
            self.fits[0].model, mean_of(bends) if bends else None, offset, gain, random, nonlinear, likelihood
        )

    def _noise(self) -> tuple[Estimate, Estimate, float]:
        if self.curves[0].is_exact:
            return Estimate(0.0, 0.0, 0.0), Estimate(0.0, 0.0, 0.0), sum(fit.log_likelihood for fit in self.fits)
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
        theta, least = least_of(loss, [0.0, 0.0, 0.0, float(np.mean(squares)), 0.0], bounds)
        found = estimates(loss, theta, np.array([False] * 3 + [True] * 2), _BOUNDED)[3:]
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

    Voltages without any noise, such as those of a simulator, are fitted by least squares: the fit of each count by
    itself then has no error, and an infinite log-likelihood.

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
    is_exact, curve = all(each.is_exact for each in curves.values()), [*curves.values()][-1]
    some = sum(len(each.counts) if is_exact else int((each.sigma[each.counts] > 0).sum()) for each in curves.values())
    if some < FEWEST_COUNTS:
        reads_differ = " whose reads gave two codes or more, because one code tells nothing about noise"
        differ = ("" if is_exact else " whose voltages have noise") if curve.is_voltage else reads_differ
        raise ValueError(f"fit-column needs {FEWEST_COUNTS} or more counts{differ}, got {some}")
    parts, own = [], math.inf if is_exact else 0.0
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
        curve: A measured column.
        top: Largest code of its ADC.
        reads: Reads of each count; None if the curve has them.
    """
    if curve.is_exact:
        return None
    codes = _codes(curve, top, reads)
    measured = curve.sigma[curve.counts]
    start = math.log(float((measured[measured > 0] ** 2).mean()))
    losses, ends = [], [0.0]
    for parameters in (1, 2):

        def loss(theta: Tensor, parameters: int = parameters) -> Tensor:
            level, variance = theta[:-parameters][codes.count.long()], theta[-parameters:].exp()
            line = variance[0] + (variance[-1] - variance[0]) * codes.count / curve.full_scale
            return codes.loss(level, line.sqrt())

        found, least = least_of(loss, [*curve.level, *[start] * parameters])
        losses.append(least)
        ends = np.exp(found[-parameters:] / 2).tolist()
    low, high = ends
    return (low, high) if 2 * (losses[0] - losses[1]) > _SURE and high > low else None


def _least_sigma(curve: MeasuredCurve) -> float:
    """Smallest sigma of a fit, LSB: codes do not tell a smaller one; of voltages a hundredth of the usual one, so that
    a count without noise does not decide alone."""
    if curve.is_exact:
        return _ROUNDED
    usual = float(np.sqrt((curve.sigma[curve.counts] ** 2).mean()))
    return 0.01 * usual if curve.is_voltage else SMALLEST_SIGMA


def _codes(curve: MeasuredCurve, top: int, reads: int | None) -> _Codes | _Volts:
    counts = curve.counts
    if curve.is_voltage and (curve.is_exact or reads is not None or curve.number is not None):
        number = np.full(len(counts), 1 if curve.is_exact else reads) if curve.number is None else curve.number
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
    is_exact, is_droop = all(part.curve.is_exact for part in parts), model == "droop"
    fixed = ("bend",) * (model == "charge") + ("nonlinear",) * is_exact  # without noise, `random` is the INL
    free, least_variance = np.array([name not in fixed for name in PARAMETERS]), _least_sigma(curve) ** 2 / 100

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

        steps, least = least_of(in_errors, theta / size, bounds)
        theta = steps * size
    found = estimates(loss, theta, free, _BOUNDED)
    random, nonlinear = (each.of(lambda variance: 100.0 / top * math.sqrt(variance)) for each in found[3:])
    if is_exact:
        random = nonlinear = Estimate(0.0, 0.0, 0.0)
    alpha = found[2].of(lambda bend: bend / curve.full_scale) if model == "current" else None
    k, inl = found[2] if is_droop else None, math.sqrt(theta[3]) if is_exact else None
    return ModelFit(model, alpha, found[0], found[1], random, nonlinear, -least, k, inl)


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
    noise = float((sigma[sigma > 0] ** 2).mean()) if sigma.any() else 0.0
    return [*best[1], (best[0] + noise) / 2, (best[0] + noise) / 2]
