"""Checks that the rows of products belong to images: the noise of an image follows it only if its rows do."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from asim_lightning.nn.inputs import Inputs, batch_size, some_of, tensors_of
from asim_lightning.surgery.watch import Call, Watch, Watcher, run_watched

_KEPT = 1024
_SHARE = 0.5


@dataclass(frozen=True)
class Samples:
    """Layers and products with rows that do not belong to images.

    Attributes:
        constant: Layers and products with operands that do not depend on the image.
        mixed: Layers and products with rows that mix images: of two images, the first half of the rows depends on the
            second image.
        routed: Layers and products whose rows have no batch axis, because the images decide their number, such as
            experts that a router sends rows to.
        calls: Function products of all pairs; None if the network does not run on pairs of random images.
    """

    constant: frozenset[str | Call] = frozenset()
    mixed: frozenset[str | Call] = frozenset()
    routed: frozenset[str | Call] = frozenset()
    calls: frozenset[Call] | None = None


def find_samples(
    model: nn.Module, layers: Mapping[str, nn.Module], example: Inputs, reached: Collection[str]
) -> Samples:
    """Run the network on two pairs of random images with the same first image, and compare the inputs of layers.

    A layer that one of the pairs or the example reaches, and another one does not, is routed. `reached` names layers
    that the example reaches.
    """
    given = tensors_of(example)
    if any(x.is_complex() for x in given) or all(x.dim() < 2 for x in given):
        return Samples()
    first, second, third = _drawn(example)
    one, other = _Inputs(), _Inputs()
    try:
        for inputs, pair in ((one, (first, second)), (other, (first, third))):
            watch = Watch(model, layers, inputs)
            run_watched(model, tree_map(_joined, *pair), [watch], watch.hooks)
    except ValueError:
        return Samples()
    constant, mixed, routed = set[str | Call](), set[str | Call](), set[str | Call]()
    reach = [{name for name in each.seen if isinstance(name, str)} for each in (one, other)]
    routed.update(set(reached).union(*reach).difference(set(reached).intersection(*reach)))
    for name in one.seen.keys() | other.seen.keys():
        (shapes, mine), (its_shapes, its) = one.of(name), other.of(name)
        if shapes != its_shapes:
            routed.add(name)
            continue
        moves = [_moved(x, y) for x, y in zip(mine, its, strict=True)]
        if any(shape[0] % 2 or shape[0] == 0 for shape in shapes):  # of two images
            routed.add(name)
        if all(head == tail == 0.0 for head, tail in moves):
            constant.add(name)
        elif any(head > _SHARE * tail for head, tail in moves if (head, tail) != (0.0, 0.0)):
            mixed.add(name)
    calls = frozenset(name for name in one.seen.keys() & other.seen.keys() if isinstance(name, Call))
    return Samples(frozenset(constant), frozenset(mixed), frozenset(routed), calls)


def _drawn(example: Inputs) -> tuple[Inputs, Inputs, Inputs]:
    """Three random samples like the samples of an example; of several inputs, masks and constants stay as they are."""
    generator, count, several = torch.Generator().manual_seed(1), batch_size(example), not isinstance(example, Tensor)

    def three(x: Any) -> list[Any]:
        if not isinstance(x, Tensor) or not x.dim() or len(x) != count:
            return [x, x, x]
        shape = (3, 1, *x.shape[1:])
        if x.is_floating_point():
            return list(torch.randn(shape, generator=generator).to(x))
        if several and (x.dtype == torch.bool or bool((x == x.flatten()[:1]).all())):
            return [x[:1].clone() for _ in range(3)]
        # row numbers of a table, in the range of the example; the third image differs from the second everywhere
        low, values = int(x.min()), max(int(x.max() - x.min()), 1) + 1
        drawn = torch.randint(values, shape, generator=generator)
        drawn[2] = (drawn[1] + 1) % values
        return list((drawn + low).to(x))

    leaves, form = tree_flatten(some_of(example, slice(None)))
    first, second, third = zip(*map(three, leaves), strict=True)
    return tree_unflatten(first, form), tree_unflatten(second, form), tree_unflatten(third, form)


def _joined(first: Any, second: Any) -> Any:
    """A batch of two samples; a value without an axis for samples stays."""
    return torch.cat([first, second]) if isinstance(first, Tensor) and first is not second else first


def _moved(x: Tensor, y: Tensor) -> tuple[float, float]:
    """Distance of two inputs over the first and over the second half of their rows; over all rows without halves."""
    square = (x - y).square()
    if len(x) != 2:
        return float(square.sum()), float(square.sum())
    return float(square[0].sum()), float(square[1].sum())


class _Inputs(Watcher):
    """Stores some numbers of the inputs of layers and products, call by call."""

    def __init__(self) -> None:
        self.seen: dict[str | Call, list[tuple[torch.Size, Tensor]]] = {}

    def of(self, name: str | Call) -> tuple[list[torch.Size], list[Tensor]]:
        """Shapes of a layer's or product's inputs, and some numbers of each, call by call."""
        found = self.seen.get(name, [])
        return [shape for shape, _ in found], [numbers for _, numbers in found]

    def layer(self, name: str, x: Tensor, y: Tensor) -> None:
        """Store some numbers of a layer's input."""
        self.seen.setdefault(name, []).append((x.shape, _some(x)))

    def before_product(self, call: Call, a: Tensor, b: Tensor) -> None:
        """Store some numbers of a product's operands; a second operand without leading dimensions has no rows."""
        self.seen.setdefault(call, []).extend((x.shape, _some(x)) for x in ((a, b) if b.dim() > 2 else (a,)))


def _some(x: Tensor) -> Tensor:
    """Evenly spaced numbers of each half of the rows. # (2, kept), or (1, kept) if there are no halves"""
    halves = 2 if x.dim() > 1 and x.shape[0] % 2 == 0 else 1
    flat = x.detach().reshape(halves, x.numel() // halves)
    return flat[:, :: max(1, -(-flat.shape[1] // _KEPT))].double().nan_to_num(0.0, 0.0, 0.0)
