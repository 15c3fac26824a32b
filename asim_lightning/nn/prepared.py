"""The operands of a layer's call, and the integers and programs that a layer stores between calls."""

import weakref
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor

from asim_lightning.engine import Noise, Product, Program, Quantizer, Weights

Value = TypeVar("Value")
_SAMPLES = 1024


class Memo(Generic[Value]):
    """Values by key, all made for one setting; they are dropped when another setting comes."""

    def __init__(self) -> None:
        # in one tuple, so that threads see both or neither
        self._kept: tuple[Hashable, dict[Hashable, Value]] = (None, {})

    def of(self, setting: Hashable, key: Hashable, make: Callable[[], Value]) -> Value:
        """The value of a key, made at its first use."""
        of, values = self._kept
        if of != setting:
            values = {}
            self._kept = setting, values
        if key not in values:
            with torch.inference_mode(False), torch.no_grad():
                values[key] = make()
        return values[key]


class QuantizedWeight:
    """Integers of a weight, and what was made for them.

    Attributes:
        integers: Integers in float32; do not change them. # (outputs, ...)
        scale: Scale of the quantiser. # () or (outputs, 1, ...)
        scales: Scale of the inputs and value of one count, for one range of the input. # () and () or (outputs,)
    """

    def __init__(self, integers: Tensor, scale: Tensor) -> None:
        self.integers, self.scale = integers, scale
        self.scales: Memo[tuple[Tensor, Tensor]] = Memo()
        self._programs: Memo[Program] = Memo()
        self._weights: dict[torch.Size, Weights] = {}

    def program(
        self, macro: Hashable, product: Product, integers: Tensor, prepare: Callable[[Weights], Program]
    ) -> Program:
        """The program of a product on a macro, prepared at its first use; `integers` have the product's shape."""
        # with the forms that engines made of them for other macros
        weights = self._weights.setdefault(integers.shape, Weights(integers))
        return self._programs.of(macro, product, lambda: prepare(weights))


class LayerOperands(NamedTuple):
    """The operands of a call in evaluation.

    Attributes:
        product: The linear map.
        x: Inputs, floating point, as the product takes them. # (batch, *inputs)
        integers: Integers of the weight, as the product takes them. # (*weight), or (batch, *weight)
        weight: The quantised weight, with its programs.
        quantizer: Turns x into integers.
        step: Value of one count in the output. # () or (outputs,)
    """

    product: Product
    x: Tensor
    integers: Tensor
    weight: QuantizedWeight
    quantizer: Quantizer
    step: Tensor

    def run(self, program: Program, bias: Tensor | None, noise: Noise | None = None) -> Tensor:
        """The outputs of a program; of a kernel as large as its image they get the axes of the image again."""
        y = program(self.x, self.quantizer, self.step, bias, noise)
        lacking = self.weight.integers.dim() - y.dim()
        return y if lacking <= 0 else y.view(*y.shape, *[1] * lacking)


class PreparedWeight:
    """The quantised weight of a layer, the same object as long as the weight is unchanged.

    A weight counts as unchanged if it is the same tensor at the same address, torch counted no change of it, and 1024
    of its numbers are the same. torch does not count changes through ``.data``, by a fused optimiser or in inference
    mode. The 1024 numbers show such a change if it is of a hundredth of the weight, but may miss changes of single
    numbers: call `forget` after them. Copies and pickles are empty.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Drop everything."""
        # in one tuple, so that threads see all or nothing
        self._kept: tuple[Sequence[_Snapshot], Hashable, QuantizedWeight] | None = None
        self.programs: Memo[Program] = Memo()
        """Programs for weights that come with each call."""

    def stored(
        self, parts: Sequence[Tensor], settings: Hashable, at_once: bool
    ) -> tuple[QuantizedWeight | None, list[Tensor]]:
        """The stored weight, if it is of these parts and settings, and tensors that are 0 if its numbers are, too.

        With `at_once` the numbers are compared here, and the list is empty.
        """
        kept = self._kept
        if kept is None or kept[1] != settings or len(kept[0]) != len(parts):
            return None, []
        for each, part in zip(kept[0], parts, strict=True):
            if not each.is_of(part) or (at_once and not torch.equal(each.view, each.sample)):
                return None, []
        return kept[2], [] if at_once else [(each.view != each.sample).any() for each in kept[0]]

    def store(
        self, parts: Sequence[Tensor], settings: Hashable, quantize: Callable[[], tuple[Tensor, Tensor]]
    ) -> QuantizedWeight:
        """Quantise the weight and store it."""
        self.forget()  # first, which frees its programs
        with torch.inference_mode(False), torch.no_grad():
            weight = QuantizedWeight(*quantize())
            self._kept = [_Snapshot(part) for part in parts], settings, weight
        return weight

    def __reduce__(self) -> Any:
        return PreparedWeight, ()


class _Snapshot:
    """A tensor at the time when it was read: a view of some of its numbers, and a copy of the same numbers."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor, self.key, self.view = weakref.ref(tensor), _key(tensor), _some_of(tensor)
        self.sample = self.view.clone()

    def is_of(self, tensor: Tensor) -> bool:
        """Whether this is the tensor, and torch counted no change since."""
        return self.tensor() is tensor and self.key == _key(tensor)


def _key(tensor: Tensor) -> Hashable:
    version = None if tensor.is_inference() else tensor._version
    return tensor.data_ptr(), version, tensor.dtype, tensor.device, tensor.shape, tensor.stride()


def _some_of(w: Tensor) -> Tensor:
    """A view of evenly spaced numbers of a tensor; of all numbers if it is not contiguous."""
    w = w.detach()
    if w.dim() == 4 and w.is_contiguous(memory_format=torch.channels_last):
        w = w.permute(0, 2, 3, 1)
    return w.view(-1)[:: max(1, -(-w.numel() // _SAMPLES))] if w.is_contiguous() else w
