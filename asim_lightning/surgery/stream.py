"""The residual stream of a network, found in one run: what writes it, and the norms and linear layers that read it."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

from asim_lightning.nn.inputs import Inputs
from asim_lightning.surgery.watch import run_watched

_SUMS = ("add", "add_", "sub", "sub_")
_SCALED = ("mul", "mul_", "div", "div_")
_COPIES = ("clone", "_to_copy", "cat", "index", "index_select", "stack", "dropout", "native_dropout")
_VIEWS = (
    "detach", "alias", "view", "_unsafe_view", "_reshape_alias", "expand", "slice", "select", "unsqueeze", "squeeze",
    "permute", "transpose", "split", "unbind", "chunk", "lift_fresh",
)  # fmt: skip
_MOVES = (*_VIEWS, "clone", "_to_copy", "repeat", "repeat_interleave", "index_select", "index")
_PRODUCTS = ("mm", "bmm", "addmm", "baddbmm", "_softmax", "_safe_softmax")
_ROWS = 4


@dataclass(frozen=True)
class LinearPlace:
    """A module that computes a product with its weight, plus its bias if it has one."""

    name: str
    """Full name."""
    inputs_first: bool
    """Whether the weight is (inputs, outputs), as in GPT-2; else it is (outputs, inputs), as in torch.nn.Linear."""


@dataclass(frozen=True)
class Reader:
    """A linear layer that reads the stream, through a norm or directly."""

    linear: LinearPlace
    norm: str = ""
    """Full name of the norm before it; empty if there is none."""


@dataclass(frozen=True)
class Attention:
    """The two linear layers around the product of scores and values."""

    value: LinearPlace
    """Makes the values of all heads."""
    out: LinearPlace
    """Reads the outputs of all heads."""
    width: int
    """Length of a value of one head."""


@dataclass(frozen=True)
class Stream:
    """A residual stream: the sums of vectors that a network's blocks read and add to."""

    width: int
    """Length of a vector."""
    tables: tuple[str, ...]
    """Full names of parameters whose rows are added to the stream: embeddings."""
    writers: tuple[LinearPlace, ...]
    """Linear layers whose outputs are added to the stream."""
    readers: tuple[Reader, ...]
    """Linear layers that read the stream, in the order in which they run."""
    hidden: tuple[LinearPlace, ...]
    """Writers whose input follows from other linear layers by elementwise functions, such as the last layer of an
    MLP."""
    attentions: tuple["Attention", ...]
    """Attentions that add to the stream, and whose values are the output of a linear layer."""


def find_stream(model: nn.Module, example: Inputs) -> Stream:
    """The residual stream of a network, which runs once on the example, in evaluation.

    Tensors are followed through sums, views and scaling by a number, not by names.

    Raises:
        ValueError: There is none, something else than embeddings, norms and linear layers uses it, or a module with
            parameters does not run on the example.
    """
    trace = _Trace(model)
    trace.used(run_watched(model, example, [trace], trace.hooks), "the output")
    groups: dict[int, _Group] = {}
    for number, event, name in trace.events:
        group = groups.setdefault(trace.root(number), _Group({}, {}, {}))
        getattr(group, event).setdefault(name)
    found = [group for group in groups.values() if any(trace.is_table(name) for name in group.writes)]
    norms = [sum(trace.norm_width(name) > 0 for name in group.reads) for group in found]
    if not any(norms):
        raise _unknown("no norm reads a sum of embeddings")
    stream = _stream(trace, groups, found[norms.index(max(norms))])
    if trace.idle:  # on other inputs, it may read or write the stream
        raise ValueError(
            f"`plan.rotate` needs an example that reaches every layer, and `{next(iter(trace.idle))}` did not run"
        )
    return stream


def _stream(trace: "_Trace", groups: Mapping[int, "_Group"], group: "_Group") -> Stream:
    """The stream of a group of tensors, if rotations pass through all that writes and reads it."""
    width = next(width for name in group.reads if (width := trace.norm_width(name)))
    if group.used:
        raise _unknown(f"`{next(iter(group.used))}` uses it, too")
    if strange := [name for name in group.writes if not trace.is_table(name) and trace.linear(name) is None]:
        raise _unknown(f"`{strange[0]}` writes it, and is neither an embedding nor a linear layer")
    readers: list[Reader] = []
    for name in group.reads:
        linear, norm = trace.linear(name), ""
        if linear is not None:
            readers.append(Reader(linear))
            continue
        if trace.norm_width(name) != width:
            raise _unknown(f"`{name}` reads it, and is neither a norm nor a linear layer")
        norm = name
        outputs = [each for each in groups.values() if norm in each.writes]
        behind = {each: trace.linear(each) for output in outputs for each in output.reads}
        strange = [each for output in outputs for each in (*output.used, *output.writes) if each != norm]
        strange += [each for each, place in behind.items() if place is None]
        if strange:
            raise _unknown(f"`{strange[0]}` uses the output of `{norm}`, too")
        readers += [Reader(place, norm) for place in behind.values() if place is not None]
    places = [place for name in group.writes if (place := trace.linear(name)) is not None]
    pasts = {place: trace.pasts.get(place.name, _Past()) for place in places}
    hidden = [place for place, past in pasts.items() if past.layers and not past.mixed]
    tables = [trace.table(name) for name in group.writes if trace.is_table(name)]
    attentions = _attentions(trace, pasts, {reader.linear for reader in readers})
    return Stream(width, tuple(tables), tuple(places), tuple(readers), tuple(hidden), attentions)


def _attentions(
    trace: "_Trace", pasts: Mapping[LinearPlace, "_Past"], readers: Collection[LinearPlace]
) -> tuple[Attention, ...]:
    found = []
    for out, past in pasts.items():
        value = trace.linear(past.value[0]) if past.value is not None and past.is_view else None
        if value is not None and value in readers and past.value is not None:
            found.append(Attention(value, out, past.value[1]))
    # values that several layers read would need one rotation for all
    counts = Counter(attention.value for attention in found)
    return tuple(attention for attention in found if counts[attention.value] == 1)


def _unknown(why: str) -> ValueError:
    return ValueError(
        "`plan.rotate` needs a residual stream that only embeddings and linear layers write, and only norms and linear "
        f"layers read, and here {why}; set it to null"
    )


@dataclass(frozen=True)
class _Group:
    """Names of what writes, reads and otherwise uses tensors that are sums and views of each other, in order."""

    writes: dict[str, None]
    reads: dict[str, None]
    used: dict[str, None]


@dataclass(frozen=True)
class _Past:
    """Facts about a tensor."""

    layers: frozenset[str] = frozenset()
    """Modules with parameters that it is computed from, with no other such module in between."""
    mixed: bool = False
    """Whether a product or softmax is in between."""
    is_view: bool = False
    """Whether it has the numbers of that module's output, or of the product of scores and values, in another order."""
    value: tuple[str, int] | None = None
    """The module that makes the values of that product, and the length of one; None if it is no such product."""


class _Trace(TorchDispatchMode):
    """While active, groups tensors that are sums and views of each other.

    A place is a module with parameters and without children, such as a layer or a norm; what happens inside it is not
    followed. A parameter of another module is a place, too, which writes.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.events: list[tuple[int, str, str]] = []
        """Group, event (writes, reads or used) and name, in order."""
        self.pasts: dict[str, _Past] = {}
        """Past of the last input of each place."""
        self._parents: list[int] = []
        self._groups = WeakTensorKeyDictionary()
        self._tensor_pasts = WeakTensorKeyDictionary()
        self._running: list[str] = []
        self._inside = 0
        self._calls: dict[str, tuple[Tensor, Tensor]] = {}
        self._linears: dict[str, LinearPlace | None] = {}
        modules = dict(model.named_modules())
        own = {name: dict(module.named_parameters(recurse=False)) for name, module in modules.items()}
        self._places = {n: m for n, m in modules.items() if own[n] and not list(m.children())}
        self.idle = {n: None for n, m in modules.items() if own[n] and type(m).forward is not nn.Module.forward}
        """Modules with parameters that did not run yet, by full name; a ParameterList has no forward."""
        self._parameters: dict[str, Tensor] = {
            f"{name}.{leaf}" if name else leaf: parameter
            for name, parameters in own.items()
            if name not in self._places
            for leaf, parameter in parameters.items()
        }
        for name, parameter in self._parameters.items():
            self._new(parameter, name, _Past())
        self.hooks: list[Any] = []
        for name, module in modules.items():
            self.hooks.append(module.register_forward_pre_hook(partial(self._enter, name), with_kwargs=True))
            self.hooks.append(module.register_forward_hook(partial(self._leave, name), with_kwargs=True))

    def root(self, number: int) -> int:
        """The number that stands for all groups joined with a group."""
        while self._parents[number] != number:
            number = self._parents[number]
        return number

    def used(self, values: Any, by: str) -> None:
        """Record that something else than a place uses tensors."""
        for x in self._known(values):
            self.events.append((self._groups[x], "used", by))

    def is_table(self, name: str) -> bool:
        """Whether a writer is an embedding or a parameter of its own."""
        return name in self._parameters or isinstance(self._places.get(name), nn.Embedding)

    def table(self, name: str) -> str:
        """Full name of the parameter of such a writer."""
        return name if name in self._parameters else f"{name}.weight"

    def norm_width(self, name: str) -> int:
        """Length of a norm's gain; 0 if a place is no norm: it has a gain for each channel, and at most a bias."""
        parameters = dict(self._places[name].named_parameters(recurse=False)) if name in self._places else {}
        gain = parameters.get("weight")
        if gain is None or not set(parameters) <= {"weight", "bias"} or any(p.dim() != 1 for p in parameters.values()):
            return 0
        return gain.numel()

    def linear(self, name: str) -> LinearPlace | None:
        """A place as a linear layer, if its output on the example is the product with its weight; else None."""
        if name not in self._linears:
            self._linears[name] = self._as_linear(name)
        return self._linears[name]

    def _as_linear(self, name: str) -> LinearPlace | None:
        parameters = dict(self._places[name].named_parameters(recurse=False)) if name in self._places else {}
        weight, bias = parameters.get("weight"), parameters.get("bias")
        if weight is None or weight.dim() != 2 or not set(parameters) <= {"weight", "bias"} or name not in self._calls:
            return None
        x, y = self._calls[name]
        for inputs_first in (False, True):
            w = weight.detach().t() if inputs_first else weight.detach()
            if w.shape != (y.shape[-1], x.shape[-1]):
                continue
            expected = F.linear(x, w, None if bias is None else bias.detach())
            if float((expected - y).abs().max()) <= 1e-3 * float(y.abs().max()):
                return LinearPlace(name, inputs_first)
        return None

    def _enter(self, name: str, module: nn.Module, args: Any, kwargs: Any) -> None:
        self._running.append(name)
        self.idle.pop(name, None)
        if name not in self._places:
            return
        self._inside += 1
        for x in self._known((args, kwargs)):
            self.events.append((self._groups[x], "reads", name))
            self.pasts[name] = self._tensor_pasts[x]

    def _leave(self, name: str, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        self._running.pop()
        if name not in self._places:
            return
        self._inside -= 1
        inputs = (*args, *kwargs.values())
        for y in _floats(output):
            self._new(y, name, _Past(frozenset([name]), is_view=True))
            if len(inputs) == 1 and isinstance(inputs[0], Tensor) and inputs[0].is_floating_point() and y.dim():
                rows = (each.detach().reshape(-1, each.shape[-1])[:_ROWS].clone() for each in (inputs[0], y))
                self._calls[name] = next(rows), next(rows)

    def _known(self, values: Any) -> list[Tensor]:
        return [x for x in _floats(values) if x in self._groups]

    def _new(self, y: Tensor, writer: str, past: _Past) -> None:
        """Put a tensor into a group of its own."""
        number = len(self._parents)
        self._parents.append(number)
        self._groups[y], self._tensor_pasts[y] = number, past
        self.events.append((number, "writes", writer))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        given, known = _floats((args, kwargs)), self._known((args, kwargs))
        if self._inside or not known:
            return result
        function = func.__name__.split(".")[0]
        past, made = self._past(function, args, known), _floats(result)
        if made and all(_passes(function, given, known, y) for y in made):
            for x in known[1:]:
                self._parents[self.root(self._groups[x])] = self.root(self._groups[known[0]])
            for y in made:
                self._groups[y], self._tensor_pasts[y] = self._groups[known[0]], past
            return result
        place = f"{function} in {(self._running or [''])[-1] or 'the network'}"
        if made:
            self.used(known, place)
        for y in made:
            self._new(y, place, past)
        return result

    def _past(self, function: str, args: Any, known: list[Tensor]) -> _Past:
        """Past of the result of a function."""
        pasts: list[_Past] = [self._tensor_pasts[x] for x in known]
        layers, is_fused = frozenset[str]().union(*(past.layers for past in pasts)), "attention" in function
        if function in _MOVES and len(pasts) == 1:
            return pasts[0]
        value = args[2] if is_fused else args[1] if function == "bmm" else None
        if value is not None and all(x in self._groups for x in args[: 3 if is_fused else 2]):
            past, others = self._tensor_pasts[value], [self._tensor_pasts[x] for x in args[: 2 if is_fused else 1]]
            # a layer that makes queries and keys, too, rotates these as well, which no product sees if nothing
            # happens in between
            is_apart = not any(past.layers & other.layers for other in others)
            is_same = is_fused and all(other == past for other in others)
            is_scored = is_fused or others[0].mixed
            if is_scored and (is_apart or is_same) and past.is_view and past.value is None and len(past.layers) == 1:
                return _Past(layers, True, True, (min(past.layers), value.shape[-1]))
        return _Past(layers, any(past.mixed for past in pasts) or is_fused or function in _PRODUCTS)


def _floats(values: Any) -> list[Tensor]:
    return [x for x in tree_leaves(values) if isinstance(x, Tensor) and x.is_floating_point()]


def _passes(function: str, given: list[Tensor], known: list[Tensor], y: Tensor) -> bool:
    """Whether a rotation of each vector of the known tensors is the same rotation of each vector of the result."""
    if any(x.dim() == 0 or x.shape[-1] != y.shape[-1] for x in known):
        return False
    numbers = [x for x in given if x.dim() == 0]
    if function in _SUMS:
        return len(given) == len(known) > 1
    if function in _SCALED:
        return len(known) == 1 and len(given) == 1 + len(numbers)
    if function in _COPIES:
        return len(given) == len(known)
    return function in _VIEWS and all(x.stride(-1) == y.stride(-1) for x in known)
