"""What quantised layers share: fidelity, input range, checks of their input."""

import math
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from asim_lightning.engine import Noise, current_scope
from asim_lightning.quant import (
    METHODS,
    RangeObserver,
    fake_quantize,
    largest_value,
    levels,
    quantize,
    scale_of,
    weight_scale,
)

FIDELITIES = ("float", "quantized", "simulated")
INPUT_RANGES = ("batch", "calibrated", "pact")
_MATERIALLY_NEGATIVE = 0.01


class QuantizedLayer(nn.Module):
    """Base of layers that multiply integers; subclasses add the product and its operands.

    While training, operands are fake-quantised and `train_noise` is on; in evaluation `fidelity` decides.
    """

    _ranges: tuple[str, ...] = ("input_max",)
    name: str
    """Full name in the network; keys the layer's noise and stands in its messages."""
    signed_input: bool
    """Whether inputs are quantised as signed numbers."""
    per_channel: bool
    """Whether each output channel's weights have a scale of their own."""
    input_max: Tensor
    """Calibrated range: the largest input magnitude that the quantiser covers; -1 where there is none. # ()"""

    def _setup(self, signed_input: bool, input_range: str, per_channel: bool, name: str, device: Any) -> None:
        self.clear_range(device)
        self._warned = False
        self._pact: list[nn.Module] = []  # a list, so that the clip is no submodule of this layer too
        self.signed_input = _boolean("signed_input", signed_input)
        self.per_channel = _boolean("per_channel", per_channel)
        self.name = name
        self.train_noise = 0.0
        self._steps = 0
        self.fidelity = "simulated"
        self.input_range = input_range

    @property
    def fidelity(self) -> str:
        """ "float", "quantized" (integers, no macro) or "simulated" (bit by bit), in evaluation."""
        return self._fidelity

    @fidelity.setter
    def fidelity(self, value: str) -> None:
        self._fidelity = one_of("fidelity", value, FIDELITIES)

    @property
    def input_range(self) -> str:
        """ "batch" (maximum of the whole batch), "calibrated" (stored) or "pact" (the clip before the layer)."""
        return self._input_range

    @input_range.setter
    def input_range(self, value: str) -> None:
        self._input_range = one_of("input_range", value, INPUT_RANGES)

    @property
    def train_noise(self) -> float:
        """Noise while training, in percent of each output: 0 or more."""
        return self._train_noise

    @train_noise.setter
    def train_noise(self, percent: float) -> None:
        number = isinstance(percent, (int, float)) and not isinstance(percent, bool)
        if not (number and 0.0 <= percent < math.inf):
            raise ValueError(f"`train_noise` must be 0 or more percent, got {percent!r}")
        self._train_noise = float(percent)

    @property
    def weight_bits(self) -> int:
        """Bits of a weight, sign included."""
        raise NotImplementedError

    @property
    def input_bits(self) -> int:
        """Bits of an input, sign included where it is signed."""
        raise NotImplementedError

    def follow_pact(self, pact: nn.Module) -> None:
        """Take the input range from the clip value of a PACT activation."""
        self._pact = [pact]
        self.input_range = "pact"

    def calibrate(self, x: Tensor, method: str = "max") -> None:
        """Fit the input range to one batch, store it, and use it from now on.

        Args:
            x: Inputs of the layer.
            method: "max", "percentile" or "mse" (see `RangeObserver`).

        Raises:
            ValueError: The method is unknown, or x is not finite.
        """
        self._check_values(x)
        observer = RangeObserver(method, self.input_bits, self.signed_input)
        observer.update(x)
        self.store_range(observer.fit())

    def store_range(self, largest: float) -> None:
        """Store an input range and use it from now on.

        Raises:
            ValueError: The range is negative or not finite.
        """
        self.input_max.fill_(self._checked_range(largest))
        self.has_range = True
        self.input_range = "calibrated"

    def _checked_range(self, largest: float) -> float:
        if not (math.isfinite(largest) and largest >= 0):
            raise ValueError(f"Layer `{self.name}` needs a range of 0 or more, got {largest!r}")
        return largest

    def clear_range(self, device: Any = None) -> None:
        """Forget the calibrated input range."""
        self.register_buffer("input_max", torch.full((), -1.0, dtype=torch.float32, device=device))
        self.has_range = False

    def extra_repr(self) -> str:
        """Geometry and quantiser settings."""
        kind = "signed" if self.signed_input else "unsigned"
        return f"{super().extra_repr()}, {kind} input, range={self.input_range}, fidelity={self.fidelity}"

    def _input_scale(self, x: Tensor) -> Tensor:
        """Scale of the input quantiser, float32. # ()"""
        if not self.training:
            stored = self._stored_range()
            if stored is not None:
                return scale_of(stored)
            if self.input_range != "batch":
                self._warn_once()
        return scale_of(largest_value(x, self.signed_input))

    def _stored_range(self) -> Tensor | None:
        """The range that does not depend on the batch, where there is one. # ()"""
        if self.input_range == "pact" and self._pact:
            return self._pact[0].alpha.detach()  # type: ignore[union-attr,operator,no-any-return]
        return self.input_max if self.input_range == "calibrated" and self.has_range else None

    def _warn_once(self) -> None:
        if not self._warned and not torch.compiler.is_compiling():
            self._warned = True
            lacking = "calibrated input range" if self.input_range == "calibrated" else "PACT before it"
            warnings.warn(
                f"Layer `{self.name}` has no {lacking} and uses the maximum of each batch; "
                "call calibrate_ or its calibrate first",
                stacklevel=2,
            )

    def _check_values(self, x: Tensor) -> None:
        if torch.compiler.is_compiling() or x.numel() == 0:
            return
        low, high = (float(v) for v in torch.aminmax(x.detach()))
        if not (math.isfinite(low) and math.isfinite(high)):
            raise ValueError(f"Layer `{self.name}` needs finite inputs, got values of {low} to {high}")
        if self.signed_input or low >= 0:
            return
        stored = self._stored_range()
        reach = max(abs(high), abs(low)) if stored is None else float(stored)
        if low < -_MATERIALLY_NEGATIVE * reach:
            raise ValueError(
                f"Layer `{self.name}` was declared unsigned, so its inputs must be 0 or more, got values down to "
                f"{low:.4g}; use signed_input=True"
            )

    def _quantized_input(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Integers of the input in float32, and their scale."""
        scale = self._input_scale(x)
        return quantize(x, scale, self.input_bits, self.signed_input), scale

    def _quantized_weight(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Integers of the weight in float32, and their scale, () or (outputs, 1, ...)."""
        scale = weight_scale(weight, self.per_channel)
        if not torch.compiler.is_compiling() and not bool(scale.isfinite().all()):
            raise ValueError(f"Layer `{self.name}` needs finite weights, got NaN or infinity among them")
        return quantize(weight, scale, self.weight_bits, True), scale

    def _fake_quantized(self, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Input and weight rounded to their grids, with straight-through gradients."""
        x = fake_quantize(x, self._input_scale(x), self.input_bits, self.signed_input)
        return x, fake_quantize(weight, weight_scale(weight, self.per_channel), self.weight_bits, True)

    def _dequantized(self, sums: Tensor, scale: Tensor, bias: Tensor | None, dtype: torch.dtype) -> Tensor:
        """``sums * scale / (L_x * L_w) + bias``, in float32 (float64 for a float64 input), as `dtype`."""
        real = torch.float64 if dtype == torch.float64 else torch.float32
        step = scale / (levels(self.input_bits, self.signed_input) * levels(self.weight_bits, True))
        y = sums.to(real) * step.to(real)
        return (y if bias is None else y + bias.to(real)).to(dtype)

    def _noise(self, leading: int, device: torch.device) -> Noise:
        return current_scope().source(self.name, leading, device)

    def _in_type_of(self, x: Tensor, *parameters: Tensor | None) -> list[Any]:
        """Parameters in the type of x, as a float product needs them, unless autocast sees to it."""
        if torch.is_autocast_enabled(x.device.type):
            return [*parameters]
        return [None if p is None else p.to(x.dtype) for p in parameters]

    def _with_train_noise(self, y: Tensor) -> Tensor:
        """``y * (1 + train_noise / 100 * z)`` (published noise-aware training), z standard normal."""
        if self.train_noise == 0.0:
            return y
        # outside of a context a step is a call, or every step would draw the same noise
        scope, self._steps = current_scope(self._steps & 0xFFFF), self._steps + 1
        noise = scope.source(self.name + "/train", y.shape[0], y.device)
        normal = noise.conversions(y.shape[1:].numel(), range(1), 0, 0)[0].view(y.shape)
        return y * (1.0 + normal.to(y.dtype) * (self.train_noise / 100.0))

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        # .to(bfloat16) must move ranges but not round them
        kept = {name: getattr(self, name) for name in self._ranges}
        super()._apply(fn, recurse)
        for name, value in kept.items():
            device = getattr(self, name).device
            # a meta tensor has no value to keep
            setattr(self, name, torch.full_like(value, -1.0, device=device) if value.is_meta else value.to(device))
        return self

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        # a float network's weights have no ranges, and are complete without
        if prefix + "input_max" not in state_dict:
            state_dict[prefix + "input_max"] = self.input_max.detach()
        else:
            self.has_range = bool(state_dict[prefix + "input_max"] >= 0)
        super()._load_from_state_dict(state_dict, prefix, *args)


def one_of(name: str, value: Any, allowed: tuple[str, ...]) -> str:
    """The value, where it is allowed.

    Raises:
        ValueError: It is not.
    """
    if value not in allowed:
        raise ValueError(f"`{name}` must be one of {', '.join(allowed)}, got {value!r}")
    return str(value)


def _boolean(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"`{name}` must be true or false, got {value!r}")
    return value


__all__ = ["FIDELITIES", "INPUT_RANGES", "METHODS", "QuantizedLayer", "one_of"]
