"""The BatchNorms of a network that can be folded into the layer before them, found in one run of the network."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

from asim_lightning.nn.inputs import Inputs
from asim_lightning.nn.layer_kinds import TORCH_LAYERS, kind_of
from asim_lightning.surgery.layers import can_fold_norm, without_statistics
from asim_lightning.surgery.probe import on_example
from asim_lightning.surgery.watch import run_watched

_SHOWN = 3


@dataclass(frozen=True)
class FoldedNorm:
    """A BatchNorm and the layer that it is folded into."""

    norm: str
    """Full name of the BatchNorm."""
    layer: str
    """Full name of the layer before it."""
    eps: float
    """The BatchNorm's epsilon, added to its variance."""
    transposed: int = 0
    """Groups of a transposed convolution, with inputs first in its weight; 0: the layer's weight has outputs first."""


@dataclass(frozen=True)
class Folding:
    """The BatchNorms of a network that are folded, and the BatchNorms that stay; as text, one line."""

    pairs: tuple[FoldedNorm, ...]
    """BatchNorms to fold."""
    kept: dict[str, str]
    """Reasons why the other BatchNorms stay, by full name."""
    example: Inputs = field(repr=False, compare=False)
    """Input of the run."""
    output: Any = field(repr=False, compare=False)
    """Output of that run, in evaluation."""

    def __str__(self) -> str:
        what = "BatchNorm folded into the layer before it"
        if len(self.pairs) > 1:
            what = "BatchNorms folded into the layers before them"
        return f"{len(self.pairs)} {what}" + (f"; {len(self.kept)} kept: {_listed(self.kept)}" if self.kept else "")


def find_folding(model: nn.Module, example: Inputs | None = None) -> Folding:
    """Find BatchNorms that are the only reader of a convolution's or linear layer's output; refuse a network without.

    The network runs once, in evaluation; readers are found by following tensors, not by names.
    """
    norms: dict[str, nn.Module] = {
        name: module for name, module in model.named_modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)
    }
    if not norms:
        raise ValueError("There is nothing to fold: `fold_batchnorm` needs a network with BatchNorm, got one without")
    wiring, example, output = on_example(model, example, partial(_wiring, model, norms))
    owners = Counter(id(p) for module in model.modules() for p in module._parameters.values() if p is not None)
    modules = dict(model.named_modules())
    names = Counter(id(module) for _, module in model.named_modules(remove_duplicate=False))
    pairs: list[FoldedNorm] = []
    kept: dict[str, str] = {}
    for name, norm in norms.items():
        layer = wiring.sources.get(name, "")
        why = _why_norm_stays(name, norm, wiring, names)
        why = why or _why_layer_stays(name, norm, layer, modules.get(layer), wiring, names, owners)
        if why:
            kept[name] = why
        else:
            transposed = modules[layer].groups if getattr(modules[layer], "transposed", False) else 0
            pairs.append(FoldedNorm(name, layer, float(norm.eps), transposed))  # type: ignore[arg-type]
    if not pairs:
        raise ValueError(f"There is nothing to fold: `fold_batchnorm` has to keep every BatchNorm, {_listed(kept)}")
    return Folding(tuple(pairs), kept, example, output)


def _listed(kept: dict[str, str]) -> str:
    shown = ", ".join(f"{name} ({why})" for name, why in list(kept.items())[:_SHOWN])
    return shown + (f" and {len(kept) - _SHOWN} more" if len(kept) > _SHOWN else "")


def _why_norm_stays(name: str, norm: nn.Module, wiring: "_Wiring", names: Counter[int]) -> str:
    if without_statistics(norm) is None:
        return f"surgery does not know {type(norm).__name__}"
    if norm.running_mean is None or norm.running_var is None:
        return "it takes the statistics of each batch"
    if norm._forward_hooks or norm._forward_pre_hooks:
        return "it has hooks"
    if names[id(norm)] > 1:
        return "it has several names"
    calls = wiring.calls[name]
    return "" if calls == 1 else f"it runs {calls} times" if calls else "it does not run"


def _why_layer_stays(
    name: str,
    norm: nn.Module,
    layer: str,
    module: nn.Module | None,
    wiring: "_Wiring",
    names: Counter[int],
    owners: Counter[int],
) -> str:
    if not isinstance(module, TORCH_LAYERS):
        return f"it is behind {layer or 'the input'}, not behind a convolution or linear layer"
    if not can_fold_norm(module):
        return f"it is behind {layer}, and surgery does not know {type(module).__name__}"
    if not isinstance(module.weight, nn.Parameter):
        return f"{layer} computes its weight anew"
    if module._forward_hooks:
        return f"{layer} has hooks"
    if names[id(module)] > 1 or any(owners[id(p)] > 1 for p in module.parameters()):
        return f"{layer} shares its weights"
    if wiring.calls[layer] > 1:
        return f"{layer} runs {wiring.calls[layer]} times"
    others = wiring.uses[layer] - {name}
    if others:
        return f"{layer} is used by {min(others)} too"
    kind: Any = kind_of(module)
    # a BatchNorm1d behind a Linear with one more axis counts that axis as channels
    if wiring.axes[name] != kind.axes:
        return f"its channels are not the outputs of {layer}"
    return ""


class _Wiring(TorchDispatchMode):
    """While active, records which place made each tensor, and which places use the tensors of each place.

    A place is the full name of the innermost running layer or BatchNorm, or the name of an operation outside of these.
    """

    def __init__(self, places: dict[str, nn.Module], norms: dict[str, nn.Module]) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()
        self.uses: dict[str, set[str]] = {name: set() for name in places}
        self.sources: dict[str, str] = {}
        """Place that made the input of each BatchNorm."""
        self.axes: dict[str, int] = {}
        """Axes of the input of each BatchNorm."""
        self._norms = norms
        self._running: list[str | None] = []
        self._makers = WeakTensorKeyDictionary()
        # so that an operation elsewhere on a layer's parameters counts as a use of the layer
        for name, module in places.items():
            for parameter in module.parameters(recurse=False):
                self._makers[parameter] = name

    def enter(self, name: str, is_place: bool) -> Callable[..., None]:
        """A hook for the start of a module."""

        def hook(module: nn.Module, inputs: Any) -> None:
            self.calls[name] += 1
            self._running.append(name if is_place else None)

        return hook

    def leave(self, module: nn.Module, inputs: Any, output: Any) -> None:
        """A hook for the end of a module."""
        self._running.pop()

    def use(self, values: Any, place: str) -> None:
        """Record that a place uses tensors."""
        for value in tree_leaves(values):
            maker = self._makers.get(value) if isinstance(value, Tensor) else None
            if maker is None or maker == place:
                continue
            self.uses.setdefault(maker, set()).add(place)
            if place in self._norms:
                self.sources.setdefault(place, maker)
                self.axes.setdefault(place, value.dim())

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        running = self._running[-1] if self._running else None
        place = running or func.__name__.split(".")[0]
        self.use((args, kwargs), place)
        result = func(*args, **kwargs)
        for output in tree_leaves(result):
            if isinstance(output, Tensor):
                self._makers[output] = place
        return result


def _wiring(model: nn.Module, norms: dict[str, nn.Module], example: Inputs) -> tuple[_Wiring, Inputs, Any]:
    modules = dict(model.named_modules())
    known = (*TORCH_LAYERS, nn.modules.batchnorm._BatchNorm)
    places = {name: m for name, m in modules.items() if isinstance(m, known) or not list(m.children())}
    wiring = _Wiring(places, norms)
    hooks = [m.register_forward_pre_hook(wiring.enter(name, name in places)) for name, m in modules.items()]
    hooks += [m.register_forward_hook(wiring.leave) for m in modules.values()]
    output = run_watched(model, example, [wiring], hooks)
    wiring.use(output, "the output")
    return wiring, example, output
