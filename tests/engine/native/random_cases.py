"""Random macros, products, operands and reads, each a function of its seed alone, small enough to make by thousands."""

from dataclasses import dataclass, fields
from pathlib import Path
from random import Random

import torch
from torch import Tensor

from asim_lightning.circuit import MacroConfig, Transfer, transfer
from asim_lightning.engine import Chip, Conv2dProduct, MatmulProduct, Noise, Product
from tests.engine.native.random_macros import random_macro

_MOST_CONVERSIONS, _MOST_PRODUCTS = 150_000, 2e7


@dataclass(frozen=True, eq=False)
class Case:
    """A product on a macro, with what is read and how.

    Attributes:
        threads: Of the native engine.
        max_elements: See `Program`.
    """

    seed: int
    circuit: Transfer
    product: Product
    x: Tensor
    w: Tensor
    noise: Noise
    chip: Chip
    threads: int
    max_elements: int | None

    def __str__(self) -> str:
        own = {f.name: getattr(self.circuit.macro, f.name) for f in fields(MacroConfig)}
        default = MacroConfig()
        macro = ", ".join(f"{name}={value!r:.400}" for name, value in own.items() if value != getattr(default, name))
        shapes = f"x {tuple(self.x.shape)} of strides {self.x.stride()}, w {tuple(self.w.shape)}"
        return (
            f"random_case({self.seed}): MacroConfig({macro}), signed {self.circuit.signed_input}, rows in use "
            f"{self.circuit.rows_in_use}, {self.product}, {shapes}, trial {self.noise.trial}, chip {self.chip.number} "
            f"from tile {self.chip.first_tile}, {self.threads} threads, max_elements {self.max_elements}"
        )


def random_case(seed: int, folder: Path) -> Case:
    """The case of a seed; files of its column are written to a folder."""
    draw = Random(seed)
    macro = random_macro(draw, folder / f"column_{seed}.csv")
    signed = macro.input_bits > macro.encoding_bits and draw.random() < 0.5
    product, x_shape, w_shape = _shapes(draw, transfer(macro, signed))
    used = None
    if draw.random() < 0.5:
        found = product.geometry(None, torch.empty(w_shape, device="meta"))
        used = max(map(found.rows_of, found.tiles(macro.rows)))
    circuit = transfer(macro, signed, used)
    x_top, w_top = 2 ** (macro.input_bits - signed) - 1, 2 ** (macro.weight_bits - 1) - 1
    generator = torch.Generator().manual_seed(seed)
    x = _in_memory(draw, _integers(draw, generator, -x_top * signed, x_top, x_shape))
    w = _integers(draw, generator, -w_top, w_top, w_shape)
    ids = torch.randint(0, 2**32, (x_shape[0],), generator=generator)
    offsets = torch.randint(0, draw.choice([1, 4]), (x_shape[0],), generator=generator)
    read = draw.randrange(2**32), f"layer{draw.randrange(9)}", draw.randrange(3), draw.choice([0, 1, 65535])
    chip = Chip(draw.randrange(2**32), read[1], draw.choice([1.0, 1.0, 0.5]), first_tile=draw.randrange(6))
    noise = Noise(*read, chip.number, ids, offsets)
    return Case(
        seed, circuit, product, x, w, noise, chip, draw.choice([1, 2]), draw.choice([None, None, None, 1, 5000])
    )


def _shapes(draw: Random, circuit: Transfer) -> tuple[Product, tuple[int, ...], tuple[int, ...]]:
    """A product with the shapes of its operands; the fewer pixels, the more cycles."""
    rows, tiles = circuit.macro.rows, draw.choice([1, 1, 2, 3, 4])
    outputs = draw.choice([draw.randint(1, 70), draw.choice([1, 8, 15, 16, 17, 31, 32, 33, 48, 64])])
    batch, kind = draw.choice([1, 1, 2, 3]), draw.choice(["conv", "conv", "conv", "linear", "linear", "attention"])
    end = draw.choice([-1, 0, 0, 1, -draw.randrange(rows)])
    terms = max(1, rows * tiles + end)
    conversions = tiles * sum(cycle.votes for cycle in circuit.cycles)
    if kind == "conv":
        return _conv(draw, circuit, tiles, end, outputs, batch, conversions)
    fitting = min(_MOST_CONVERSIONS // (outputs * conversions), _MOST_PRODUCTS // (terms * outputs * conversions))
    pixels = max(1, min(draw.choice([1, 1, 2, 5, 15, 16, 17, 40]), int(fitting) // batch))
    if kind == "linear":
        rest = draw.choice([(), (pixels,), (2, pixels)])
        return MatmulProduct(), (batch, *rest, terms), (outputs, terms)
    heads = draw.choice([(), (1,), (2,), (3,), (2, 2)])
    return MatmulProduct(batched_weight=True), (batch, *heads, pixels, terms), (batch, *heads, outputs, terms)


def _conv(
    draw: Random, circuit: Transfer, tiles: int, end: int, outputs: int, batch: int, conversions: int
) -> tuple[Product, tuple[int, ...], tuple[int, ...]]:
    def pair(*choices: int) -> tuple[int, int]:
        return draw.choice(choices), draw.choice(choices)

    rows, kernel = circuit.macro.rows, draw.choice([(1, 1), (3, 3), pair(1, 2, 3), pair(1, 2, 3, 5)])
    elements = kernel[0] * kernel[1]
    channels = max(1, rows // elements * tiles + max(-rows // elements, min(end, 1))) if elements <= rows else 1
    groups = draw.choice([1, 1, 1, 2, 3])
    if draw.random() < 0.2:
        channels, groups = 1, outputs  # depthwise
    outputs = max(1, outputs // groups) * groups
    cost = outputs * conversions * batch
    fitting = min(_MOST_CONVERSIONS // cost, _MOST_PRODUCTS // (cost * channels * elements))
    stride, dilation = draw.choice([(1, 1), (2, 2), pair(1, 2, 3)]), draw.choice([(1, 1), (1, 1), pair(1, 2)])
    padding = draw.choice([(0, 0), (1, 1), pair(0, 1, 2)])
    height = draw.choice([1, 1, 2, 3, 7])
    width = max(1, min(draw.choice([1, 1, 2, 5, 9, 16, 33]), int(fitting) // height))
    size = [
        max(1, (out - 1) * stride[axis] + dilation[axis] * (kernel[axis] - 1) + 1 - 2 * padding[axis])
        for axis, out in enumerate((height, width))
    ]
    return Conv2dProduct(stride, padding, dilation, groups), (batch, groups * channels, *size), (
        outputs, channels, *kernel,
    )  # fmt: skip


def _integers(draw: Random, generator: torch.Generator, low: int, high: int, shape: tuple[int, ...]) -> Tensor:
    """Whole numbers, few or many of them 0, or all as large as can be, sometimes with a row of zeros."""
    values = torch.randint(low, high + 1, shape, generator=generator).float()
    kind = draw.choice(["dense", "half", "sparse", "small", "largest"])
    if kind == "largest":
        values = torch.where(values < 0, float(low), float(high))
    elif kind == "small":
        values = values.remainder(min(4, high + 1))
    elif kind != "dense":
        values *= torch.rand(shape, generator=generator) < {"half": 0.5, "sparse": 0.05}[kind]
    if draw.random() < 0.2:
        values[draw.randrange(shape[0])] = 0.0
    return values


def _in_memory(draw: Random, x: Tensor) -> Tensor:
    """The same numbers with other strides."""
    kind = draw.choice(["contiguous", "contiguous", "channels last", "every second"])
    if kind == "channels last" and x.dim() == 4:
        return x.contiguous(memory_format=torch.channels_last)
    if kind == "every second":
        wider = torch.full((*x.shape[:-1], 2 * x.shape[-1]), -7.0)
        wider[..., ::2] = x
        return wider[..., ::2]
    return x
