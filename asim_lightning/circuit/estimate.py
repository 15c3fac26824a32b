"""A parameter with its 95 % interval: by maximum likelihood, and over converters."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import chdtri, stdtrit
from torch import Tensor

from asim_lightning.circuit.code_fit import HALF_CHI2, Array


@dataclass(frozen=True)
class Estimate:
    """A parameter with its 95 % interval."""

    value: float
    low: float
    high: float

    def of(self, function: Callable[[float], float]) -> "Estimate":
        """The estimate of a rising function of the parameter, which is 0 or more."""
        return Estimate(*(function(max(0.0, end)) for end in (self.value, self.low, self.high)))


def mean_of(parts: Sequence[Estimate]) -> Estimate:
    """Mean of estimates, with the interval of this mean over converters."""
    values = np.array([each.value for each in parts])
    reach = float(stdtrit(len(values) - 1, 0.975) * values.std(ddof=1)) / math.sqrt(len(values))
    mean = float(values.mean())
    return Estimate(mean, mean - reach, mean + reach)


def spread_of(parts: Sequence[Estimate], scale: float) -> Estimate:
    """Standard deviation of normal values behind estimates, without the error of the estimates."""
    values, others = np.array([each.value for each in parts]), len(parts) - 1
    errors = float(np.mean([(each.high - each.low) ** 2 for each in parts])) / (8.0 * HALF_CHI2)
    variances = float(values.var(ddof=1)) * np.array([1.0, *(others / chdtri(others, p) for p in (0.025, 0.975))])
    return Estimate(*(scale * math.sqrt(max(0.0, each - errors)) for each in variances.tolist()))


def least_of(
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


def estimates(
    loss: Callable[[Tensor], Tensor], theta: Array, free: NDArray[np.bool_], bounded: NDArray[np.bool_]
) -> list[Estimate]:
    """Parameters with intervals by observed information; at a bound, by how the likelihood falls from there."""
    at = torch.from_numpy(theta)
    slope, information = torch.func.grad(loss)(at).numpy(), torch.func.hessian(loss)(at).numpy()
    inside = free & ~(bounded & (theta <= 0))
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
