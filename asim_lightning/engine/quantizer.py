"""The quantiser that stands before a product: from floats to whole numbers, with one scale for the whole tensor."""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from asim_lightning.engine import byte_passes
from asim_lightning.engine.torch_modes import is_recorded
from asim_lightning.quant import quantize


class ChecksValues(Protocol):
    """What refuses a tensor for its values."""

    def check_values(self, x: Tensor) -> None:
        """Raise a ValueError, where there are values that are not taken."""


@dataclass(frozen=True, eq=False)
class Quantizer:
    """How inputs of a layer become whole numbers (`quant.quantize`).

    Attributes:
        scale: Magnitude that becomes the largest whole number, float32. # ()
        bits: Bits of a whole number, sign included where there is one.
        signed: Whether there is a sign.
        layer: Refuses values that are not finite, and negative ones where there is no sign.
    """

    scale: Tensor
    bits: int
    signed: bool
    layer: ChecksValues

    def whole(self, x: Tensor, channels_last: bool = False) -> Tensor:
        """Whole numbers in float32, in the shape of x; on a CPU images may be turned to channels_last on the way."""
        if _in_torch(x):
            self.layer.check_values(x)
            return quantize(x, self.scale, self.bits, self.signed)
        return self._checked(x, byte_passes.to_whole(x, float(self.scale), self.bits, self.signed, channels_last))

    def bytes(self, x: Tensor, channels_last: bool) -> Tensor:
        """Whole numbers of at most 8 bits in uint8, to signed ones of which 128 is added; on a CPU alone."""
        return self._checked(x, byte_passes.to_bytes(x, float(self.scale), self.bits, self.signed, channels_last))

    def _checked(self, x: Tensor, found: tuple[Tensor, bool, bool]) -> Tensor:
        integers, is_finite, has_negative = found
        if not is_finite or (has_negative and not self.signed):
            self.layer.check_values(x)
        return integers


def _in_torch(x: Tensor) -> bool:
    """Whether torch quantises: elsewhere than on a CPU, where operations are recorded, and where there is nothing."""
    return x.device.type != "cpu" or is_recorded() or x.numel() == 0
