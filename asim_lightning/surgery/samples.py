"""Whether the rows that products get belong to images: noise follows an image only where its rows do."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from asim_lightning.surgery.watch import Call, Watch, Watcher, run_watched


@dataclass(frozen=True)
class Samples:
    """Layers and products that are no function of the image, or that mix images.

    Attributes:
        constant: Whose operands are the same for other images.
        mixed: Whose first half of rows is not that of the first image of two.
    """

    constant: frozenset[str | Call] = frozenset()
    mixed: frozenset[str | Call] = frozenset()


def find_samples(model: nn.Module, layers: Mapping[str, nn.Module], example: Tensor) -> Samples:
    """Run the network on two pairs of random images that share the first one, and compare what layers get.

    Args:
        model: The network.
        layers: Its convolutions and linear layers by full name.
        example: An input, for its shape. # (batch, ...)

    Returns:
        What was found; nothing where the network does not take pairs of random images.
    """
    if not example.is_floating_point() or example.dim() < 2:
        return Samples()
    generator = torch.Generator().manual_seed(1)
    first, second, third = (torch.randn(3, 1, *example.shape[1:], generator=generator)).to(example).unbind()
    one, other = _Rows(), _Rows()
    try:
        for rows, pair in ((one, (first, second)), (other, (first, third))):
            watch = Watch(model, layers, rows)
            run_watched(model, torch.cat(pair), [watch], watch.hooks)
    except ValueError:
        return Samples()
    names = [name for name in one.seen if len(one.seen[name]) == len(other.seen.get(name, ()))]
    pairs = {name: list(zip(one.seen[name], other.seen[name], strict=True)) for name in names}
    constant = {name for name in names if all(mine.all == its.all for mine, its in pairs[name])}
    mixed = {
        name
        for name in names
        if any(mine.all != its.all and (mine.first is None or mine.first != its.first) for mine, its in pairs[name])
    }
    return Samples(frozenset(constant), frozenset(mixed))


@dataclass(frozen=True)
class _Print:
    """Sums of a tensor's bits, which differ where its numbers do."""

    all: int
    first: int | None
    """Of the first half of its rows; None where there are no halves."""


class _Rows(Watcher):
    """Keeps prints of what layers and products get, call by call."""

    def __init__(self) -> None:
        self.seen: dict[str | Call, list[_Print]] = {}

    def layer(self, name: str, x: Tensor, y: Tensor) -> None:
        """Keep a layer's input."""
        self.seen.setdefault(name, []).append(_print(x))

    def before_product(self, call: Call, a: Tensor, b: Tensor) -> None:
        """Keep a product's operands; a second operand without leading dimensions has no rows."""
        self.seen.setdefault(call, []).append(_print(a))
        if b.dim() > 2:
            self.seen[call].append(_print(b))


def _print(x: Tensor) -> _Print:
    half = x.shape[0] // 2 if x.dim() and x.shape[0] % 2 == 0 else 0
    return _Print(_sum(x), _sum(x[:half]) if half else None)


def _sum(x: Tensor) -> int:
    return int(x.detach().contiguous().view(torch.uint8 if x.element_size() % 4 else torch.int32).sum())
