"""The map of a network's loss by path attribution: how much loss each layer and bit position causes."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from asim_lightning.circuit import MacroConfig
from asim_lightning.circuit.schedule import input_groups
from asim_lightning.classifier.network import CimModule
from asim_lightning.engine import SavedChip, noise_context
from asim_lightning.evaluation.condition import Condition, under
from asim_lightning.evaluation.loss_map import Change, LossMap
from asim_lightning.nn import OnMacro
from asim_lightning.nn.calibration import quantized_layers
from asim_lightning.nn.routed import routing_paused
from asim_lightning.surgery import macro_layers

POINTS = 8
"""Points of the path from the quantised to the simulated network, by Gauss-Legendre quadrature."""
Fields = Mapping[str, Any]


@dataclass(eq=False)
class _Call:
    """One call of a layer in the simulated network, with its arguments."""

    arguments: tuple[Any, ...]
    named: dict[str, Any]
    exact: Tensor
    """The quantised layer's output for these inputs. # (batch, ...)"""
    error: Tensor
    """The simulated output minus the exact one. # (batch, ...)"""
    gradient: Tensor = field(default_factory=lambda: torch.zeros(()))
    """Gradient of the loss of the batch, the mean over the path. # (batch, ...)"""

    def share(self, error: Tensor) -> float:
        """The share of the batch's loss that an error of the layer's output causes. # (batch, ...)"""
        return float((self.gradient.double() * error.double()).sum())


def loss_map(
    model: CimModule,
    batches: Iterable[Any],
    chips: Sequence[int] = (0,),
    changes: Callable[[OnMacro], Sequence[Fields]] = lambda layer: (),
) -> LossMap:
    """Shares of the loss that a macro adds to a network, by layer and bit position.

    A layer's error e is its simulated output minus the exact output for the same input. The quantised network with
    ``s e`` added after every layer is exact at s = 0 and simulated at s = 1. The share of a layer is the integral over
    s of ``gradient . e``, so all shares sum to the increase of the loss. The share of a bit position is the share of
    the part of e that vanishes if the position is digital. Stuck cells cause the rest, which stays if all positions are
    digital. The share of a change is computed from the e of the changed macro, for the same inputs.

    Args:
        model: Converted classifier; its layers' macros, noise seed and read number count.
        batches: Inputs, targets and indices.
        chips: Chips of the mean; ignored if all chips are equal, or if the classifier's chip is from a file.
        changes: Gives changes of a layer, as fields of the macro.
    """
    layers = macro_layers(model.backbone)
    numbers: Sequence[int | None] = chips
    if isinstance(model.chip, SavedChip) or not any(layer.transfer.differs_by_chip for layer in layers.values()):
        numbers = [None]
    asked = {name: [dict[str, Any](), *_digital(layer), *changes(layer)] for name, layer in layers.items()}
    shares = {name: np.zeros(len(each)) for name, each in asked.items()}
    increase, images = 0.0, 0
    for inputs, targets, ids in batches:
        images += len(ids)
        for chip in numbers:
            with under(model, Condition("simulated", chip=chip)):
                path = _Path(model, layers, inputs.to(model.device), targets.to(model.device), ids)
                increase += path.increase / len(numbers)
                for name, calls in path.calls.items():
                    found = [path.share(layers[name], calls, fields) for fields in asked[name]]
                    shares[name] += np.array(found) / len(numbers)
    if not images:
        raise ValueError("a map of the loss needs one image or more, got none")
    positions, left, rest = {}, list[Change](), {}
    for name, layer in layers.items():
        count = len(_digital(layer))
        own, *digital = shares[name][: count + 1] / images
        positions[name] = _by_position(layer, own, digital)
        if not layer.macro.weight_parallel and (stays := float([own, *digital][-1])):
            rest[name] = stays
        each = zip(asked[name][1:], shares[name][1:] / images, strict=True)
        left += [Change(name, fields, float(share)) for fields, share in each]
    return LossMap(positions, increase / images, None, tuple(left), images, rest)


class _Path:
    """The path of a batch from the quantised network to the simulated one; the network is simulated at the start.

    `increase` is the loss of the batch in the simulated network minus the loss in the quantised network.
    """

    def __init__(self, model: CimModule, layers: Mapping[str, OnMacro], inputs: Any, targets: Any, ids: Tensor) -> None:
        self.calls: dict[str, list[_Call]] = {}  # calls of each layer, with gradients along the path
        self._context = lambda: noise_context(model.noise_seed, model.trial, ids, model.chip)

        def loss() -> Tensor:
            with self._context():
                found: Tensor = model.outcome.loss(model(inputs), targets)
            return found * len(ids)

        with torch.no_grad(), _hooked(layers, self._keep):
            simulated = loss()
        model.fidelity = "quantized"
        try:
            with torch.no_grad():
                self.increase = float(simulated - loss())
            with torch.enable_grad(), _with_gradients(model.backbone):
                for point, weight in zip(*np.polynomial.legendre.leggauss(POINTS), strict=True):
                    self._add_gradients(layers, loss, 0.5 * (1.0 + point), 0.5 * weight)
        finally:
            model.fidelity = "simulated"

    def share(self, layer: OnMacro, calls: Sequence[_Call], fields: Fields) -> float:
        """The share of a layer with changed fields, for the same inputs."""
        if not fields:
            return sum(call.share(call.error) for call in calls)
        before = layer.assignment
        layer.assignment = before.ruled_by(fields)
        try:
            with torch.no_grad(), self._context():
                return sum(call.share(layer(*call.arguments, **call.named) - call.exact) for call in calls)
        finally:
            layer.assignment = before

    def _keep(self, name: str, layer: OnMacro, arguments: tuple[Any, ...], named: dict[str, Any], y: Tensor) -> None:
        layer.fidelity = "quantized"
        with routing_paused():  # as in the layer's call
            exact = layer.forward(*arguments, **named)  # without this hook
        layer.fidelity = "simulated"
        self.calls.setdefault(name, []).append(_Call(arguments, named, exact, y - exact))

    def _add_gradients(
        self, layers: Mapping[str, OnMacro], loss: Callable[[], Tensor], point: float, weight: float
    ) -> None:
        """Add the gradients at a point of the path, times the point's weight."""
        outputs: list[Tensor] = []
        calls: list[_Call] = []
        left = {name: iter(each) for name, each in self.calls.items()}

        def add(name: str, layer: OnMacro, arguments: tuple[Any, ...], named: dict[str, Any], y: Tensor) -> Tensor:
            call = next(left[name])
            y = y + point * call.error
            outputs.append(y if y.requires_grad else y.requires_grad_())
            calls.append(call)
            return y.clone()  # the network may change it in place

        with _hooked(layers, add):
            total = loss()
        found = torch.autograd.grad(total, outputs, allow_unused=True)
        for call, gradient in zip(calls, found, strict=True):
            if gradient is not None:
                call.gradient = call.gradient + weight * gradient


@contextmanager
def _hooked(layers: Mapping[str, OnMacro], call: Callable[..., Tensor | None]) -> Iterator[None]:
    """Call a function after each call of a layer; a returned tensor replaces the layer's output."""

    def hook(name: str) -> Any:
        return lambda *of_call: call(name, *of_call)

    hooks = [layer.register_forward_hook(hook(name), with_kwargs=True) for name, layer in layers.items()]
    try:
        yield
    finally:
        for each in hooks:
            each.remove()


@contextmanager
def _with_gradients(network: nn.Module) -> Iterator[None]:
    layers = quantized_layers(network).values()
    for layer in layers:
        layer.has_gradient = True
    try:
        yield
    finally:
        for layer in layers:
            del layer.has_gradient  # back to the class's value, because keys of trials include attributes of instances


def positions_of(macro: MacroConfig, signed_input: bool) -> int:
    """Bit positions of a macro: diagonals of cycles."""
    if macro.weight_parallel:
        return 1
    return macro.weight_bits + len(input_groups(macro.input_bits, macro.encoding_bits, signed_input)) - 1


def _digital(layer: OnMacro) -> list[Fields]:
    """The layer with more and more digital positions, the most significant first, without its present ones."""
    macro = layer.macro
    if macro.weight_parallel:
        return []
    levels = range(macro.digital_levels + 1, positions_of(macro, layer.signed_input) + 1)
    return [{"digital_levels": level, "digital_adc": False} for level in levels]


def _by_position(layer: OnMacro, own: float, digital: Sequence[float]) -> tuple[float, ...]:
    """The share of each position, the least significant first, from shares with more and more digital positions."""
    if layer.macro.weight_parallel:
        return (float(own),)
    steps = -np.diff([own, *digital])[::-1]
    return (*map(float, steps), *[0.0] * (positions_of(layer.macro, layer.signed_input) - len(steps)))
