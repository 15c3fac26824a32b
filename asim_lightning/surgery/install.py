"""Installation of new layers in a network, and of operators in the modules that make products."""

from collections.abc import Callable, Mapping, Sequence

from torch import nn

from asim_lightning.nn import CimAttention, CimLinear, FloatLinear, MultiheadAttention, QuantizedLayer
from asim_lightning.nn.layer_forms import is_called_plainly
from asim_lightning.nn.linear import CimStack
from asim_lightning.nn.routed import Route, route_, unroute_
from asim_lightning.surgery.layers import FoundLayer, is_timms_attention
from asim_lightning.surgery.probe import FunctionProduct, Probe
from asim_lightning.surgery.watch import Call


def replace_(model: nn.Module, modules: Mapping[str, nn.Module]) -> dict[str, nn.Module]:
    """Replace modules of a network by full name, in place. Returns the old modules in reverse order: a second call with
    them undoes the first."""
    if "" in modules:
        raise ValueError("convert_ needs a network that contains layers, got a single layer; use its from_float")
    before: dict[str, nn.Module] = {}
    for name, new in modules.items():
        parent, _, leaf = name.rpartition(".")
        place = model.get_submodule(parent)
        before[name] = getattr(place, leaf)
        setattr(place, leaf, new)
    return dict(reversed(before.items()))


def find_multiheads(model: nn.Module) -> dict[str, nn.Module]:
    """Replacements of torch's MultiheadAttentions, by full name, to be installed before the network is watched."""
    new: dict[int, MultiheadAttention] = {}
    places: dict[str, nn.Module] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        if type(module) is not nn.MultiheadAttention:
            continue
        if module._forward_hooks or module._forward_pre_hooks or not is_called_plainly(module):
            raise ValueError(
                f"`{name}` has forward hooks or a forward of its own, which its replacement would not have; remove "
                "them first"
            )
        if id(module) not in new:
            try:
                new[id(module)] = MultiheadAttention(module)
            except ValueError as error:
                raise ValueError(f"Layer `{name}`: {error}") from None
        places[name] = new[id(module)]
    return places


def install_(
    model: nn.Module, layers: Sequence[FoundLayer], new: Mapping[str, nn.Module], seen: Probe
) -> Callable[[], None]:
    """Put new layers and operators, by full name, into a network, in place, and return a function that undoes it.

    A network is refused, and does not change, if a module uses the weight of a layer outside the module.
    """
    owners = {owner: model.get_submodule(owner) for owner in seen.products}
    names: dict[Call, list[FoundLayer]] = {}
    for layer in layers:
        if layer.product is not None:
            names.setdefault(layer.product.call, []).append(layer)
    attentions = {  # that CimAttention replaces
        owner
        for owner, module in owners.items()
        if is_timms_attention(module) and [made.softmaxed for made in seen.products[owner]] == [True, False]
    }
    routed: dict[str, list[Route] | None] = dict.fromkeys(owners.keys() & seen.uneven)
    for owner in owners.keys() - attentions - seen.uneven:
        routes = _routes(owner, seen.products[owner], names, new)
        if any(route.operator is not None for route in routes):
            routed[owner] = routes
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
    for owner, routes_of in routed.items():
        for made in seen.products[owner] if routes_of is not None else ():
            if made.layer is None:
                found = names[made.call]
                operators = [new[layer.name] for layer in found]
                operator = operators[0] if found[0].part is None else CimStack(operators)
                owners[owner].add_module(found[0].operator.rpartition(".")[2], operator)
        route_(owners[owner], routes_of, owner or "the network")

    def undo() -> None:
        for owner in routed:
            unroute_(owners[owner])
            for made in seen.products[owner] if routed[owner] is not None else ():
                if made.layer is None:
                    delattr(owners[owner], names[made.call][0].operator.rpartition(".")[2])
        replace_(model, before)

    return undo


def _routes(
    owner: str,
    products: Sequence[FunctionProduct],
    names: Mapping[Call, Sequence[FoundLayer]],
    new: Mapping[str, nn.Module],
) -> list[Route]:
    routes = []
    for made in products:
        if made.layer is None:
            layer = names[made.call][0]
            routes.append(Route(layer.operator.rpartition(".")[2], layer.encodes_second))
            continue
        module, inside = new[made.layer], not owner or made.layer.startswith(owner + ".")
        if inside and isinstance(module, (CimLinear, FloatLinear)):
            routes.append(Route(made.layer.removeprefix(owner + ".") if owner else made.layer))
        elif isinstance(module, QuantizedLayer):
            raise ValueError(
                f"`{owner}` uses the weight of `{made.layer}`, which is outside it, and surgery cannot convert that; "
                f"put `{made.layer}` in `plan.keep`"
            )
        else:
            routes.append(Route(None))
    return routes


def _below(owner: str, name: str) -> str:
    return f"{owner}.{name}" if owner else name
