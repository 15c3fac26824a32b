"""Calibrated ranges: the largest value that a quantiser covers, fitted to observed values."""

import math

import torch
from torch import Tensor

from asim_lightning.checks import check_choice
from asim_lightning.quant.quantizers import levels, quantize, scale_of

METHODS = ("max", "percentile", "mse")
PERCENTILE = 99.99
_SAMPLES = 2**17
_CANDIDATES = 80


class RangeObserver:
    """Collects values over several batches and fits one range.

    max: the largest magnitude. percentile: the 99.99th percentile of magnitudes. mse: the clip with the least mean
    squared quantisation error, among multiples of 1/80 of the maximum from 5 % on. The last two use at most 131072
    values of a batch, drawn at random with a fixed seed.

    Args:
        method: "max", "percentile" or "mse".
        bits: Bits of the quantiser.
        signed: Whether it is signed.

    Raises:
        ValueError: The method is unknown.
    """

    def __init__(self, method: str, bits: int, signed: bool) -> None:
        check_choice("A range's calibration", method, METHODS)
        self.method, self.bits, self.signed = method, bits, signed
        self.largest = 0.0
        self.samples: list[Tensor] = []

    def update(self, x: Tensor) -> None:
        """Take one batch into account; its values must be finite."""
        values = x.detach().float().flatten()
        values = values.abs() if self.signed else values.clamp_min(0.0)
        largest = float(values.max())
        if not math.isfinite(largest):
            raise ValueError(f"A calibrated range needs finite values, got {largest} among them")
        self.largest = max(self.largest, largest)
        if self.method != "max":
            self.samples.append(_sample(values).cpu())

    def fit(self) -> float:
        """The fitted range; 0 if only zeros (unsigned: nothing positive) were seen."""
        if self.method == "max" or self.largest == 0.0:
            return self.largest
        values = torch.cat(self.samples)
        if self.method == "percentile":
            rank = min(len(values) - 1, round(PERCENTILE / 100.0 * (len(values) - 1)))
            fitted = float(values.kthvalue(rank + 1).values)
            return fitted if fitted > 0.0 else self.largest
        clips = [self.largest * k / _CANDIDATES for k in range(4, _CANDIDATES + 1)]
        errors = {clip: self._error(values, clip) for clip in clips}
        return min(errors, key=lambda clip: errors[clip])

    def _error(self, values: Tensor, clip: float) -> float:
        scale = scale_of(torch.tensor(clip, dtype=torch.float32))
        back = quantize(values, scale, self.bits, self.signed) / levels(self.bits, self.signed) * scale
        return float((back - values).square().mean())


def _sample(values: Tensor) -> Tensor:
    # a regular stride would often be a multiple of the image width, and see one column of pixels
    if len(values) <= _SAMPLES:
        return values
    places = torch.randint(len(values), (_SAMPLES,), generator=torch.Generator().manual_seed(0))
    return values[places.to(values.device)]
