"""Rotation of the residual stream: large numbers of few channels are spread over all, and the network stays the same.

Each vector x of the stream becomes Q x with an orthogonal matrix Q. Embeddings and the layers that write the stream get
Q, the layers that read it the inverse, and the gains of the norms between become part of these layers. Q keeps the mean
of a vector and its length, so LayerNorm and RMSNorm without a gain give the rotated result.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from asim_lightning.nn.calibration import quantized_layers
from asim_lightning.nn.hadamard import hadamard, input_transform, largest_block, transform_inputs_
from asim_lightning.nn.inputs import Inputs
from asim_lightning.surgery.plan import ROTATIONS
from asim_lightning.surgery.probe import on_example
from asim_lightning.surgery.stream import LinearPlace, Stream, find_stream
from asim_lightning.surgery.watch import relative_difference, run_watched

MARK = "asim_rotation"
"""Buffer of a rotated network, and so a key of its state dict: 1 or 2 for its place in `ROTATIONS`."""
_TOLERANCE = 1e-4
_KEPT = 4096
_Answers: TypeAlias = tuple[list[tuple[str, Tensor, float]], Any]


@dataclass(frozen=True)
class Rotation:
    """A network's residual stream, and how it is rotated; as text, one line."""

    stream: Stream
    kind: str
    """One of `ROTATIONS`."""
    untied: tuple[tuple[str, str], ...]
    """Names of a parameter that two modules share before, and not after."""
    example: Inputs = field(repr=False, compare=False)
    """Input of the runs that are compared."""

    def __str__(self) -> str:
        stream = self.stream
        said = (
            f"residual stream of {stream.width} numbers rotated: {len(stream.readers)} layers read it, "
            f"{len(stream.writers)} write it"
        )
        if stream.attentions:
            said += f"; values of {len(stream.attentions)} attentions rotated"
        return said + "".join(f"; `{second}` no longer shares `{first}`" for first, second in self.untied)

    @property
    def transforms(self) -> tuple[LinearPlace, ...]:
        """Layers that get a Hadamard transform of their input."""
        return self.stream.hidden if self.kind == "hadamard" else ()

    @property
    def weights(self) -> tuple[str, ...]:
        """Full names of all weights that change."""
        stream = self.stream
        modules = [place.name for place in (*(reader.linear for reader in stream.readers), *stream.writers)]
        norms = [reader.norm for reader in stream.readers if reader.norm]
        return tuple(dict.fromkeys([*stream.tables, *(f"{name}.weight" for name in (*modules, *norms))]))


def find_rotation(model: nn.Module, kind: str, example: Inputs | None = None) -> Rotation:
    """Find what a rotation changes; the network runs once, in evaluation.

    Raises:
        ValueError: The network has no stream that can be rotated, or does not run on the example.
    """

    def found(given: Inputs) -> Rotation:
        rotation = Rotation(find_stream(model, given), kind, (), given)
        parameters, first = dict(model.named_parameters(remove_duplicate=False)), dict[int, str]()
        pairs = [(first.setdefault(id(parameters[name]), name), name) for name in rotation.weights]
        return replace(rotation, untied=tuple(pair for pair in pairs if pair[0] != pair[1]))

    return on_example(model, example, found)


def rotate_(model: nn.Module, rotation: Rotation) -> Callable[[], None]:
    """Rotate a network in place, and return a function that undoes it.

    The network must compute the same: the outputs of all layers that read the stream, and of the network, may differ by
    1e-4 of the largest number. A state dict from before the rotation is rotated when it is loaded; layers whose inputs
    the rotation changes then have no calibrated range.

    Raises:
        ValueError: A layer or the network would compute something else. The network is unchanged then.
    """
    # outputs that are rotated themselves are compared where the stream is read next
    turned = {each.value.name for each in rotation.stream.attentions} | {each.name for each in rotation.stream.writers}
    readers = [reader.linear.name for reader in rotation.stream.readers]
    names = [name for name in dict.fromkeys(readers) if name not in turned]
    expected = _answers(model, names, rotation.example)
    before = dict(model.named_parameters(remove_duplicate=False))
    new = rotated({name: parameter.detach() for name, parameter in before.items()}, rotation)
    for name, value in new.items():
        _set(model, name, nn.Parameter(value, before[name].requires_grad))
    undone = [transform_inputs_(model.get_submodule(place.name)) for place in rotation.transforms]
    undone.append(_keep_untied_(model, rotation))
    number = 1 + ROTATIONS.index(rotation.kind)
    model.register_buffer(MARK, torch.tensor(number, dtype=torch.uint8, device=next(iter(new.values())).device))
    kept = replace(rotation, example=None)
    undone.append(model.register_load_state_dict_pre_hook(partial(_rotate_loaded, kept)).remove)  # is pickled

    def undo() -> None:
        for each in undone:
            each()
        delattr(model, MARK)
        for name in new:
            _set(model, name, before[name])

    try:
        _check(expected, _answers(model, names, rotation.example))
    except BaseException:
        undo()
        raise
    return undo


def rotated(tensors: Mapping[str, Tensor], rotation: Rotation, prefix: str = "") -> dict[str, Tensor]:
    """The parameters that a rotation changes, rotated in float64 and rounded once, by full name.

    Args:
        tensors: All parameters, by a prefix and their full name.
        rotation: The rotation.
        prefix: What the names begin with.
    """
    stream, new = rotation.stream, _Parameters(tensors, prefix)
    for table in stream.tables:
        new[table] = new.turned(new[table])
    for norm in dict.fromkeys(reader.norm for reader in stream.readers):
        _take_gain(new, norm, [reader.linear for reader in stream.readers if reader.norm == norm])
    for place in dict.fromkeys(reader.linear for reader in stream.readers):
        new.put(place, new.turned(new.weight(place)))
    for place in stream.writers:
        new.put(place, new.turned(new.weight(place).t()).t())
        if (bias := f"{place.name}.bias") in new:
            new[bias] = new.turned(new[bias])
    for attention in stream.attentions:
        value, width = attention.value, attention.width
        new.put(value, new.turned(new.weight(value).t(), width).t())
        if (bias := f"{value.name}.bias") in new:
            new[bias] = new.turned(new[bias], width)
        new.put(attention.out, new.turned(new.weight(attention.out), width))
    for place in rotation.transforms:
        weight = new.weight(place)
        new.put(place, new.times(weight, _hadamard, largest_block(weight.shape[-1])))
    return new.rounded()


class _Parameters:
    """Parameters by full name, in float64 as soon as they are read; those that were written are rotated."""

    def __init__(self, tensors: Mapping[str, Tensor], prefix: str) -> None:
        self._tensors, self._prefix = tensors, prefix
        self._new: dict[str, Tensor] = {}
        self._matrices: dict[tuple[Callable[[int], Tensor], int], Tensor] = {}

    def __contains__(self, name: str) -> bool:
        return self._prefix + name in self._tensors

    def __getitem__(self, name: str) -> Tensor:
        if name in self._new:
            return self._new[name]
        given = self._tensors[self._prefix + name].detach()
        return given.to("cpu" if given.device.type == "mps" else given.device, torch.float64)  # mps has no float64

    def __setitem__(self, name: str, value: Tensor) -> None:
        self._new[name] = value

    def weight(self, place: LinearPlace) -> Tensor:
        """The weight of a layer. # (outputs, inputs)"""
        weight = self[f"{place.name}.weight"]
        return weight.t() if place.inputs_first else weight

    def put(self, place: LinearPlace, weight: Tensor) -> None:
        """Change the weight of a layer. # (outputs, inputs)"""
        self[f"{place.name}.weight"] = weight.t() if place.inputs_first else weight

    def turned(self, x: Tensor, width: int = 0) -> Tensor:
        """Vectors, or their parts of a width, multiplied by the rotation of that length. # (..., width)"""
        return self.times(x, _rotation, width or x.shape[-1])

    def times(self, x: Tensor, matrix: Callable[[int], Tensor], width: int) -> Tensor:
        """Parts of vectors multiplied by a matrix of their length. # (..., n width)"""
        if (matrix, width) not in self._matrices:
            self._matrices[matrix, width] = matrix(width)
        return (x.reshape(*x.shape[:-1], -1, width) @ self._matrices[matrix, width].to(x.device)).reshape(x.shape)

    def rounded(self) -> dict[str, Tensor]:
        """What was written, in the types and on the devices of the given tensors."""
        return {name: value.to(self._tensors[self._prefix + name]).contiguous() for name, value in self._new.items()}


def _take_gain(new: _Parameters, norm: str, places: list[LinearPlace]) -> None:
    """Make the gain and the bias of a norm a part of the layers that read it.

    If one of these layers has no bias, the norm keeps a bias, which is divided by the gain.
    """
    if not norm:
        return
    gain, bias = new[f"{norm}.weight"], f"{norm}.bias"
    takes_bias = bias in new and all(f"{place.name}.bias" in new for place in places)
    for place in places:
        weight = new.weight(place)
        if takes_bias:
            new[f"{place.name}.bias"] = new[f"{place.name}.bias"] + weight @ new[bias]
        new.put(place, weight * gain)
    new[f"{norm}.weight"] = torch.ones_like(gain)
    if bias in new:
        new[bias] = torch.zeros_like(gain) if takes_bias else new.turned(new[bias] / gain)


def _rotation(width: int) -> Tensor:
    """The transposed rotation, an orthogonal matrix that keeps the sum of a vector. # (width, width), float64

    With the Hadamard matrix H of a power of two and random signs D, the first of them 1, H D H is orthogonal, has
    entries of all sizes, and keeps the sum. It acts on the first numbers of a vector, and another one on the last ones.
    """
    block = 1 << (width.bit_length() - 1)
    x = torch.eye(width, dtype=torch.float64)
    for start in dict.fromkeys((0, width - block)):
        generator = torch.Generator().manual_seed(width + start)
        signs = 1.0 - 2.0 * torch.randint(2, (block,), generator=generator, dtype=torch.float64)
        signs[0] = 1.0
        x[:, start : start + block] = hadamard(hadamard(x[:, start : start + block], block) * signs, block)
    return x


def _hadamard(width: int) -> Tensor:
    return hadamard(torch.eye(width, dtype=torch.float64), width)


def _rotate_loaded(rotation: Rotation, module: Any, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Rotate a state dict from before the rotation, in place; leave one from after it, and one of another network."""
    own, mark = getattr(module, MARK), state.get(prefix + MARK)
    if mark is not None:
        if int(mark) != int(own):
            before, now = (ROTATIONS[int(number) - 1] for number in (mark, own))
            raise ValueError(f"`plan.rotate` must be {before}, because the loaded weights are rotated so, got {now}")
        return
    for first, second in rotation.untied:  # a file may have a shared parameter once
        if prefix + first in state:
            state.setdefault(prefix + second, state[prefix + first])
    parameters = dict(module.named_parameters())
    given = [state.get(prefix + name) for name in rotation.weights]
    if any(x is None or x.shape != parameters[name].shape for x, name in zip(given, rotation.weights, strict=True)):
        if all(x is None for x in given):
            return
        raise ValueError(
            "`plan.rotate` rotates the weights of a whole network when they are loaded, and the loaded weights lack "
            "some of them or have others' shapes"
        )
    state.update({prefix + name: value for name, value in rotated(state, rotation, prefix).items()})
    ranges = {f"{prefix}{name}" for name in _rotated_ranges(module, rotation)} & state.keys()
    state.update({name: torch.full_like(state[name], -1.0) for name in ranges})
    state[prefix + MARK] = own.clone()


def _rotated_ranges(model: nn.Module, rotation: Rotation) -> list[str]:
    """Full names of the ranges of all layers whose operands a rotation changes."""
    stream = rotation.stream
    linear = {reader.linear.name for reader in stream.readers} | {each.out.name for each in stream.attentions}
    layers = {
        name: layer
        for name, layer in quantized_layers(model).items()
        # one linear layer may make queries, keys and values, so the operands of all products count as changed
        if name in linear or input_transform(layer) or (stream.attentions and "weight_max" in layer.ranges)
    }
    return [f"{name}.{each}" for name, layer in layers.items() for each in layer.ranges]


def _set(model: nn.Module, name: str, parameter: nn.Parameter) -> None:
    owner, _, leaf = name.rpartition(".")
    setattr(model.get_submodule(owner), leaf, parameter)


def _keep_untied_(model: nn.Module, rotation: Rotation) -> Callable[[], None]:
    """Let `tie_weights` of transformers leave a head and an embedding that a rotation unties; return an undo."""
    configs: dict[int, Any] = {}
    for name, module in model.named_modules():
        config, prefix = getattr(module, "config", None), f"{name}." if name else ""
        is_above = any(all(each.startswith(prefix) for each in pair) for pair in rotation.untied)
        if is_above and getattr(config, "tie_word_embeddings", False):
            configs[id(config)] = config
    for config in configs.values():
        config.tie_word_embeddings = False

    def undo() -> None:
        for config in configs.values():
            config.tie_word_embeddings = True

    return undo


def _answers(model: nn.Module, names: list[str], example: Inputs) -> _Answers:
    """Some numbers and the largest of each output of some layers, in the order of their calls; and the network's."""
    seen: list[tuple[str, Tensor, float]] = []

    def keep(name: str, module: nn.Module, inputs: Any, y: Tensor) -> None:
        flat = y.detach().flatten()
        seen.append((name, flat[:: max(1, -(-len(flat) // _KEPT))].double().cpu(), float(flat.abs().max())))

    hooks = [model.get_submodule(name).register_forward_hook(partial(keep, name)) for name in names]
    return seen, run_watched(model, example, [], hooks)


def _check(expected: _Answers, found: _Answers) -> None:
    """Refuse answers that differ, and name the first layer of which they do."""
    pairs = zip(expected[0], found[0], strict=True)
    differences = [
        (f"`{name}`", float((x - y).abs().max()) / (largest or 1.0)) for (name, x, largest), (_, y, _) in pairs
    ]
    for what, difference in (*differences, ("this network", relative_difference(found[1], expected[1]))):
        if not difference <= _TOLERANCE:
            raise ValueError(
                f"`plan.rotate` would change what {what} computes, by {difference:.2g} of the largest output (allowed: "
                f"{_TOLERANCE:g}); set it to null, or convert in float32 if the network is in another type"
            )
