"""Expected count of a weight digit and an input digit over some rows, given the two sums of digits."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

_NODES = 65
_QUANTILES = 65
SAMPLE_NODES, _SAMPLE_NODES_BY_DRIVEN = 12, 48
"""Sums of an input digit at which `count_sample` draws digits: more, if errors rise with the driven rows, too."""


@dataclass(frozen=True)
class Overlap:
    """A weight digit and an input digit on the rows of a tile.

    Attributes:
        input_top: Largest value of the input digit.
        weight_top: Largest magnitude of the weight digit.
    """

    rows: int
    input_top: int
    weight_top: int
    input_signed: bool
    weight_signed: bool
    node: int | None = None
    """The only sum of the input digit at which averages are computed; None: see `input_nodes`."""

    def input_nodes(self) -> Tensor:
        """Sums of the input digit at which averages are computed, float64. # (nodes,)"""
        if self.node is not None:
            return torch.tensor([float(self.node)], dtype=torch.float64)
        return _nodes(self.rows * self.input_top, self.input_signed)

    def weight_nodes(self) -> Tensor:
        """Sums of the weight digit at which averages are computed, float64. # (nodes,)"""
        return _nodes(self.rows * self.weight_top, self.weight_signed)

    def driven(self, sums: Tensor) -> Tensor:
        """Expected number of driven rows, whose digit is not 0, for sums of the input digit, rounded.

        If the digit is a bit, this is the sum. Otherwise the shares of its values are taken to fall geometrically, as
        in `count_sample`. The sum of a signed digit does not tell this number, so that all rows count as driven.
        """
        if self.input_signed:
            return torch.full_like(sums, float(self.rows))
        return (self.rows * shares_of_values(sums / self.rows, self.input_top)[0]).round()

    def average_by_input(self, counts: Tensor, values: Tensor, jagged: bool = False) -> Tensor:
        """`average` of functions that differ from input node to input node.

        # (functions, input nodes, counts) to (functions, input nodes, weight nodes)
        """
        nodes = zip(self.input_nodes().tolist(), values.unbind(1), strict=True)
        return torch.cat([replace(self, node=int(node)).average(counts, each, jagged) for node, each in nodes], 1)

    def average(self, counts: Tensor, values: Tensor, jagged: bool = False) -> Tensor:
        """Average of functions of the count over random placements of both digits on the rows.

        If both digits are bits, the count is hypergeometric: ``P(n) = C(v, n) C(R - v, u - n) / C(R, u)`` for u and v
        ones on R rows. Else it is taken as normal, clipped to its range, with mean ``u v / R`` and the variance of a
        random placement, for digits evenly distributed over their values.

        Args:
            counts: Counts, ascending. # (counts,)
            values: Values of each function at the counts, float64. # (functions, counts)
            jagged: Whether functions jump from count to count; wide digits then average over the counts between points.

        Returns:
            float64. # (functions, input nodes, weight nodes)
        """
        u, v = self.input_nodes()[:, None], self.weight_nodes()[None, :]
        if self.input_top == self.weight_top == 1 and not (self.input_signed or self.weight_signed):
            n = torch.arange(self.rows + 1, dtype=torch.float64)
            chance = _hypergeometric(self.rows, u, v, n)  # (input nodes, weight nodes, rows + 1)
            at_counts = torch.stack([_interpolated(n, counts, line) for line in values])
            return torch.einsum("uvn,fn->fuv", chance, at_counts)
        mean = u * v / self.rows
        spread = self._variance(u, v).clamp_min(0.0).sqrt()
        if jagged:
            return self._over_shares(mean, spread, counts, values)
        places = (torch.arange(_QUANTILES, dtype=torch.float64) + 0.5) / _QUANTILES
        normal = math.sqrt(2.0) * torch.erfinv(2.0 * places - 1.0)
        points = mean[..., None] + spread[..., None] * normal  # (input nodes, weight nodes, quantiles)
        points = points.clamp(float(counts[0]), float(counts[-1]))
        return torch.stack([_interpolated(points, counts, line).mean(-1) for line in values])

    def _over_shares(self, mean: Tensor, spread: Tensor, counts: Tensor, values: Tensor) -> Tensor:
        """Averages over counts that are normal: means of the functions over shares of equal probability."""
        edges = torch.linspace(0.0, 1.0, _QUANTILES + 1, dtype=torch.float64).clamp(
            0.2 / _QUANTILES, 1 - 0.2 / _QUANTILES
        )
        points = mean[..., None] + spread[..., None] * math.sqrt(2.0) * torch.erfinv(2.0 * edges - 1.0)
        # a count stands for all numbers that are nearest to it
        between = torch.cat([counts[:1] - 0.5, (counts[1:] + counts[:-1]) / 2.0, counts[-1:] + 0.5])
        widths = between.diff()
        points = points.clamp(float(counts[0]) - 0.5, float(counts[-1]) + 0.5)
        low, high = points[..., :-1], points[..., 1:]
        middle, half = (low + high) / 2.0, ((high - low) / 2.0).clamp_min(1e-3)
        low, high = (middle - half).clamp_min(between[0]), (middle + half).clamp_max(between[-1])
        averages = []
        for line in values:
            total = torch.cat([line.new_zeros(1), (line * widths).cumsum(0)])
            averages.append((_interpolated(high, between, total) - _interpolated(low, between, total)) / (high - low))
        return torch.stack([each.mean(-1) for each in averages])

    def _variance(self, u: Tensor, v: Tensor) -> Tensor:
        """Variance of ``sum of digit times digit`` over random placements, from sums and expected squares."""
        squares_u = _squares(u, self.rows, self.input_top)
        squares_v = _squares(v, self.rows, self.weight_top)
        within_u = squares_u - u.square() / self.rows
        within_v = squares_v - v.square() / self.rows
        return within_u * within_v / max(self.rows - 1, 1)


def shares_of_values(mean: Tensor, top: int) -> Tensor:
    """Shares of digits of at least 1, 2, .. top, if the shares of the values 0..top fall geometrically to a mean."""
    values = torch.arange(top + 1, dtype=torch.float64, device="cpu")
    low, high = torch.full_like(mean, -60.0), torch.full_like(mean, 60.0)
    for _ in range(60):  # bisection of the logarithm of the ratio of two shares
        middle = (low + high) / 2.0
        shares = (middle[:, None] * values).softmax(1)
        too_large = shares @ values > mean
        low, high = torch.where(too_large, low, middle), torch.where(too_large, middle, high)
    return shares.flip(1).cumsum(1).flip(1)[:, 1:].T


def sample_sums(rows: int, top: int, by_driven: bool) -> Tensor:
    """Sums of an input digit up to `top` at which `count_sample` draws digits, ascending, float64. # (nodes,)"""
    number = _SAMPLE_NODES_BY_DRIVEN if by_driven else SAMPLE_NODES
    shares = torch.linspace(0.0, 1.0, number, dtype=torch.float64, device="cpu")
    return (shares.square() * rows * top).round().unique()


def nearest(numbers: Tensor, values: Tensor) -> Tensor:
    """Places of the numbers, which ascend, that are nearest to values, int64."""
    return torch.searchsorted(((numbers[1:] + numbers[:-1]) / 2).to(values.device), values.to(numbers.dtype))


def _squares(total: Tensor, rows: int, top: int) -> Tensor:
    """Expected sum of squares of values 0..top with the sum `total`, if they are evenly distributed on a share of the
    rows that the total decides; at least the sum for equal values."""
    evenly = total.abs() * (2 * top + 1) / 3.0
    return torch.maximum(evenly, total.square() / rows)


def _nodes(top: int, signed: bool) -> Tensor:
    """Integers from 0 or (signed) -top to top, denser around 0."""
    up = (torch.linspace(0.0, 1.0, _NODES, dtype=torch.float64).square() * top).round()
    return (torch.cat([-up, up]) if signed else up).unique()


def _hypergeometric(rows: int, u: Tensor, v: Tensor, n: Tensor) -> Tensor:
    """Probability of n common ones, with u and v ones at random on the rows. # (u, v, n)"""
    u, v = u[..., None], v[..., None]
    possible = (n <= torch.minimum(u, v)) & (n >= u + v - rows)
    whole = torch.full_like(u, float(rows))
    logarithm = _log_choose(v, n) + _log_choose(whole - v, u - n) - _log_choose(whole, u)
    return torch.where(possible, logarithm.exp(), torch.zeros_like(logarithm))


def _log_choose(n: Tensor, k: Tensor) -> Tensor:
    k, rest = k.clamp_min(0.0), (n - k).clamp_min(0.0)
    return torch.lgamma(n + 1.0) - torch.lgamma(k + 1.0) - torch.lgamma(rest + 1.0)


def _interpolated(points: Tensor, counts: Tensor, values: Tensor) -> Tensor:
    """Values at points between counts, which need not be evenly spaced."""
    right = torch.searchsorted(counts, points.contiguous()).clamp(1, len(counts) - 1) if len(counts) > 1 else None
    if right is None:
        return values[0].expand_as(points)
    x0, x1 = counts[right - 1], counts[right]
    share = ((points - x0) / (x1 - x0)).clamp(0.0, 1.0)
    return values[right - 1] + (values[right] - values[right - 1]) * share
