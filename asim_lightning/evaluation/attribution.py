"""The map of a network's loss by path attribution: how much loss each layer and bit position causes."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from asim_lightning.classifier.network import CimModule
from asim_lightning.engine import SavedChip, noise_context
from asim_lightning.evaluation.condition import Condition, under
from asim_lightning.evaluation.loss_map import Change, LossMap
from asim_lightning.nn import OnMacro
from asim_lightning.nn.calibration import quantized_layers
from asim_lightning.nn.inputs import moved
from asim_lightning.nn.routed import routing_paused
from asim_lightning.surgery import macro_layers

POINTS = 8
"""Points of the path from the quantised to the simulated network, by Gauss-Legendre quadrature."""
Fields = Mapping[str, Any]


@dataclass(eq=False)
class _Call:
    """One call of a layer in the simulated network, with its arguments."""

    layer: OnMacro
    arguments: tuple[Any, ...]
    named: dict[str, Any]
    exact: Tensor
    """The quantised layer's output for these inputs. # (batch, ...)"""
    error: Tensor
    """The simulated output minus the exact one. # (batch, ...)"""
    gradient: Tensor
    """Gradient of the loss of the batch, the mean over the path. # (batch, ...)"""


def loss_map(
    model: CimModule,
    batches: Iterable[Any],
    chips: Sequence[int] = (0,),
    changes: Mapping[str, Sequence[Fields]] = {},
) -> LossMap:
    """Shares of the loss that a macro adds to a network, by layer and bit position.

    A layer's error e is its simulated output minus the exact output for the same input. The quantised network with
    ``s e`` added after every layer is exact at s = 0 and simulated at s = 1. The share of a layer is the integral over
    s of ``gradient . e``, so all shares sum to the increase of the loss. The share of a bit position is the share of
    the part of e that vanishes if the position is digital. Stuck cells cause the rest, which stays if all positions are
    digital. The share of a change is computed from the e of the changed macro, for the same inputs.

    A router may send other rows to an expert at each point of the path, so e of an expert is computed at each point. A
    row that changes its expert changes the loss by a step without a gradient, which is in no share.

    Args:
        model: Converted classifier; its layers' macros, noise seed and read number count.
        batches: Inputs, targets and indices.
        chips: Chips of the mean; ignored if all chips are equal, or if the classifier's chip is from a file.
        changes: Changes to try of layers, by full name: fields of the macro.
    """
    layers = macro_layers(model.backbone)
    is_one = isinstance(model.chip, SavedChip) or not any(each.transfer.differs_by_chip for each in layers.values())
    numbers: Sequence[int | None] = [None] if is_one else chips
    asked = {name: [dict[str, Any](), *_digital(layer), *changes.get(name, ())] for name, layer in layers.items()}
    shares = {name: np.zeros(len(each)) for name, each in asked.items()}
    increase, images = 0.0, 0
    for inputs, targets, ids in batches:
        images += len(ids)
        for chip in numbers:
            with under(model, Condition("simulated", chip=chip)):
                raised, calls = _path(model, moved((inputs, targets, ids), model.device))
                increase += raised / len(numbers)
                for name, layer in layers.items():
                    found = [_share(model, ids, calls, layer, fields) for fields in asked[name]]
                    shares[name] += np.array(found) / len(numbers)
    positions, left, rest = {}, list[Change](), {}
    for name, layer in layers.items():
        each, first, tried = shares[name] / images, layer.macro.digital_levels, len(_digital(layer))
        # what is left with 0, 1, 2, ... digital positions; one conversion of all bits is digital as a whole
        levels = np.zeros(layer.transfer.bit_positions + 1)
        levels[:first] = each[0]
        levels[first : first + tried + 1] = each[: tried + 1]
        positions[name] = tuple(map(float, (levels[:-1] - levels[1:])[::-1]))
        if levels[-1]:
            rest[name] = float(levels[-1])
        left += [Change(name, *found) for found in zip(asked[name][1:], map(float, each[1:]), strict=True)]
    return LossMap(positions, increase / images, None, images, rest, tuple(left))


def _path(model: CimModule, batch: Any) -> tuple[float, list[_Call]]:
    """How much the macro raises the loss of a batch; and the calls of layers, in order, with gradients along the path
    from the quantised network to the simulated one. The network is simulated before and after."""
    calls = list[_Call]()
    point, left = 0.0, iter(calls)  # on the path, and the calls that come next there
    shifts = dict[_Call, Tensor]()

    def loss() -> Tensor:
        outputs, targets, ids = model.answered(batch)
        found: Tensor = model.outcome.mean_loss(outputs, targets)
        return found * len(ids)

    def keep(layer: OnMacro, arguments: tuple[Any, ...], named: dict[str, Any], y: Tensor) -> None:
        if not layer.by_row:
            exact = computed(layer, "quantized", arguments, named)
            calls.append(_Call(layer, arguments, named, exact, y - exact, torch.zeros(())))

    def add(layer: OnMacro, arguments: tuple[Any, ...], named: dict[str, Any], y: Tensor) -> Tensor:
        if layer.by_row:
            exact, error = y.detach(), computed(layer, "simulated", arguments, named) - y.detach()
            call = _Call(layer, tuple(each.detach() for each in arguments), named, exact, error, torch.zeros(()))
            shifts[call] = torch.zeros_like(error).requires_grad_()
        else:
            call = next(left)
        return y + point * call.error + shifts[call]

    with torch.no_grad():
        with hooked(model, keep):
            simulated = loss()
        model.fidelity = "quantized"
        increase = float(simulated - loss())
    same = {call: torch.zeros_like(call.error).requires_grad_() for call in calls}
    with torch.enable_grad(), hooked(model, add), ExitStack() as after:
        for quantized in quantized_layers(model.backbone).values():
            quantized.has_gradient = True
            after.callback(delattr, quantized, "has_gradient")  # else keys of trials would include it
        for node, weight in zip(*np.polynomial.legendre.leggauss(POINTS), strict=True):
            point, left, shifts = 0.5 * (1.0 + node), iter(same), dict(same)
            found = torch.autograd.grad(loss(), [*shifts.values()], materialize_grads=True)
            for call, gradient in zip(shifts, found, strict=True):
                call.gradient = call.gradient + 0.5 * weight * gradient
            calls += [call for call in shifts if call not in same]
    model.fidelity = "simulated"  # after an error, `under` restores it
    return increase, calls


@torch.no_grad()
def computed(layer: OnMacro, fidelity: str, arguments: tuple[Any, ...], named: dict[str, Any]) -> Tensor:
    """A layer's output at another fidelity, without its hooks."""
    before, layer.fidelity = layer.fidelity, fidelity
    with routing_paused():  # as in the layer's call
        y: Tensor = layer.forward(*arguments, **named)
    layer.fidelity = before
    return y


@torch.no_grad()
def _share(model: CimModule, ids: Tensor, calls: Iterable[_Call], layer: OnMacro, fields: Fields) -> float:
    """The share of a layer with changed fields, for the inputs of its calls."""
    before, found = layer.assignment, 0.0
    layer.assignment = before.ruled_by(fields)
    with noise_context(model.noise_seed, model.trial, ids, model.chip):
        for call in calls:
            if call.layer is layer:
                error = layer.forward(*call.arguments, **call.named) - call.exact  # arguments are transformed already
                found += float((call.gradient.double() * error.double()).sum())
    layer.assignment = before  # after an error, `under` restores it
    return found


@contextmanager
def hooked(model: CimModule, call: Callable[..., Tensor | None]) -> Iterator[None]:
    """Call a function after each call of a layer; a returned tensor replaces the layer's output."""
    with ExitStack() as hooks:
        for layer in macro_layers(model.backbone).values():
            hooks.enter_context(layer.register_forward_hook(call, with_kwargs=True))
        yield


def _digital(layer: OnMacro) -> list[Fields]:
    """The layer with more and more digital positions, the most significant first, without its present ones."""
    macro = layer.macro
    if macro.weight_parallel:
        return []
    levels = range(macro.digital_levels + 1, layer.transfer.bit_positions + 1)
    return [{"digital_levels": level, "digital_adc": False} for level in levels]
