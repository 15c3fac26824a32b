"""New layers in the places of old ones, and operators beside the modules whose products they compute."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torch.utils.hooks import RemovableHandle

from asim_lightning.nn import CimAttention, MultiheadAttention, QuantizedLayer, Route, Routing, find_routings
from asim_lightning.nn.calibration import quantized_layers
from asim_lightning.surgery.layers import FoundLayer, is_timms_attention, product_names
from asim_lightning.surgery.probe import FunctionProduct, Probe
from asim_lightning.surgery.replace import replace_
from asim_lightning.surgery.replacement import encodes_second
from asim_lightning.surgery.watch import run_watched

_ROUNDING = 1e-3


def find_multiheads(model: nn.Module) -> dict[str, nn.Module]:
    """What takes the place of torch's MultiheadAttentions before the network is watched, by full name.

    Raises:
        ValueError: One has parts that surgery does not know.
    """
    new: dict[int, MultiheadAttention] = {}
    places: dict[str, nn.Module] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        if type(module) is nn.MultiheadAttention:
            try:
                places[name] = new.setdefault(id(module), MultiheadAttention(module))
            except ValueError as error:
                raise ValueError(f"Layer `{name}`: {error}") from None
    return places


def install_(
    model: nn.Module, layers: Sequence[FoundLayer], new: Mapping[str, nn.Module], seen: Probe
) -> Callable[[], None]:
    """Put new layers and operators into a network, in place.

    Args:
        model: The network.
        layers: What is replaced.
        new: What takes the places, by full name.
        seen: What a run of the network showed.

    Returns:
        A function that puts everything back.

    Raises:
        ValueError: A module uses the weight of a layer that is no part of it; the network is unchanged then.
    """
    owners = {owner: model.get_submodule(owner) for owner in seen.products}
    attentions = {owner for owner, module in owners.items() if _is_wrapped(module, seen.products[owner])}
    routed = {
        owner: _routes(owner, module, seen.products[owner], layers)
        for owner, module in owners.items()
        if owner not in attentions | seen.uneven
    }
    before: dict[str, nn.Module] = {}
    replaced = {id(layer.module): new[layer.name] for layer in layers if layer.product is None}
    for name, module in list(model.named_modules(remove_duplicate=False)):
        if id(module) in replaced:
            before = replace_(model, {name: replaced[id(module)]}) | before
    wrapped = {
        id(owners[owner]): CimAttention(owners[owner], new[_below(owner, "qk")], new[_below(owner, "av")])
        for owner in attentions
    }
    for name, module in list(model.named_modules(remove_duplicate=False)):
        if id(module) in wrapped:
            before = replace_(model, {name: wrapped[id(module)]}) | before
    routings: list[Routing] = []
    added: list[tuple[nn.Module, str]] = []
    for owner, routes in routed.items():
        module = owners[owner]
        for route in routes:
            if (operator := new.get(_below(owner, route.operator))) is not None and not _has(module, route.operator):
                module.add_module(route.operator, operator)
                added.append((module, route.operator))
        routings.append(Routing(module, routes, owner or "the network"))

    def undo() -> None:
        for routing in routings:
            routing.remove()
        for module, name in added:
            delattr(module, name)
        replace_(model, before)

    return undo


def check_installed(model: nn.Module, new: Mapping[str, nn.Module], example: Tensor) -> None:
    """See that every converted layer and product runs, and that routed modules compute in float what they did.

    Raises:
        ValueError: One does not.
    """
    called: set[int] = set()
    wrong: dict[str, float] = {}
    hooks: list[RemovableHandle] = []
    converted = {name: module for name, module in new.items() if isinstance(module, QuantizedLayer)}
    for module in converted.values():
        hooks.append(module.register_forward_pre_hook(lambda layer, inputs: called.add(id(layer))))
    routings = find_routings(model)
    for name in routings:
        hook = _compared(name, list(routings.values()), wrong)
        hooks.append(model.get_submodule(name).register_forward_hook(hook, with_kwargs=True))
    fidelities = {layer: layer.fidelity for layer in quantized_layers(model).values()}
    try:
        for layer in fidelities:
            layer.fidelity = "float"
        run_watched(model, example, [], hooks)
    finally:
        for layer, fidelity in fidelities.items():
            layer.fidelity = fidelity
    for name, module in converted.items():
        if id(module) not in called:
            raise ValueError(
                f"`{name}` was converted and is not called: something reads its weights past it; put it in `plan.keep`"
            )
    for name, difference in wrong.items():
        raise ValueError(
            f"`{name}` computes something else with its products on macros (relative difference {difference:.2g} in "
            "float); put its products in `plan.keep`"
        )


def _is_wrapped(module: nn.Module, products: Sequence[FunctionProduct]) -> bool:
    """Whether CimAttention takes a module over."""
    return is_timms_attention(module) and [made.softmaxed for made in products] == [True, False]


def _routes(
    owner: str, module: nn.Module, products: Sequence[FunctionProduct], layers: Sequence[FoundLayer]
) -> list[Route]:
    found = {layer.product.call: layer for layer in layers if layer.product is not None}
    routes = []
    for name, made in zip(product_names(owner, module, products), products, strict=True):
        if name is not None:
            routes.append(Route(name, encodes_second(found[made.call])))
            continue
        layer = made.layer or ""
        if owner and not layer.startswith(owner + "."):
            raise ValueError(
                f"`{owner}` uses the weight of `{layer}`, which is no part of it, and surgery does not follow; put "
                f"`{layer}` in `plan.keep`"
            )
        routes.append(Route(layer.removeprefix(owner + ".") if owner else layer))
    return routes


def _compared(name: str, routings: Sequence[Routing], wrong: dict[str, float]) -> Callable[..., None]:
    """A hook that notes the relative difference of a routed module's output from what its forward computes alone."""

    def hook(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        with ExitStack() as stack:
            for routing in routings:  # of modules around this one
                stack.enter_context(routing.paused())
            expected = module.forward(*args, **kwargs)  # past the hooks, and so without operators
        for got, wanted in zip(tree_leaves(output), tree_leaves(expected), strict=True):
            if isinstance(got, Tensor) and got.is_floating_point() and got.numel():
                scale = float(wanted.abs().nan_to_num(0.0, 0.0, 0.0).max()) or 1.0
                difference = float((got - wanted).abs().nan_to_num(0.0, 0.0, 0.0).max()) / scale
                if difference > max(_ROUNDING, 8 * torch.finfo(got.dtype).eps):
                    wrong[name] = max(difference, wrong.get(name, 0.0))

    return hook


def _below(owner: str, name: str) -> str:
    return f"{owner}.{name}" if owner else name


def _has(module: nn.Module, name: str) -> bool:
    try:
        module.get_submodule(name)
    except AttributeError:
        return False
    return True
