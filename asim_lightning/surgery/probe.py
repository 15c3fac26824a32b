"""One forward pass that shows what a conversion needs: the layers in their order, their inputs and multiplications."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from asim_lightning.nn import PACT
from asim_lightning.nn.inputs import Inputs, batch_size, moved, some_of, tensors_of
from asim_lightning.nn.layer_kinds import TORCH_LAYERS, kind_of
from asim_lightning.surgery.flow import Flow, Outside
from asim_lightning.surgery.provenance import Provenance
from asim_lightning.surgery.watch import Call, Watch, Watcher, run_watched

Seen = TypeVar("Seen")
_SIZES = (224, 32, 28, 64, 96, 128, 256, 299)
_EXAMPLE = "asim_example"
"""Attribute of a converted network: its input, see `keep_example_`. Copies and pickled networks have it, too."""


@dataclass(frozen=True)
class Operand:
    """Facts about an input of a product."""

    origin: str | None = None
    """Name of the activation that makes it non-negative, see `Provenance`; None if it may be negative."""
    sees_image: bool = True
    """Whether it depends on the network's input."""
    is_score: bool = False
    """Whether it comes from a softmax."""
    repeats: bool = True
    """Whether its rows grow with the batch."""

    def and_(self, other: "Operand") -> "Operand":
        """Facts that hold for the inputs of both calls."""
        return Operand(
            None if other.origin is None else self.origin,
            self.sees_image or other.sees_image,
            self.is_score and other.is_score,
            self.repeats or other.repeats,
        )


@dataclass(frozen=True)
class Sighting:
    """Facts about a layer."""

    input: Operand
    reads_image: bool
    """Whether its input is the image itself, in pixels or patches."""
    macs: int = 0
    """Multiplications for one sample, of all calls."""
    upstream: frozenset[str] = frozenset()
    """Layers that its input is computed from."""


@dataclass(frozen=True)
class FunctionProduct:
    """A product that a module's forward makes by a function call.

    Attributes:
        call: The module that makes it, and the product's number.
        a: First operand of ``a @ b``.
        b: Second operand.
        batched: Whether the second operand has the leading dimensions of the first.
        layer: The linear layer with the second operand as its weight.
        macs: Multiplications for one sample, of all forwards of the module.
        matrices: Number of matrices of the second operand.
        grouped: Whether rows of the first operand belong to matrices of the second, as rows of experts do.
        softmaxed: Whether the result goes into a softmax.
        is_weight: Whether the result is the weight of a convolution.
    """

    call: Call
    a: Operand
    b: Operand
    batched: bool
    layer: str | None = None
    macs: int = 0
    matrices: int = 1
    grouped: bool = False
    softmaxed: bool = False
    is_weight: bool = False


class Probe(Watcher):
    """A run of a network, which `probe` makes.

    Args:
        layers: Its convolutions and linear layers by full name.
        example: Its inputs. # (batch, ...) each

    Attributes:
        layers: Layers that ran, by full name, in the order in which they first ran.
        products: Function products, by full name of their module and in the order of its calls; products with the
            weight of a linear layer are among the layers too.
        order: Names of layers and calls of function products, in the order in which they first ran.
        others: Multiplications for one sample of modules that are not layers, by full name.
        functions: Names of the functions that multiply in these modules.
        uncounted: Names of operators that may multiply, nobody knows how often, by full name of their module.
        outside: Multiplications by element of modules that are not layers; None if there are none.
        last: Layers after which no other layer or product computes the output.
        with_more: Layers that were called with more than their input.
        uneven: Modules that made other products in another call.
        calls: How often each layer and each function product was computed.
        output: Output of the network.
    """

    flow: Flow

    def __init__(self, layers: Mapping[str, nn.Module], example: Inputs) -> None:
        self.layers: dict[str, Sighting] = {}
        self.products: dict[str, list[FunctionProduct]] = {}
        self.order: dict[str | Call, None] = {}
        self.others: dict[str, int] = {}
        self.functions: dict[str, str] = {}
        self.uncounted: dict[str, str] = {}
        self.outside: Outside | None = None
        self.last: set[str] = set()
        self.with_more: set[str] = set()
        self.uneven: set[str] = set()
        self.calls: Counter[str | Call] = Counter()
        self.output: Any = None
        self.provenance = Provenance()
        self._linears = {f"{name}.weight" for name, layer in layers.items() if isinstance(layer, nn.Linear)}
        self._batch = max(1, batch_size(example))
        self._made: dict[Call, FunctionProduct] = {}

    def calls_on(self, layer: str) -> set[Call]:
        """Function calls on the weight of a linear layer."""
        return {made.call for products in self.products.values() for made in products if made.layer == layer}

    def activation(self, name: str) -> Callable[..., None]:
        """A hook that marks the output of an activation as non-negative."""
        return lambda module, inputs, output: self.provenance.mark(output, name)

    def layer(self, name: str, x: Tensor, y: Tensor) -> None:
        """Record a layer's input, and the origin of its output."""
        self._note(name, x)
        self.flow.after_layer(name, x, y)

    def before_product(self, call: Call, a: Tensor, b: Tensor) -> None:
        """Let the multiplications of the product be counted."""
        self.flow.product = call

    def product(self, call: Call, a: Tensor, b: Tensor, y: Tensor) -> None:
        """Record a product's operands, and the origin of its result."""
        self.flow.product = None
        weight = call.weight or ""
        layer = weight.removesuffix(".weight") if call.whole and weight in self._linears else None
        if layer is not None:
            self._note(layer, a)
        else:
            self.order.setdefault(call)
            self.calls[call] += 1
        new = FunctionProduct(
            call, self._operand(a), self._operand(b), b.dim() > 2, layer, 0, b.shape[:-2].numel(), b.dim() > a.dim()
        )
        before = self._made.get(call)
        if before is not None:
            new = replace(new, a=new.a.and_(before.a), b=new.b.and_(before.b))
        twins = [each for each in self._made if (each.owner, each.number) == (call.owner, call.number)]
        if (before is not None and before.batched != new.batched) or any(each != call for each in twins):
            self.uneven.add(call.owner)
        self._made[call] = new
        self.flow.after_product(call, a, b, y, layer)

    def count(self) -> None:
        """Add multiplications for one sample, once the network has run."""
        macs = self.flow.macs
        for name, sighting in self.layers.items():
            share = macs.pop(name, 0) + sum(macs[call] for call, made in self._made.items() if made.layer == name)
            self.layers[name] = replace(sighting, macs=self._a_sample(share, sighting.input.repeats))
        for call, made in self._made.items():
            share = self._a_sample(macs.pop(call, 0), made.a.repeats or made.b.repeats)
            softmaxed, is_weight = call in self.flow.softmaxed, call in self.flow.weights
            product = replace(made, macs=share, softmaxed=softmaxed, is_weight=is_weight)
            self.products.setdefault(call.owner, []).append(product)
        self.others = {str(name): count // self._batch for name, count in macs.items() if count}
        self.functions, self.uncounted = (
            {str(name): ", ".join(sorted(made)) for name, made in names.items()}
            for names in (self.flow.functions, self.flow.uncounted)
        )
        for (operator, module), _ in self.flow.elements.most_common(1):
            count = self.flow.elements.total() // self._batch
            self.outside = Outside(count, operator, module) if count else None

    def _note(self, name: str, x: Tensor) -> None:
        self.order.setdefault(name)
        self.calls[name] += 1
        # a linear layer on flat images is no stem: it sees each image as a whole
        new = Sighting(self._operand(x), self.flow.is_image(x) and x.dim() > 2, 0, self.flow.upstream(x))
        before = self.layers.get(name)
        if before is not None:  # called twice: unsigned only if both inputs are
            both = before.upstream | new.upstream
            new = Sighting(new.input.and_(before.input), new.reads_image and before.reads_image, 0, both)
        self.layers[name] = new

    def _operand(self, x: Tensor) -> Operand:
        sees_image = self.flow.sees_image(x)
        # a result that depends on no image may still be computed for each image
        repeats = sees_image or x.shape[0] == self._batch
        return Operand(self.provenance.origin(x), sees_image, self.flow.is_score(x), repeats)

    def _a_sample(self, macs: int, repeats: bool) -> int:
        return macs // self._batch if repeats else macs


def probe(model: nn.Module, layers: Mapping[str, nn.Module], example: Inputs) -> Probe:
    """Run the network once, in evaluation, and record its layers and products."""
    seen = Probe(layers, example)
    watch = Watch(model, layers, seen)
    # cuDNN computes the gates of a recurrent layer inside of one operator, and a CPU some of them by multiplications
    recurrent = {name for name, module in model.named_modules() if isinstance(module, nn.RNNBase)}
    seen.flow = Flow(tensors_of(example), lambda: watch.running, watch.own | recurrent)
    hooks = [
        module.register_forward_hook(seen.activation(name))
        for name, module in model.named_modules()
        if isinstance(module, PACT) or type(module) is nn.ReLU
    ]
    seen.output = run_watched(model, example, [watch, seen.provenance, seen.flow], [*watch.hooks, *hooks])
    seen.count()
    seen.last, seen.with_more = seen.flow.last_layers(seen.output), watch.with_more
    return seen


def on_example(model: nn.Module, example: Inputs | None, run: Callable[[Inputs], Seen]) -> Seen:
    """Result of `run` on an example. Default: the example that the network keeps; else a random example of the size in
    the network's configuration, or of the first common size on which the network runs."""
    example = kept_example(model) if example is None else example
    if example is not None:
        return run(example)
    error: Exception | None = None
    for shape in _common_shapes(model):
        try:
            return run(_random(model, shape))
        except ValueError as failure:
            error = failure
    raise ValueError(f"The network ran on no common input size; pass an example input ({error})")


def keep_example_(model: nn.Module, example: Inputs) -> None:
    """Store the first sample of an example in the network on which it was converted; of images only the shape."""
    is_one = isinstance(example, Tensor) and example.is_floating_point()
    kept = torch.Size((1, *example.shape[1:])) if is_one else tree_map(_copied, some_of(example, slice(1)))
    setattr(model, _EXAMPLE, kept)


def _copied(x: Any) -> Any:
    return x.detach().cpu().clone() if isinstance(x, Tensor) else x


def kept_example(model: nn.Module) -> Inputs | None:
    """An input on which the network was converted, random if it is an image; None if it is not converted as a whole."""
    kept = getattr(model, _EXAMPLE, None)
    if isinstance(kept, torch.Size):
        return _random(model, kept)
    return None if kept is None else moved(kept, next((p.device for p in model.parameters()), torch.device("cpu")))


def _random(model: nn.Module, shape: Sequence[int]) -> Tensor:
    reference = next(model.parameters(), torch.zeros(()))
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(reference)


def _common_shapes(model: nn.Module) -> list[tuple[int, ...]]:
    """Shapes of inputs that a network may take, the likeliest first."""
    first: Any = next((m for m in model.modules() if isinstance(m, TORCH_LAYERS)), None)
    if isinstance(first, nn.Linear):
        return [(1, first.in_features), (1, 1, first.in_features)]
    size = network_config(model).get("input_size")
    embedding: Any = getattr(getattr(model, "patch_embed", None), "img_size", None)
    sizes = [tuple(embedding)] if embedding else [tuple(size[1:])] if size else []
    sizes += [(s, s) for s in _SIZES]
    # a first convolution may read pixels that were moved into channels
    channels = dict.fromkeys([] if first is None else [first.in_channels])
    channels |= dict.fromkeys([size[0]] if size else [3])
    kind = None if first is None else kind_of(first)
    return [(1, count, *s[: 2 if kind is None else kind.axes - 2]) for count in channels for s in sizes]


def configured_layers(model: nn.Module, key: str) -> tuple[str, ...]:
    """Layer names that timm's pretrained_cfg gives for "first_conv" or "classifier"; empty if there are none."""
    value = network_config(model).get(key)
    names = (value,) if isinstance(value, str) else tuple(value or ())
    modules = dict(model.named_modules())
    return tuple(name for name in names if isinstance(modules.get(name), TORCH_LAYERS))


def network_config(model: nn.Module) -> dict[str, Any]:
    """timm's pretrained_cfg as a mapping; empty for other networks."""
    value = getattr(model, "pretrained_cfg", None) or getattr(model, "default_cfg", None) or {}
    return dict(value) if isinstance(value, dict) else vars(value)
