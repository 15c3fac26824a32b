"""Layers that stay float, and why; layers whose rows belong to no image; and layers that are parts of a product."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from torch import nn

from asim_lightning.nn.calibration import experts_like, siblings
from asim_lightning.surgery.layers import FoundLayer, unknown_layer
from asim_lightning.surgery.plan import Plan, matching
from asim_lightning.surgery.probe import Probe
from asim_lightning.surgery.samples import Samples
from asim_lightning.surgery.watch import Call


def asked_to_stay(layers: Sequence[FoundLayer], plan: Plan) -> dict[str, str]:
    """Layers that the plan keeps in float, by full name, with that reason."""
    kinds = {layer.name: layer.kind for layer in layers}
    return {name: "plan.keep" for pattern in plan.keep for name in matching(pattern, kinds, "plan.keep")}


def with_idle(
    model: nn.Module, layers: Sequence[FoundLayer], kept: Collection[str], order: Iterable[str], samples: Samples
) -> tuple[list[FoundLayer], set[str]]:
    """The layers, and names of experts that the example did not reach although it reached others.

    A router may send no row to an expert. It gets the facts of another one, without multiplications, and a place by the
    order of the network. Modules of one list are experts if a router decides the rows of one, or if several run and
    none is computed from another: the blocks of a network are computed one from the other.
    """
    before = {name: earlier for earlier, name in pairwise(order)}
    ran = {layer.name: layer for layer in layers if layer.sighting is not None}
    found, idle = list(layers), set[str]()
    for layer in layers:  # those that did not run are the last, in the order of the network
        if layer.product is not None or layer.sighting is not None or layer.name in kept:
            continue
        likes = ([ran[name] for name in like] for like in experts_like(model, layer.name, ran))
        same = next((like for like in likes if _are_experts(layer, like, samples)), [])
        if same and same[-1].sighting is not None:
            found.remove(layer)
            of_sibling = same[-1].sighting
            seen = replace(of_sibling.input, origin=None if of_sibling.input.origin is None else "")
            new = replace(layer, kind=same[-1].kind, sighting=replace(of_sibling, input=seen, macs=0))
            earlier = [place for place, each in enumerate(found) if each.name == before.get(layer.name)]
            found.insert(earlier[0] + 1 if earlier else found.index(same[0]), new)
            idle.add(layer.name)
    return found, idle


def _are_experts(layer: FoundLayer, like: Sequence[FoundLayer], samples: Samples) -> bool:
    """Whether a layer and layers like it, which ran, are parts of experts."""
    if not like or any(repr(each.module) != repr(layer.module) for each in like):
        return False
    names = {each.name for each in like}
    upstream = frozenset[str]().union(*(each.sighting.upstream for each in like if each.sighting is not None))
    return not names.isdisjoint(samples.routed) or (len(like) > 1 and names.isdisjoint(upstream))


def without_images(
    layers: Sequence[FoundLayer], seen: Probe, samples: Samples, idle: Collection[str]
) -> dict[str, bool]:
    """Layers with rows that belong to no image, and whether a row is known: a vector, or an image that was selected.

    Siblings count, too: the images that showed this of one expert may hide it of another.
    """
    names = [layer.name for layer in layers]

    def family(calls: Collection[str | Call], more: Collection[str] = ()) -> set[str]:
        found = {layer.name for layer in layers if not _keys(layer, seen).isdisjoint(calls)}.union(more)
        return found.union(*(siblings(name, names) for name in found))

    routed, mixed = family(samples.routed, idle), family(samples.mixed)
    return {
        layer.name: isinstance(layer.module, nn.Linear) or layer.name in routed
        if layer.product is None
        else not (layer.product.batched and layer.product.b.sees_image)
        for layer in layers
        if layer.name in routed | mixed
    }


def with_parts(
    layers: Sequence[FoundLayer], without_image: Collection[str], kept: Collection[str]
) -> tuple[list[FoundLayer], set[str]]:
    """The layers, a product with a stack of weights as one layer for each matrix; and names whose rows belong to no
    image."""
    found, by_row = list[FoundLayer](), set(without_image)
    for layer in layers:
        product = layer.product
        if product is None or not product.batched or layer.name not in by_row or layer.name in kept:
            found.append(layer)
            continue
        share = replace(product, macs=product.macs // product.matrices)
        for part in range(product.matrices):
            found.append(replace(layer, name=f"{layer.name}.{part}", kind="linear", product=share, part=part))
            by_row.add(found[-1].name)
    return found, by_row


def reasons(
    layers: Sequence[FoundLayer], seen: Probe, samples: Samples, without_image: Mapping[str, bool]
) -> dict[str, str]:
    """Reasons why layers stay float, by full name."""
    why: dict[str, str] = {}
    for layer in layers:
        if _keys(layer, seen) & samples.constant and not layer.sees_image:
            why[layer.name] = "function of no image: computed in float"
        elif layer.product and layer.product.is_weight:
            why[layer.name] = "makes the weight of a convolution: computed in float"
        elif layer.product and layer.product.call.owner in seen.uneven:
            why[layer.name] = "the inputs decide how many products its module makes: computed in float"
        elif layer.product and not layer.product.batched and layer.product.b.sees_image:
            why[layer.name] = "second operand depends on the image and has no batch axis"
        elif not without_image.get(layer.name, True):
            why[layer.name] = "first axis of its inputs is not the batch: noise could not follow an image"
        elif layer.product is None and not isinstance(layer.module, (nn.Conv2d, nn.Linear)):
            # such a layer stays float, so that it does not stop the conversion of the others
            if layer.sighting is None:
                why[layer.name] = "no forward called it on the example"
            elif layer.name in seen.with_more:
                why[layer.name] = "is called with more than its input"
            elif unknown := unknown_layer(layer.module):
                why[layer.name] = unknown[0]
    return why


def _keys(layer: FoundLayer, seen: Probe) -> set[str | Call]:
    """Names under which `Samples` has a layer."""
    return {layer.product.call} if layer.product else {layer.name, *seen.calls_on(layer.name)}
