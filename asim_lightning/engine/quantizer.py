"""The quantiser of a layer's inputs: floats become integers, with one scale for the whole tensor."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from asim_lightning.engine import byte_passes
from asim_lightning.engine.torch_modes import is_recorded
from asim_lightning.quant import quantize


class ChecksValues(Protocol):
    """A layer that refuses some values."""

    def check_values(self, x: Tensor) -> None:
        """Raise a ValueError if x has values that the layer does not take."""


@dataclass(frozen=True, eq=False)
class Quantizer:
    """How a layer's inputs become integers (`quant.quantize`).

    Attributes:
        scale: Magnitude that becomes the largest integer, float32. # ()
        bits: Bits of an integer, sign included if there is one.
        layer: The layer, which refuses values that are not finite, and negative values without a sign; None if the
            values are checked already.
    """

    scale: Tensor
    bits: int
    signed: bool
    layer: ChecksValues | None

    def integers(self, x: Tensor, channels_last: bool = False) -> Tensor:
        """Integers in float32, in the shape of x; on a CPU, images may become channels_last."""
        if quantizes_in_torch(x):
            if self.layer is not None:
                self.layer.check_values(x)
            return quantize(x, self.scale, self.bits, self.signed)
        return self._in_one_pass(x, torch.float32, channels_last)

    def bytes(self, x: Tensor, channels_last: bool) -> Tensor:
        """Integers of at most 8 bits as uint8, signed ones plus 128; only on a CPU."""
        return self._in_one_pass(x, torch.uint8, channels_last)

    def _in_one_pass(self, x: Tensor, dtype: torch.dtype, channels_last: bool) -> Tensor:
        given = x, dtype, float(self.scale), self.bits, self.signed, channels_last
        integers, is_finite, has_negative = byte_passes.quantized(*given)
        if self.layer is not None and (not is_finite or (has_negative and not self.signed)):
            self.layer.check_values(x)
        return integers


def quantizes_in_torch(x: Tensor) -> bool:
    """Whether torch's operations quantise: on other devices than a CPU, while operations are recorded, and for empty
    tensors."""
    return x.device.type != "cpu" or is_recorded() or x.numel() == 0
