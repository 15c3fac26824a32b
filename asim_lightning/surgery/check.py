"""Checks that a converted network computes the same in float as before, and calls every new layer as often."""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map
from torch.utils.hooks import RemovableHandle

from asim_lightning.nn import QuantizedLayer
from asim_lightning.nn.calibration import kept_fidelities
from asim_lightning.nn.inputs import Inputs
from asim_lightning.nn.routed import RoutedModule, routing_paused
from asim_lightning.surgery.layers import FoundLayer
from asim_lightning.surgery.probe import Probe
from asim_lightning.surgery.settings import set_fidelity_
from asim_lightning.surgery.watch import relative_difference, run_watched

_OF_A_MODULE = 1e-3
_OF_A_NETWORK = 1e-2


def check_installed(
    model: nn.Module, layers: Sequence[FoundLayer], new: Mapping[str, nn.Module], seen: Probe, example: Inputs
) -> None:
    """Run a converted network once, all layers in float, and refuse it if it differs from the run before.

    Every converted layer and product must be called as often as before. Each routed module must return the same as its
    forward without routing, which runs once more for this. The network must return the same as before.
    """
    comparison = _Comparison()
    hooks: list[RemovableHandle] = []
    converted = {layer.name: layer for layer in layers if isinstance(new[layer.name], QuantizedLayer)}
    for name in converted:
        hooks.append(new[name].register_forward_pre_hook(comparison.count))
    for name, module in model.named_modules():
        if isinstance(module, RoutedModule):
            hooks.append(module.register_forward_pre_hook(comparison.before, with_kwargs=True))
            # first, because other hooks may change the output
            after = partial(comparison.after, name)
            hooks.append(module.register_forward_hook(after, prepend=True, with_kwargs=True))
    with kept_fidelities(model):
        set_fidelity_(model, "float")
        output = run_watched(model, example, [], hooks)
    for name, found in converted.items():
        expected = seen.calls[found.product.call if found.product else name]
        count = comparison.calls[id(new[name])]
        if count != expected:
            raise ValueError(
                f"`{name}` was called {expected} times before its conversion and is called {count} times after it: "
                "another module uses its weight directly; put it in `plan.keep`"
            )
    for name, difference in comparison.wrong.items():
        raise ValueError(
            f"`{name or 'the network'}` computes something else with its products on operators (relative difference "
            f"{difference:.2g} in float); put its products in `plan.keep`"
        )
    if (difference := relative_difference(output, seen.output)) > _OF_A_NETWORK:
        raise ValueError(
            f"The converted network computes something else in float (relative difference {difference:.2g}): a layer "
            "or attention in it does more than its class; put it in `plan.keep`"
        )


class _Comparison:
    """Counts calls of layers, and compares outputs of routed modules with their forwards without routing."""

    def __init__(self) -> None:
        self.calls: Counter[int] = Counter()
        self.wrong: dict[str, float] = {}
        self._given: list[tuple[Any, Any, Tensor]] = []
        self._repeats = False

    def count(self, layer: nn.Module, inputs: Any) -> None:
        """Count a call."""
        if not self._repeats:
            self.calls[id(layer)] += 1

    def before(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        """Copy a routed module's inputs, because its forward may write into them."""
        if not self._repeats:
            args, kwargs = tree_map(lambda x: x.clone() if isinstance(x, Tensor) else x, (args, kwargs))
            self._given.append((args, kwargs, torch.get_rng_state()))

    def after(self, name: str, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        """Compare a routed module's output with its forward without routing."""
        if self._repeats:
            return
        args, kwargs, state = self._given.pop()
        later, self._repeats = torch.get_rng_state(), True
        torch.set_rng_state(state)
        try:
            with routing_paused():
                expected = module.forward(*args, **kwargs)
        finally:
            torch.set_rng_state(later)
            self._repeats = False
        difference = relative_difference(output, expected)
        if difference > _OF_A_MODULE:
            self.wrong[name] = max(difference, self.wrong.get(name, 0.0))
