"""The input range of a quantised layer: stored, a PACT's clip, or the maximum of each batch or of each row."""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from asim_lightning.checks import check_choice
from asim_lightning.quant import RangeObserver, largest_value

INPUT_RANGES = ("batch", "calibrated", "pact", "token")
_MATERIALLY_NEGATIVE = 0.01


class InputRange(NamedTuple):
    """The range of a call's inputs: scalar tensors, or numbers once they are read; None: not needed."""

    signed: bool  # whether the quantiser is
    low: Any
    high: Any
    stored: Any = None  # range of the quantiser, if it does not depend on the batch

    def read(self, others: Sequence[Tensor], at_once: bool) -> "tuple[InputRange, list[float]]":
        """The range in numbers, and the values of other tensors; `at_once` with one wait for the device."""
        asked = [x.float() for x in (*self[1:], *others) if x is not None]
        numbers = torch.stack(asked).tolist() if at_once else [float(x) for x in asked]
        own = [None if x is None else numbers.pop(0) for x in self[1:]]
        return InputRange(self.signed, *own), numbers

    @property
    def largest(self) -> float:
        """Largest magnitude that the quantiser covers."""
        if self.stored is not None:
            return float(self.stored)
        return float(max(-self.low, self.high) if self.signed else self.high)

    def check(self, name: str) -> None:
        """Refuse values that are not finite, and negative values of an unsigned layer."""
        low, high = float(self.low), float(self.high)
        if not (math.isfinite(low) and math.isfinite(high)):
            raise ValueError(f"Layer `{name}` needs finite inputs, got values of {low} to {high}")
        reach = max(abs(low), abs(high)) if self.stored is None else float(self.stored)
        if not self.signed and low < -_MATERIALLY_NEGATIVE * reach:
            raise ValueError(
                f"Layer `{name}` is unsigned, so its inputs must be 0 or more, got values down to {low:.4g}; set "
                "`signed_input` to true for it, in `plan.rules` or where the layer is made"
            )

    def check_recorded(self, name: str) -> None:
        """`check` in a compiled or exported graph, whose messages cannot show values."""
        allowed, words = self.low.isfinite() & self.high.isfinite(), "finite inputs"
        if not self.signed:
            reach = self.high.abs().maximum(self.low.abs()) if self.stored is None else self.stored
            allowed, words = allowed & (self.low >= -_MATERIALLY_NEGATIVE * reach), "finite inputs of 0 or more"
        torch._assert_async(allowed, f"Layer `{name}` needs {words}")


def row_range(x: Tensor, signed: bool) -> Tensor:
    """Range of each row: its largest value (signed: magnitude), and for a row of zeros the smallest normal number.

    The gradient reaches the largest value. # (..., k) to (..., 1), float32 (float64 for x in float64)
    """
    x = x if x.dtype == torch.float64 else x.float()
    return (x.abs() if signed else x).amax(-1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)


class PACT(nn.Module):
    """``clamp(x, 0, alpha)`` with a learned alpha (Choi et al., arXiv 1805.06085).

    Gradients: ``dx = g where 0 <= x <= alpha``; ``dalpha = sum of g where x > alpha``.

    Args:
        alpha: Initial clip value: above 0.

    Raises:
        ValueError: alpha is not above 0.

    Examples:
        >>> import torch
        >>> from asim_lightning.nn import PACT
        >>> PACT(alpha=2.0)(torch.tensor([-1.0, 1.0, 3.0])).tolist()
        [0.0, 1.0, 2.0]
    """

    def __init__(self, alpha: float = 6.0) -> None:
        super().__init__()
        if not (isinstance(alpha, (int, float)) and 0 < alpha < float("inf")):
            raise ValueError(f"`alpha` of PACT must be above 0, got {alpha!r}")
        self.alpha = nn.Parameter(torch.tensor(float(alpha)))

    def forward(self, x: Tensor) -> Tensor:
        """Clip; same shape and type as x."""
        # from torch 2.14 on, the gradient of clamp is 0 at its end; without a gradient, clamp is faster
        above = torch.where(x < 0, 0.0, x) if torch.is_grad_enabled() else x.clamp_min(0.0)
        return torch.where(x > self.alpha, self.alpha.to(x.dtype), above)


class RangedLayer(nn.Module):
    """A layer whose input quantiser covers a range."""

    name: str
    """Full name in the network; keys the layer's noise and appears in its messages."""
    signed_input: bool
    """Whether inputs are quantised as signed numbers."""
    input_range: str
    """One of batch (maximum of the whole batch), calibrated (stored), pact (clip before the layer) or token (maximum of
    each row)."""
    has_rows: ClassVar[bool] = True
    """Whether an input has rows, which an output's sum is over; an image has none."""
    rows_in_cells: bool = False
    """Whether rows of an activation that the macro holds are tokens, such as queries. With `input_range` token they
    have ranges of their own. The rows of values are channels: they have one calibrated range."""
    checks: ClassVar[Mapping[str, Callable[[Any], None]]] = {
        "input_range": partial(check_choice, "`input_range`", allowed=INPUT_RANGES)
    }
    """Checks of attributes that users may set, by name."""
    ranges: ClassVar[Mapping[str, str]] = {"input_max": "has_range"}
    """Buffers of the operands' ranges, each with the attribute that says whether it is set."""
    has_range: bool
    input_max: Tensor
    """Calibrated range: the largest input magnitude that the quantiser covers; -1 if there is none. # ()"""
    has_weight_range: bool
    weight_max: Tensor
    """Calibrated range of a weight that is an activation; -1 if there is none. # ()"""
    warned: bool = False
    """Whether the layer has warned that it has no range."""
    _bits: tuple[int, int]
    """Bits of a weight, and of an input, signs included."""
    _pact: list[PACT]
    """The clip before the layer, if there is one; in a list, so that it is no submodule of this layer."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.checks:
            self.checks[name](value)
        if name == "input_range" and value == "token" and not self.has_rows:
            raise ValueError("`input_range` of a convolution must be batch, calibrated or pact, got 'token'")
        super().__setattr__(name, value)

    @property
    def weight_bits(self) -> int:
        """Bits of a weight, sign included."""
        return self._bits[0]

    @property
    def input_bits(self) -> int:
        """Bits of an input, including the sign of a signed input."""
        return self._bits[1]

    @property
    def calibrated(self) -> list[str]:
        """The operands with a calibrated range, by their name in `ranges`."""
        if self.input_range == "token":
            return [name for name in self.ranges if name == "weight_max" and not self.rows_in_cells]
        return [*self.ranges] if self.input_range == "calibrated" else []

    @property
    def lacks_range(self) -> bool:
        """Whether an operand with a calibrated range has no range yet."""
        return not all(getattr(self, self.ranges[name]) for name in self.calibrated[:1])

    def follow_pact(self, pact: PACT) -> None:
        """Take the input range from the clip value of a PACT activation."""
        self._pact = [pact]
        self.input_range = "pact"

    def calibrate(self, *operands: Tensor, method: str = "max") -> None:
        """Fit the range of each operand to one batch, store it, and use it from now on.

        The method is "max", "percentile" or "mse" (see `RangeObserver`).
        """
        observers = self.observers(method)
        for (name, observer), x in zip(observers.items(), operands, strict=True):
            stored = self.stored_range() if name == "input_max" else None
            InputRange(observer.signed, *torch.aminmax(x.detach()), stored).check(self.name)
            observer.update(x)
        for name, observer in observers.items():
            self.store_range(observer.fit(), name)

    def observers(self, method: str) -> dict[str, RangeObserver]:
        """Observers that fit the range of each operand, by its name in `ranges`, in the order of a call."""
        bits = {"input_max": (self.input_bits, self.signed_input), "weight_max": (self.weight_bits, True)}
        return {name: RangeObserver(method, *bits[name]) for name in self.ranges}

    def store_range(self, largest: float, name: str = "input_max") -> None:
        """Store a range of an operand, which must be finite and not negative, and use the input's from now on."""
        getattr(self, name).fill_(self._checked_range(largest))
        setattr(self, self.ranges[name], True)
        if name == "input_max":
            self.input_range = "calibrated"

    def _checked_range(self, largest: float) -> float:
        if not (math.isfinite(largest) and largest >= 0):
            raise ValueError(f"Layer `{self.name}` needs a range of 0 or more, got {largest!r}")
        return largest

    def clear_range(self, device: Any = None) -> None:
        """Forget the calibrated ranges of all operands."""
        for name, has in self.ranges.items():
            self.register_buffer(name, torch.full((), -1.0, dtype=torch.float32, device=device))
            setattr(self, has, False)

    def _largest_input(self, x: Tensor) -> Tensor:
        """The range of the input quantiser: stored, or the batch's. # ()"""
        stored = self._range_in_use()
        return largest_value(x, self.signed_input) if stored is None else stored

    def _largest_weight(self, w: Tensor) -> Tensor:
        """The range of an activation that the macro holds: stored, or the batch's. # ()"""
        if self.input_range == "token" and self.rows_in_cells:
            return self._one()
        if not self.training and self.input_range in ("calibrated", "token"):
            if self.has_weight_range:
                return self.weight_max
            if self.input_range == "token":  # a calibrated input says it for both
                self._warn("calibrated input range")
        return largest_value(w, True)

    def _range_in_use(self) -> Tensor | None:
        """The stored range that this call uses; None: it uses the maximum of the batch. # ()"""
        if self.input_range == "token":
            return self._one()
        stored = None if self.training else self.stored_range()
        if stored is not None or self.training or self.input_range == "batch":
            return stored
        self._warn("calibrated input range" if self.input_range == "calibrated" else "PACT before them")
        return None

    def _warn(self, lacking: str) -> None:
        if not self.warned and not torch.compiler.is_compiling():
            self.warned = True
            warnings.warn(  # the same text for all layers, so that Python shows it once
                f"Layers without a {lacking} use the maximum of each batch; "
                "call calibrate_ with inputs that reach them",
                stacklevel=2,
            )

    def stored_range(self) -> Tensor | None:
        """The range that does not depend on the batch, if there is one. # ()"""
        if self.input_range == "pact" and self._pact:
            return self._pact[0].alpha.detach()
        return self.input_max if self.input_range == "calibrated" and self.has_range else None

    def _one(self) -> Tensor:
        """The range of rows that were divided by their own range. # ()"""
        return torch.ones((), device=self.input_max.device)
