"""The base of quantised layers: fidelity, operands, checks of the input."""

import warnings
from collections.abc import Iterable
from functools import partial
from inspect import Parameter, Signature, signature
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from asim_lightning.checks import check_choice, check_flag
from asim_lightning.engine import Product, Program, Quantizer, Weights
from asim_lightning.engine.exact import ExactProgram
from asim_lightning.engine.quantizer import quantizes_in_torch
from asim_lightning.engine.torch_modes import is_exported_to_onnx, is_recorded
from asim_lightning.nn.assignment import Assignment
from asim_lightning.nn.input_range import InputRange, RangedLayer, row_range
from asim_lightning.nn.layer_forms import check_plain, timms_form, torchs_class
from asim_lightning.nn.prepared import LayerOperands, PreparedWeight, QuantizedWeight
from asim_lightning.quant import fake_quantize, levels, quantize, scale_of, weight_scale

FIDELITIES = ("float", "quantized", "estimated", "simulated")


class QuantizedLayer(RangedLayer):
    """Base of layers that multiply integers.

    While training, operands are fake-quantised and training noise is on; in evaluation `fidelity` decides.

    A subclass for a kind of layer inherits torch's class, if there is one, and defines `_called_with`, `_float` and
    `_product`. It defines `_held_weight` and `rearranged` if a macro holds its weight in another shape, and `ranges` if
    its weight is an activation. A subclass for a way to multiply defines `_setup`, `check_assignment`, `_computed` and
    `_with_train_noise`.

    Examples:
        >>> from asim_lightning import MacroConfig
        >>> from asim_lightning.nn import CimLinear, QuantizedLayer
        >>> isinstance(CimLinear(4, 2, macro=MacroConfig()), QuantizedLayer)
        True
    """

    _torchs: type[nn.Module]
    """torch's class of the layer; nn.Module if torch has no such layer."""
    _keeps_weight: bool
    """Whether integers of the weight are stored between calls; an activation is quantised at each call."""
    _assignment: Assignment | None = None
    per_channel: bool
    """Whether each output channel's weights have their own scale."""
    has_gradient: bool = False
    """Whether outputs in evaluation have a gradient: straight through the rounding, and 0 beyond the range."""

    fidelity: str = "simulated"
    """In evaluation: "float", "quantized" (integers, no macro), "estimated" (quantized, with the noise of training) or
    "simulated" (bit by bit)."""
    checks: ClassVar = {**RangedLayer.checks, "fidelity": partial(check_choice, "`fidelity`", allowed=FIDELITIES)}

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls._torchs = torchs_class(cls)
        cls._keeps_weight = "weight_max" not in cls.ranges
        if cls._torchs is not nn.Module and cls.__init__ is QuantizedLayer.__init__:
            theirs, ours = (signature(each).parameters.values() for each in (cls._torchs, cls._setup))
            own = [each.replace(kind=Parameter.KEYWORD_ONLY) for each in ours if each.name not in ("self", "device")]
            cls.__signature__ = Signature([*theirs, *own])  # type: ignore[attr-defined]

    def __init__(self, *args: Any, **given: Any) -> None:
        signature(type(self)).bind(*args, **given)  # its error names no private method
        theirs = {name: given.pop(name) for name in signature(self._torchs).parameters if name in given}
        super().__init__(*args, **theirs)
        self._setup(**given, device=theirs.get("device"))

    @classmethod
    def from_float(cls, layer: Any, *args: Any, **settings: Any) -> Any:
        """A layer that shares the parameters of a float layer of a known class.

        The other arguments are the constructor's, a macro or bits first.
        """
        check_plain(layer, cls)
        new: Any = cls.__new__(cls)
        nn.Module.__init__(new)
        vars(new).update({name: value for name, value in vars(layer).items() if name not in vars(new)})
        vars(new).update(timms_form(layer))
        for name, parameter in {"weight": layer.weight, **layer._parameters}.items():
            new.register_parameter(name, parameter)
        new.training = layer.training
        new._setup(*args, **settings, device=layer.weight.device)
        return new

    def _setup(self, signed_input: bool, input_range: str, per_channel: bool, name: str, device: Any) -> None:
        check_flag("`signed_input`", signed_input)
        check_flag("`per_channel`", per_channel)
        self.clear_range(device)
        self._prepared = PreparedWeight()
        self._pact = []
        self.signed_input = signed_input
        self.per_channel = per_channel
        self.name = name
        self.input_range = input_range
        self._held: tuple[torch.Size, torch.Size] | None = None

    @property
    def assignment(self) -> Any:
        """The `Assignment` of the macro, or of the macro whose bits a digital layer follows; None: it follows none.

        Assigning another one changes the macro or the bits.
        """
        return self._assignment

    @assignment.setter
    def assignment(self, assignment: Assignment) -> None:
        self._bits = self.check_assignment(assignment)
        self._assignment = assignment

    def check_assignment(self, assignment: Assignment) -> tuple[int, int]:
        """Bits of a weight and of an input; an assignment that does not fit the layer's input is refused."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        """Geometry and quantiser settings."""
        kind = "signed" if self.signed_input else "unsigned"
        return f"{super().extra_repr()}, {kind} input, range={self.input_range}, fidelity={self.fidelity}"

    def check_values(self, x: Tensor) -> None:
        """Refuse values that are not finite, negative values of an unsigned layer, and an export to ONNX."""
        if is_exported_to_onnx():
            raise ValueError(
                f"Layer `{self.name}` is quantised, and ONNX has no operators for its integers; use torch.export or "
                'torch.jit.trace, or export the float network: set_fidelity_(model, "float") first'
            )
        if x.numel() == 0:
            return
        values = InputRange(self.signed_input, *torch.aminmax(x.detach()), self.stored_range())
        if not torch.compiler.is_compiling():
            values.check(self.name)
        elif x.device.type in ("cpu", "cuda"):  # torch asserts on no other device
            values.check_recorded(self.name)

    def _answer(self, x: Tensor, w: Tensor, bias: Tensor | None = None) -> Tensor:
        """The layer's output: fake-quantised while training, else at its fidelity."""
        if self.fidelity == "float" and not self.training:
            return self._float(x, self._held_weight(w), bias)
        unit_x, unit_w, ranges = self._with_one_range(x, w)
        if ranges is None:
            return self._answer_of_one_range(x, w, bias)
        return of_rows(self._answer_of_one_range(unit_x, unit_w), ranges, bias).to(x.dtype)

    def _with_one_range(self, x: Tensor, w: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Operands whose rows have the range 1, and the range of each output, if rows have ranges of their own.

        # (..., m, k), (..., n, k) to (..., m, k), (..., n, k), (..., m, 1 or n)
        """
        if self.input_range != "token" or x.numel() == 0:
            return x, w, None
        ranges = row_range(x, self.signed_input)
        x = x / ranges
        if self._keeps_weight or not self.rows_in_cells:
            return x, w, ranges
        of_cells = row_range(w, True)
        return x, w / of_cells, ranges * of_cells.transpose(-1, -2)

    def _answer_of_one_range(self, x: Tensor, w: Tensor, bias: Tensor | None = None) -> Tensor:
        if self.training and x.numel():
            w = self._held_weight(w)
            y, x_scale, w_scale = self._rounded(x, w, bias)
            return self._with_train_noise(y, x, w, x_scale, w_scale)
        if x.numel() == 0:
            return self._float(x, self._held_weight(w), bias)
        with torch.no_grad():
            y = self._computed(x, w, bias).to(x.dtype)
        if not self.has_gradient:
            return y
        w = self._held_weight(w)
        x, w = _within(x, scale_of(self._largest_input(x)), self.signed_input), _within(w, self._weight_scale(w), True)
        rounded, _, _ = self._rounded(x, w, bias)
        return y + (rounded - rounded.detach())  # the value of y, with the gradient of `rounded`

    def _rounded(self, x: Tensor, w: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """The product of fake-quantised operands, with the gradient of the identity, and the scales of both."""
        x_scale, w_scale = scale_of(self._largest_input(x)), self._weight_scale(w)
        x_rounded = fake_quantize(x, x_scale, self.input_bits, self.signed_input)
        w_rounded = fake_quantize(w, w_scale, self.weight_bits, True)
        return self._float(x_rounded, w_rounded, bias), x_scale, w_scale

    def _computed(self, x: Tensor, w: Tensor, bias: Tensor | None) -> Tensor:
        """The product of integers, in float32 (float64 for x in float64)."""
        operands = self._operands(x, w)
        return operands.run(self._exact_program(operands), bias)

    def _operands(self, x: Tensor, w: Tensor) -> LayerOperands:
        """The operands of a call in evaluation."""
        of_input, is_checked = (self.input_bits, self.signed_input), False
        if is_recorded():
            weight = QuantizedWeight(*self._quantized(w))
            x_scale, step = self._scales(self._largest_input(x), weight)
        else:
            is_checked = quantizes_in_torch(x)  # the code that makes bytes checks them
            largest, weight = self._read(x, w, is_checked)

            def scales() -> tuple[Tensor, Tensor]:
                return self._scales(torch.full((), largest, dtype=torch.float32, device=x.device), weight)

            x_scale, step = weight.scales.of(largest, of_input, scales)
        product, operand, integers = self._product(x, weight.integers)
        return LayerOperands(
            product, operand, integers, weight, Quantizer(x_scale, *of_input, None if is_checked else self), step
        )

    def _read(self, x: Tensor, w: Tensor, with_check: bool) -> tuple[float, QuantizedWeight]:
        """Range of the input, and the weight as integers; waits for a device once, unless the weight changed."""
        stored = self._range_in_use()
        low, high = torch.aminmax(x.detach()) if with_check or stored is None else (None, None)
        given = InputRange(self.signed_input, low, high, stored)
        if self._keeps_weight:
            parts, settings = self._weight_parts(w), (self.weight_bits, self.per_channel)
            found, changes = self._prepared.stored(parts, settings, at_once=not with_check)
            inputs, changed = given.read(changes, with_check)
            if found is None or any(changed):
                found = None  # frees the old integers before the new ones are made
                found = self._prepared.store(parts, settings, lambda: self._quantized(w, with_check=True))
        else:
            inputs, w_ends = given.read(torch.aminmax(w.detach()), with_check)
            InputRange(True, *w_ends).check(self.name)
            found = QuantizedWeight(*self._quantized(w))
        if with_check:
            inputs.check(self.name)
        return inputs.largest, found

    def _scales(self, largest: Tensor, weight: QuantizedWeight) -> tuple[Tensor, Tensor]:
        """Scale of the input quantiser, and value of one count in each output. # () and () or (outputs,)"""
        x_scale = scale_of(largest)
        step = self._step(x_scale * weight.scale)
        if not self._keeps_weight:
            return x_scale, step  # one number, because the number of outputs may change from call to call
        return x_scale, step.flatten().expand(weight.integers.shape[0]).contiguous()

    def _exact_program(self, operands: LayerOperands) -> Program:
        """The program that multiplies integers exactly."""
        product, integers = operands.product, operands.integers
        bits = self.input_bits, self.weight_bits, self.signed_input
        if is_recorded() or not self._keeps_weight:
            return ExactProgram(product, Weights(integers), *bits)
        return operands.weight.program(bits, product, integers, lambda weights: ExactProgram(product, weights, *bits))

    def quantized_operands(self, *inputs: Tensor) -> tuple[Product, Tensor, Tensor]:
        """The integer product that a call in evaluation computes, and its inputs and weights in float32."""
        with torch.no_grad():
            x, w, _ = self._with_one_range(*self._called_with(*inputs))
            found = self._operands(x, w)
            return found.product, found.quantizer.integers(found.x), found.integers

    def hold_ranges(self, *inputs: Tensor) -> tuple[Tensor, Tensor | None]:
        """Store the ranges of a call; returns the value of one count in the output, and of rows with ranges of their
        own a factor for each output. # () or (outputs,), (batch, ..., m, 1 or n)"""
        x, w, ranges = self._with_one_range(*self._called_with(*inputs))
        if not self._keeps_weight:
            self.store_range(float(self._largest_weight(w)), "weight_max")
        if ranges is None:
            self.store_range(float(self._largest_input(x)))
        return self._operands(x, w).step, ranges

    def _called_with(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Input, with a batch dimension, and weight of a call."""
        raise NotImplementedError

    def _check_inputs(self, fits: bool, shapes: str, *inputs: Tensor) -> None:
        if not all(x.is_floating_point() for x in inputs):
            raise ValueError(f"Layer `{self.name}` needs floating-point inputs, got {_listed(x.dtype for x in inputs)}")
        if not fits:
            given = _listed(tuple(x.shape) for x in inputs)
            raise ValueError(f"Layer `{self.name}` needs inputs of shape {shapes}, got {given}")

    @property
    def held_shape(self) -> torch.Size | None:
        """Shape of the weight that the layer multiplies by; None: it comes with each call."""
        weight = getattr(self, "weight", None)
        if not isinstance(weight, Tensor):
            return None
        if self._held is None or self._held[0] != weight.shape:  # a user may prune outputs
            with torch.no_grad():
                self._held = weight.shape, self._held_weight(weight).shape
        return self._held[1]

    @property
    def held_bias(self) -> Tensor | None:
        """A bias for each output of the product. # (outputs,)"""
        bias: Tensor | None = getattr(self, "bias", None)
        if bias is None or self.held_shape is None or self.held_shape[0] == len(bias):
            return bias
        return bias.repeat_interleave(self.held_shape[0] // len(bias))

    def rearranged(self, y: Tensor) -> Tensor:
        """Outputs of the product in the shape of the layer's output, bias included."""
        return y

    def _held_weight(self, w: Tensor) -> Tensor:
        """The weight that the layer multiplies by, from its parameters."""
        return w

    def _weight_parts(self, w: Tensor) -> tuple[Tensor, ...]:
        """Tensors that the multiplied weight is computed from."""
        others = [part for name, part in self._parameters.items() if name not in ("weight", "bias")]
        return (w, *(part for part in others if part is not None)) if others else (w,)

    def _float(self, x: Tensor, w: Tensor, bias: Tensor | None) -> Tensor:
        """The product in floating point, with bias."""
        raise NotImplementedError

    def _product(self, x: Tensor, w: Tensor) -> tuple[Product, Tensor, Tensor]:
        """The product for an engine, and operands in the shapes that it takes."""
        raise NotImplementedError

    def _with_train_noise(self, y: Tensor, x: Tensor, w: Tensor, x_scale: Tensor, w_scale: Tensor) -> Tensor:
        """The output with the noise of training; digital layers have none."""
        return y

    def _weight_scale(self, w: Tensor) -> Tensor:
        """Scale of the weight quantiser, float32. # () or (outputs, 1, ...)"""
        return weight_scale(w, self.per_channel) if self._keeps_weight else scale_of(self._largest_weight(w))

    def _quantized(self, w: Tensor, with_check: bool = False) -> tuple[Tensor, Tensor]:
        """Integers of the weight, and their scale."""
        held = self._held_weight(w)
        scale = self._weight_scale(held)
        if with_check and not bool(scale.isfinite().all()):
            raise ValueError(f"Layer `{self.name}` needs finite weights, got NaN or infinity among them")
        return quantize(held, scale, self.weight_bits, True), scale

    def _step(self, scale: Tensor) -> Tensor:
        """Value of one count in the output: ``scale / (L_x * L_w)``."""
        return scale / (levels(self.input_bits, self.signed_input) * levels(self.weight_bits, True))

    def _in_type_of(self, x: Tensor, *parameters: Tensor | None) -> list[Any]:
        """Parameters in the type of x, as a float product needs them; unchanged under autocast, which converts them."""
        if torch.is_autocast_enabled(x.device.type):
            return [*parameters]
        return [None if p is None else p.to(x.dtype) for p in parameters]

    def refresh(self) -> None:
        """Quantise the weight again at the next call. Call this after changes of single numbers that torch does not
        count: through ``.data``, in inference mode or by a fused optimiser."""
        self._prepared.forget()

    def train(self, mode: bool = True) -> Any:
        """Switch between training and evaluation; training drops the programs for evaluation."""
        if mode:
            self.refresh()
        return super().train(mode)

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        self.refresh()
        # .to(bfloat16) must move ranges but not round them
        kept = {name: getattr(self, name) for name in self.ranges}
        super()._apply(fn, recurse)
        for name, value in kept.items():
            device = getattr(self, name).device
            # a meta tensor has no value to keep
            setattr(self, name, torch.full_like(value, -1.0, device=device) if value.is_meta else value.to(device))
        return self

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        self.refresh()
        for name, has in self.ranges.items():
            if prefix + name in state_dict:
                largest = float(state_dict[prefix + name])  # below 0 if there is none
                setattr(self, has, not largest < 0 and self._checked_range(largest) >= 0)
                continue
            # weights of a float network have no ranges
            state_dict[prefix + name] = getattr(self, name).detach()
            if prefix + "weight" in state_dict and self.input_range == "calibrated" and self.has_range:
                warnings.warn(  # the same text for all layers, so that Python shows it once
                    "Weights were loaded without input ranges, so layers still use the ranges that were calibrated for "
                    "the weights before; call calibrate_ for the new weights",
                    stacklevel=2,
                )
        super()._load_from_state_dict(state_dict, prefix, *args)


def along_channels(values: Tensor, w: Tensor) -> Tensor:
    """One value, or one for each output, in a shape that broadcasts against outputs. # () or (outputs, 1, ...)"""
    return values if values.dim() == 0 else values.view(-1, *[1] * (w.dim() - 2))


def of_rows(y: Tensor, ranges: Tensor, bias: Tensor | None) -> Tensor:
    """The output, with bias, from one of operands that were divided by their rows' ranges.

    # (..., m, n), (..., m, 1 or n), (n,) to (..., m, n)
    """
    y = y * ranges
    return y if bias is None else y + bias


def _within(x: Tensor, scale: Tensor, signed: bool) -> Tensor:
    """Values clamped to the range of a quantiser, with a gradient at its ends, and none beyond it."""
    low, high = -scale.to(x.dtype) * signed, scale.to(x.dtype)
    return torch.where(x < low, low, torch.where(x > high, high, x))


def _listed(values: Iterable[Any]) -> str:
    return " and ".join(map(str, values))
