"""The map of a network's loss by path attribution: how much loss each layer and bit position causes."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

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
    is_one = isinstance(model.chip, SavedChip) or not any(each.transfer.differs_by_chip for each in layers.values())
    numbers: Sequence[int | None] = [None] if is_one else chips
    asked = {name: [dict[str, Any](), *_digital(layer), *changes(layer)] for name, layer in layers.items()}
    shares = {name: np.zeros(len(each)) for name, each in asked.items()}
    increase, images = 0.0, 0
    for inputs, targets, ids in batches:
        images += len(ids)
        for chip in numbers:
            with under(model, Condition("simulated", chip=chip)):
                path = _Path(model, layers, inputs.to(model.device), targets.to(model.device), ids)
                increase += path.increase / len(numbers)
                for name in path.calls:
                    found = [path.share(layers[name], name, fields) for fields in asked[name]]
                    shares[name] += np.array(found) / len(numbers)
    positions, left, rest = {}, list[Change](), {}
    for name, layer in layers.items():
        each = shares[name] / images
        # with all positions digital, stuck cells stay; one conversion of all bits has no digital positions
        of_levels = [*each[: 1 + len(_digital(layer))], *[0.0] * layer.macro.weight_parallel]
        steps = map(float, -np.diff(of_levels)[::-1])
        count = positions_of(layer.macro, layer.signed_input)
        positions[name] = (*steps, *[0.0] * (count + 1 - len(of_levels)))  # its present digital positions last
        if of_levels[-1]:
            rest[name] = float(of_levels[-1])
        left += [Change(name, *found) for found in zip(asked[name][1:], map(float, each[1:]), strict=True)]
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
        with torch.no_grad():
            self.increase = float(simulated - loss())
        with torch.enable_grad(), ExitStack() as after:
            for layer in quantized_layers(model.backbone).values():
                layer.has_gradient = True
                after.callback(delattr, layer, "has_gradient")  # else keys of trials would include it
            for point, weight in zip(*np.polynomial.legendre.leggauss(POINTS), strict=True):
                self._add_gradients(layers, loss, 0.5 * (1.0 + point), 0.5 * weight)
        model.fidelity = "simulated"  # after an error, `under` restores it

    def share(self, layer: OnMacro, name: str, fields: Fields) -> float:
        """The share of a layer with changed fields, for the same inputs."""
        before, found = layer.assignment, 0.0
        layer.assignment = before.ruled_by(fields)
        with torch.no_grad(), self._context():
            for call in self.calls[name]:
                error = layer(*call.arguments, **call.named) - call.exact
                found += float((call.gradient.double() * error.double()).sum())
        layer.assignment = before  # after an error, `under` restores it
        return found

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
        met: list[tuple[_Call, Tensor]] = []
        left = {name: iter(each) for name, each in self.calls.items()}

        def add(name: str, layer: OnMacro, arguments: tuple[Any, ...], named: dict[str, Any], y: Tensor) -> Tensor:
            call = next(left[name])
            y = (y + point * call.error).requires_grad_()
            met.append((call, y))
            return y.clone()  # the network may change it in place

        with _hooked(layers, add):
            total = loss()
        found = torch.autograd.grad(total, [y for _, y in met], allow_unused=True)
        for (call, _), gradient in zip(met, found, strict=True):
            if gradient is not None:
                call.gradient = call.gradient + weight * gradient


@contextmanager
def _hooked(layers: Mapping[str, OnMacro], call: Callable[..., Tensor | None]) -> Iterator[None]:
    """Call a function after each call of a layer; a returned tensor replaces the layer's output."""
    with ExitStack() as hooks:
        for name, layer in layers.items():
            hooks.enter_context(layer.register_forward_hook(partial(call, name), with_kwargs=True))
        yield


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
