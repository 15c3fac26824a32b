"""A watched run of a network: the calls of its layers, and the products that its modules make by functions."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torch.utils.hooks import RemovableHandle

from asim_lightning.nn import FloatMatmul, QuantizedLayer
from asim_lightning.nn.floating import of_groups
from asim_lightning.nn.inputs import Inputs, called, shapes_text, tensors_of
from asim_lightning.nn.layer_kinds import FLOAT_LAYERS
from asim_lightning.nn.product_mode import ProductMode, is_in_transform

_CONVERTED = (QuantizedLayer, *FLOAT_LAYERS, FloatMatmul)


@dataclass(frozen=True)
class Call:
    """A product that a module's forward makes by a function, such as ``q @ k.transpose(-2, -1)``."""

    owner: str
    """Full name of the innermost running module."""
    number: int
    """Number of the product in this forward of the module, from 0."""
    weight: str | None = None
    """Full name of the parameter that the second operand is a view of."""
    whole: bool = False
    """Whether it is a functional linear with that whole parameter, not with a part or another view of it."""


class Watcher:
    """Receives the events of a watched run; methods do nothing unless overridden."""

    def layer(self, name: str, x: Tensor, y: Tensor) -> None:
        """A layer was called on x and returned y."""

    def before_product(self, call: Call, a: Tensor, b: Tensor) -> None:
        """A function is about to multiply. # (..., m, k), (..., k, n) or (k, n); of groups (m, k), (groups, k, n)"""

    def product(self, call: Call, a: Tensor, b: Tensor, y: Tensor) -> None:
        """A function multiplied. # operands as before, (..., m, n)"""


class Watch(ProductMode):
    """While active, reports every call of a layer and every other product to a watcher.

    Args:
        model: The network.
        layers: Its layers by full name; products inside layers are not reported.
        watcher: Receives the reports.
    """

    def __init__(self, model: nn.Module, layers: Mapping[str, nn.Module], watcher: Watcher) -> None:
        super().__init__()
        self._watcher = watcher
        self._running: list[str] = []
        self._counts: list[int] = []
        self._layers = set(layers)
        self.own = {name for name, module in model.named_modules() if isinstance(module, _CONVERTED)} | self._layers
        """Layers and converted layers; products inside them are not reported."""
        self._parameters: dict[int, str] = {}
        for name, parameter in model.named_parameters(remove_duplicate=False):
            known = self._parameters.get(id(parameter))
            # a tied weight has several names; the name of a layer counts
            if known is None or known.rpartition(".")[0] not in layers:
                self._parameters[id(parameter)] = name
        names = {id(module): name for name, module in layers.items()}
        self.with_more: set[str] = set()
        """Layers that were called with more than their input."""
        self.hooks: list[RemovableHandle] = []
        for name, module in model.named_modules():
            # a layer may have a second name
            name = names.get(id(module), name)
            self.hooks.append(module.register_forward_pre_hook(self._entered(name)))
            self.hooks.append(module.register_forward_hook(self._left(name), always_call=True, with_kwargs=True))

    @property
    def running(self) -> str:
        """Full name of the innermost running module."""
        return self._running[-1] if self._running else ""

    def _entered(self, name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: Any) -> None:
            self._running.append(name)
            self._counts.append(0)

        return hook

    def _left(self, name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: Any, keywords: Any, output: Any) -> None:
            self._running.pop()
            self._counts.pop()
            # a layer in a transform of torch.func sees tensors without one of their axes
            if name not in self._layers or not isinstance(output, Tensor) or is_in_transform(output):
                return
            if not inputs:
                raise ValueError(f"`{name}` is called with its input as a keyword, and surgery needs it by position")
            if len(inputs) > 1 or keywords:
                self.with_more.add(name)
            self._watcher.layer(name, inputs[0], output)

        return hook

    def product(self, a: Tensor, b: Tensor) -> Tensor:
        """Multiply, and report it. # (..., m, n)"""
        return self._told(a, b, False, lambda: a @ b)

    def linear(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Multiply, and report it. # (..., outputs)"""
        whole = id(weight) in self._parameters
        return self._told(x, weight.transpose(0, 1), whole, lambda: F.linear(x, weight, bias))

    def grouped(self, x: Tensor, w: Tensor, ends: Tensor) -> Tensor:
        """Multiply rows of groups, and report it. # (rows, n)"""
        return self._told(x, w, False, lambda: of_groups(lambda group, rows: rows @ w[group], x, ends))

    def _told(self, a: Tensor, b: Tensor, whole: bool, multiply: Callable[[], Tensor]) -> Tensor:
        if self.running in self.own:
            return multiply()
        call = Call(self.running, self._counts[-1] if self._counts else 0, self._name_of(b), whole)
        if self._counts:
            self._counts[-1] += 1
        self._watcher.before_product(call, a, b)
        y = multiply()
        self._watcher.product(call, a, b, y)
        return y

    def _name_of(self, tensor: Tensor) -> str | None:
        for each in (tensor, tensor._base):
            if each is not None and id(each) in self._parameters:
                return self._parameters[id(each)]
        return None


def run_watched(
    model: nn.Module,
    example: Inputs,
    modes: Iterable[AbstractContextManager[Any]],
    hooks: Sequence[RemovableHandle],
) -> Any:
    """Output of a network that runs once, in evaluation, within modes; then hooks are removed, and modes and buffers
    restored."""
    training = {module: module.training for module in model.modules()}
    model.eval()
    devices = list({x.device for x in tensors_of(example) if x.device.type == "cuda"})
    try:
        # a forward draws the same random numbers in each run, and changes no generator outside
        with torch.inference_mode(False), torch.no_grad(), torch.random.fork_rng(devices), ExitStack() as stack:
            stack.enter_context(_kept_buffers(model))
            torch.manual_seed(0)
            for mode in modes:
                stack.enter_context(mode)
            return called(model, example)
    except Exception as error:
        message = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"The network does not run on an input of shape {shapes_text(example)}: {message}") from error
    finally:
        for handle in hooks:
            handle.remove()
        for module, was_training in training.items():
            module.training = was_training


@contextmanager
def _kept_buffers(model: nn.Module) -> Iterator[None]:
    """Within it, a forward may write into buffers or replace them; after it they are as before."""
    kept = [
        (module, name, buffer, buffer.clone())
        for module in model.modules()
        for name, buffer in module._buffers.items()
        if buffer is not None
    ]
    try:
        yield
    finally:
        for module, name, buffer, before in kept:
            now = module._buffers.get(name)
            if now is not None and now.shape != before.shape:
                continue  # a table that grew for longer inputs: its module may remember the length
            module._buffers[name] = buffer
            if not torch.equal(buffer, before):  # a buffer that nobody wrote into keeps its version
                buffer.copy_(before)


def relative_difference(output: Any, expected: Any) -> float:
    """Largest difference as a share of the largest number; 0 if rounding of the type explains it, infinite if a number
    meets NaN or infinity."""
    largest = 0.0
    for got, wanted in zip(tree_leaves(output), tree_leaves(expected), strict=True):
        if not (isinstance(got, Tensor) and got.is_floating_point() and got.numel()):
            continue
        if got.shape != wanted.shape or not torch.equal(got.isfinite(), wanted.isfinite()):
            return math.inf
        scale = float(wanted.abs().nan_to_num(0.0, 0.0, 0.0).max()) or 1.0
        difference = float((got - wanted).abs().nan_to_num(0.0, 0.0, 0.0).max()) / scale
        largest = max(largest, difference if difference > 64 * torch.finfo(got.dtype).eps else 0.0)
    return largest
