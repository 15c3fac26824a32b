"""What quantised layers share: fidelity, input range, checks of their input."""

import math
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from asim_lightning.engine import Noise, Product, byte_passes, current_scope, float32, int8
from asim_lightning.engine.recording import is_recorded
from asim_lightning.nn.kept_weight import KeptWeight
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

FIDELITIES = ("float", "quantized", "estimated", "simulated")
INPUT_RANGES = ("batch", "calibrated", "pact")
_MATERIALLY_NEGATIVE = 0.01


class QuantizedLayer(nn.Module):
    """Base of layers that multiply integers; subclasses add the product and its operands.

    While training, operands are fake-quantised and training noise is on; in evaluation `fidelity` decides.
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
        self._kept = KeptWeight()
        self._warned = False
        self._pact: list[nn.Module] = []  # a list, so that the clip is no submodule of this layer too
        self.signed_input = _boolean("signed_input", signed_input)
        self.per_channel = _boolean("per_channel", per_channel)
        self.name = name
        self.fidelity = "simulated"
        self.input_range = input_range

    @property
    def fidelity(self) -> str:
        """In evaluation: "float", "quantized" (integers, no macro), "estimated" (quantized, with the noise of training)
        or "simulated" (bit by bit)."""
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
        return scale_of(self._largest_input(x))

    def _largest_input(self, x: Tensor) -> Tensor:
        """The range of the input quantiser: stored, or that of the batch. # ()"""
        if not self.training:
            stored = self._stored_range()
            if stored is not None:
                return stored
            if self.input_range != "batch":
                self._warn_once()
        return largest_value(x, self.signed_input)

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

    def _answer(self, x: Tensor, w: Tensor, bias: Tensor | None = None) -> Tensor:
        """The layer's output: fake-quantised while training, else at its fidelity."""
        if self.training and x.numel():
            return self._trained(x, w, bias)
        if self.fidelity == "float" or x.numel() == 0:
            return self._float(x, w, bias)
        with torch.no_grad():
            y = self._in_three_passes(x, w, bias)
            return self._integer(x, w, bias) if y is None else y

    def _trained(self, x: Tensor, w: Tensor, bias: Tensor | None) -> Tensor:
        x_scale, w_scale = self._input_scale(x), self._weight_scale(w)
        x_rounded = fake_quantize(x, x_scale, self.input_bits, self.signed_input)
        w_rounded = fake_quantize(w, w_scale, self.weight_bits, True)
        return self._with_train_noise(self._float(x_rounded, w_rounded, bias), x, w, x_scale, w_scale)

    def _integer(self, x: Tensor, w: Tensor, bias: Tensor | None) -> Tensor:
        x_integers, x_scale = self._quantized_input(x)
        w_integers, w_scale = self._quantized_weight(w)
        y = self._outputs(self._multiply(*self._operands(x_integers, w_integers)))
        y = self._dequantized(y, self._per_output(x_scale * w_scale), x.dtype)
        y = self._estimated(y, x_integers, w_integers, x_scale * w_scale)
        return self._with_bias(y, bias, x.dtype)

    def _in_three_passes(self, x: Tensor, w: Tensor, bias: Tensor | None) -> Tensor | None:
        """The answer of an exact product of integers, and the errors it may have, quantised and scaled in a pass each;
        None where it takes another way.

        It is, to the bit, what `_integer` answers, but for the sign of zeros.
        """
        if x.device.type != "cpu" or w.device.type != "cpu" or is_recorded():
            return None
        if x.dtype == torch.float64 or not self._multiplies_exactly():
            return None
        w_integers, w_scale = self._quantized_weight(w)
        # quantising each number, padding and flattening may change places
        product, operand, w_integers = self._operands(x, w_integers)
        exact = int8.prepare(
            product, operand.shape, w_integers, self.input_bits, self.weight_bits, self.signed_input
        ) or float32.prepare(product, w_integers, self.input_bits, self.signed_input)
        if exact is None:
            return None
        largest = self._largest_input(x)

        def scales() -> tuple[float, Tensor]:
            x_scale = scale_of(largest)
            step = self._step(x_scale * w_scale).flatten().expand(w_integers.shape[0]).contiguous()
            return float(x_scale), step

        x_scale, step = self._kept.scales((float(largest), self.input_bits, self.signed_input), scales)
        quantizer = x_scale, self.input_bits, self.signed_input
        if isinstance(exact, int8.Int8Product):
            integers, finite, negative = byte_passes.to_bytes(operand, *quantizer, exact.image)
            sums = exact.sums(integers)
        else:
            integers, finite, negative = byte_passes.to_whole(operand, *quantizer, exact.inward)
            sums = exact.sums(integers, w_integers)
        if not finite or (negative and not self.signed_input):
            self._check_values(x)
        sums = self._with_errors(product, sums, integers, w_integers)
        turned = x.dim() < 4 or x.is_contiguous() or not x.is_contiguous(memory_format=torch.channels_last)
        y = byte_passes.to_floats(sums, step, bias, exact.image, turned)
        return self._outputs(y).to(x.dtype)

    def _multiplies_exactly(self) -> bool:
        """Whether `_multiply` is the integer product but for what `_with_errors` adds, and nothing stands between it
        and the output."""
        return False

    def _with_errors(self, product: Product, sums: Tensor, x: Tensor, w: Tensor) -> Tensor:
        """Exact sums with the errors of conversions, where there are any; x as the exact product took it."""
        return sums

    def _is_own(self, method: str, owner: type) -> bool:
        """Whether a method is that of a class of this package: no subclass's, and none put in from outside."""
        return getattr(getattr(self, method), "__func__", None) is getattr(owner, method)

    def _float(self, x: Tensor, w: Tensor, bias: Tensor | None) -> Tensor:
        """The product in floating point, with bias."""
        raise NotImplementedError

    def _operands(self, x: Tensor, w: Tensor) -> tuple[Product, Tensor, Tensor]:
        """The product of an engine, and its operands, from integers of input and weight."""
        raise NotImplementedError

    def _multiply(self, product: Product, x: Tensor, w: Tensor) -> Tensor:
        """The product of integers, in counts."""
        raise NotImplementedError

    def _outputs(self, sums: Tensor) -> Tensor:
        """An engine's sums in the shape of the layer's output."""
        return sums

    def _per_output(self, scale: Tensor) -> Tensor:
        """A scale of () or (outputs, 1, ...) in a shape that broadcasts against the output."""
        return scale if scale.dim() == 0 else scale.flatten()

    def _with_train_noise(self, y: Tensor, x: Tensor, w: Tensor, x_scale: Tensor, w_scale: Tensor) -> Tensor:
        """The output with the noise of training; digital layers have none."""
        return y

    def _estimated(self, y: Tensor, x: Tensor, w: Tensor, scale: Tensor) -> Tensor:
        """The output (without bias) with the noise of training, where the fidelity asks for it."""
        return y

    def _weight_scale(self, w: Tensor) -> Tensor:
        """Scale of the weight quantiser, float32. # () or (outputs, 1, ...)"""
        return weight_scale(w, self.per_channel)

    def _quantized_input(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Integers of the input in float32, and their scale."""
        if x.device.type == "cpu" and not is_recorded() and x.numel():
            largest = self._largest_input(x)
            scale = scale_of(largest)
            integers, finite, negative = byte_passes.to_whole(x, float(scale), self.input_bits, self.signed_input)
            if not finite or (negative and not self.signed_input):
                self._check_values(x)
            return integers, scale
        self._check_values(x)
        scale = self._input_scale(x)
        return quantize(x, scale, self.input_bits, self.signed_input), scale

    def _quantized_weight(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """Integers of the weight in float32, and their scale, () or (outputs, 1, ...); the same objects as before while
        the weight is unchanged."""
        if is_recorded():
            return self._quantized_anew(w)
        return self._kept.of(w, (self.weight_bits, self.per_channel), lambda: self._quantized_anew(w))

    def _quantized_anew(self, w: Tensor) -> tuple[Tensor, Tensor]:
        scale = self._weight_scale(w)
        if not is_recorded() and not bool(scale.isfinite().all()):
            raise ValueError(f"Layer `{self.name}` needs finite weights, got NaN or infinity among them")
        return quantize(w, scale, self.weight_bits, True), scale

    def _step(self, scale: Tensor) -> Tensor:
        """What one count is worth: ``scale / (L_x * L_w)``."""
        return scale / (levels(self.input_bits, self.signed_input) * levels(self.weight_bits, True))

    def _dequantized(self, sums: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
        """``sums * scale / (L_x * L_w)``, in float32 (float64 for a float64 input)."""
        real = torch.float64 if dtype == torch.float64 else torch.float32
        return sums.to(real) * self._step(scale).to(real)

    def _with_bias(self, y: Tensor, bias: Tensor | None, dtype: torch.dtype) -> Tensor:
        """The output with a bias, where there is one, as `dtype`."""
        return (y if bias is None else y + self._per_output(bias.to(y.dtype))).to(dtype)

    def _noise(self, leading: int, device: torch.device) -> Noise:
        return current_scope().source(self.name, leading, device)

    def _in_type_of(self, x: Tensor, *parameters: Tensor | None) -> list[Any]:
        """Parameters in the type of x, as a float product needs them, unless autocast sees to it."""
        if torch.is_autocast_enabled(x.device.type):
            return [*parameters]
        return [None if p is None else p.to(x.dtype) for p in parameters]

    def train(self, mode: bool = True) -> Any:
        """Switch between training and evaluation; the integers kept for evaluation are let go by the former."""
        if mode:
            self._kept.forget()
        return super().train(mode)

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        self._kept.forget()
        # .to(bfloat16) must move ranges but not round them
        kept = {name: getattr(self, name) for name in self._ranges}
        super()._apply(fn, recurse)
        for name, value in kept.items():
            device = getattr(self, name).device
            # a meta tensor has no value to keep
            setattr(self, name, torch.full_like(value, -1.0, device=device) if value.is_meta else value.to(device))
        return self

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        self._kept.forget()
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
