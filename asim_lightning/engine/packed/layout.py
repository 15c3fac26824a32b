"""How the packed engine lays out a product: which bits of which channels stand in which word of which lane."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from asim_lightning.engine.lanes import LANES
from asim_lightning.engine.noise_source import Noise
from asim_lightning.engine.product import Conv2dProduct, Product

_WORD = 32
_FIRST = np.zeros(1, np.int64)


@dataclass(frozen=True)
class Rows:
    """Rows of all tiles as runs: consecutive channels of one kernel element, at most a word full, in one word or two.

    Attributes:
        chunks: First channel and number of channels of each run's source words, int64. # (chunks, 2)
        parts: For each part of a run in a word: chunk, kernel element, word, shift to the left and then to the right,
            int64. # (parts, 5)
        first_part: First part of each tile, and one more, int64. # (tiles + 1,)
        words: Words that each tile uses, int64. # (tiles,)
    """

    chunks: np.ndarray
    parts: np.ndarray
    first_part: np.ndarray
    words: np.ndarray


@lru_cache(maxsize=512)
def rows_of(product: Product, shape: tuple[int, ...], rows: int, width: int = 1) -> Rows:
    """The rows of all tiles of weights of this shape, which have so many bits of a word each: 1 or 8."""
    most = _WORD // width
    elements = shape[2] * shape[3] if isinstance(product, Conv2dProduct) else 1
    chunks: dict[tuple[int, int], int] = {}
    parts, first_part, words = [], [0], []
    for tile in product.tiles(torch.empty(shape, device="meta"), rows):
        bit, kernel = 0, tile.kernel or slice(0, elements)
        for element in range(kernel.start, kernel.stop):
            for low in range(tile.channels.start, tile.channels.stop, most):
                held = min(most, tile.channels.stop - low)
                bits, chunk = held * width, chunks.setdefault((low, held), len(chunks))
                word, shift = divmod(bit, _WORD)
                parts.append((chunk, element, word, shift, 0))
                if shift + bits > _WORD:
                    parts.append((chunk, element, word + 1, 0, _WORD - shift))
                bit += bits
        first_part.append(len(parts))
        words.append(-(-bit // _WORD))
    return Rows(*(np.array(part, np.int64) for part in (list(chunks), parts, first_part, words)))


@dataclass(frozen=True)
class Operand:
    """Whole numbers of one side of a product, and where its lanes lie in them; a problem has sources of its own.

    Attributes:
        integers: float32, pixels a multiple of 16. # (sources, channels, pixels)
        problems: Number of independent products.
        sources: Sources of the first problem, one after the other, int64. # (sources of a problem,)
        pixels: Place of each lane's first kernel element in a padded source, int64. # (lanes of a source,)
        elements: Offset of each kernel element, int64. # (kernel elements,)
        size: Height and width of a source.
        padding: Pixels around it, above and below, to the left and to the right; zeros, added once words are packed,
            which are fewer than integers.
    """

    integers: Tensor
    problems: int
    sources: np.ndarray
    pixels: np.ndarray
    elements: np.ndarray
    size: tuple[int, int] = (0, 0)
    padding: tuple[int, int] = (0, 0)

    @property
    def lanes(self) -> int:
        """Lanes of a problem."""
        return len(self.sources) * len(self.pixels)

    def places(self, step: int) -> np.ndarray:
        """Where each lane begins, in sources of so many words each, int64; the last one's stands for those that are
        missing. # (groups of lanes * 16,)"""
        places = np.add.outer(self.sources * step, self.pixels).ravel()
        missing = -len(places) % LANES
        return np.concatenate([places, np.full(missing, places[-1])]) if missing else places

    @property
    def padded_pixels(self) -> int:
        """Pixels of a source with its padding, or with what makes them a multiple of 16."""
        if self.padding == (0, 0):
            return self.integers.shape[-1]
        (height, width), (down, right) = self.size, self.padding
        return (height + 2 * down) * (width + 2 * right)


@dataclass(frozen=True)
class Places:
    """Sample id and position in the sample's outputs, as sums of three parts, uint32.

    Attributes:
        inputs: Of each input lane. # (2, input lanes)
        outputs: Of each output lane. # (2, output lanes)
        problems: Of each problem. # (2, problems)
    """

    inputs: np.ndarray
    outputs: np.ndarray
    problems: np.ndarray


def inputs(product: Product, x: Tensor, w: Tensor) -> Operand:
    """The input side: a lane is an output pixel of a convolution, or a row of a matrix."""
    if not isinstance(product, Conv2dProduct):
        return _rows(x.flatten(0, -3) if product.batched_weight else x.reshape(1, -1, x.shape[-1]))
    batch, groups, size = len(x), product.groups, (x.shape[2], x.shape[3])
    padded = (size[0] + 2 * product.padding[0], size[1] + 2 * product.padding[1])
    pixels, elements = _pixels(product, padded, tuple(w.shape[2:]))
    integers = _whole_lanes(x.reshape(batch * groups, -1, x.shape[2:].numel()))
    return Operand(integers, groups, np.arange(batch) * groups, pixels, elements, size, product.padding)


@lru_cache(maxsize=512)
def _pixels(product: Conv2dProduct, size: tuple[int, ...], kernel: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Places of each output's first kernel element in a padded image of this size, and offsets of all elements."""
    starts, offsets = [], []
    for axis in (0, 1):
        span = product.dilation[axis] * (kernel[axis] - 1)
        starts.append(np.arange(0, size[axis] - span, product.stride[axis]))
        offsets.append(np.arange(kernel[axis]) * product.dilation[axis])
    pixels, elements = (np.add.outer(down * size[1], right).ravel() for down, right in (starts, offsets))
    return pixels, elements


def weights(product: Product, w: Tensor) -> Operand:
    """The weight side: a lane is an output channel of a group, or an output of a matrix."""
    if not isinstance(product, Conv2dProduct):
        return _rows(w.flatten(0, -3) if product.batched_weight else w[None])
    elements, lanes = w.shape[2] * w.shape[3], np.arange(weight_lanes(product, w))
    integers = w.reshape(product.groups, len(lanes), w.shape[1], elements).transpose(1, 2).flatten(2)
    return Operand(_whole_lanes(integers), product.groups, _FIRST, lanes * elements, np.arange(elements))


def weight_lanes(product: Product, w: Tensor) -> int:
    """Lanes of the weight side of one problem."""
    return len(w) // product.groups if isinstance(product, Conv2dProduct) else w.shape[-2]


def places(product: Product, inputs: Operand, outputs: int, noise: Noise) -> Places:
    """Which random words each output's conversions take: those of `noise.normals`."""
    samples = np.stack([noise.sample_ids.numpy(), noise.offsets.numpy()])  # (2, rows)
    total = inputs.problems * inputs.lanes * outputs // samples.shape[1]  # outputs of a row
    samples[1] *= total
    samples = samples.astype(np.uint32)
    lanes, problems = inputs.lanes, inputs.problems
    if isinstance(product, Conv2dProduct):
        pixels = lanes // samples.shape[1]
        return Places(_of_rows(samples, pixels, 1), _steps(outputs, pixels), _steps(problems, outputs * pixels))
    if product.batched_weight:
        heads = problems // samples.shape[1]
        return Places(_steps(lanes, outputs), _steps(outputs, 1), _of_rows(samples, heads, lanes * outputs))
    return Places(_of_rows(samples, lanes // samples.shape[1], outputs), _steps(outputs, 1), _steps(problems, 1))


def _of_rows(samples: np.ndarray, each: int, step: int) -> np.ndarray:
    """Ids and positions of consecutive numbers, `each` a row of the batch and `step` positions apart."""
    places = np.empty((2, samples.shape[1], each), np.uint32)
    places[0] = samples[0, :, None]
    np.add(samples[1, :, None], _steps(each, step)[1], out=places[1])
    return places.reshape(2, -1)


@lru_cache(maxsize=512)
def _steps(number: int, step: int) -> np.ndarray:
    """Ids 0, and positions so far apart."""
    positions = np.arange(number) * step
    return np.stack([0 * positions, positions]).astype(np.uint32)


def in_shape(product: Product, x: Tensor, w: Tensor, sums: Tensor) -> Tensor:
    """Sums of (problems, output lanes, input lanes) in the shape of the product's outputs. # (batch, *outputs)"""
    if not isinstance(product, Conv2dProduct):
        return sums.transpose(1, 2).reshape(*x.shape[:-1], w.shape[-2])
    size = [
        (x.shape[2 + a] + 2 * product.padding[a] - product.dilation[a] * (w.shape[2 + a] - 1) - 1) // product.stride[a]
        + 1
        for a in (0, 1)
    ]
    images = sums.view(*sums.shape[:2], len(x), -1).permute(2, 0, 1, 3)
    return images.reshape(len(x), len(w), *size)


def _rows(matrices: Tensor) -> Operand:
    """Rows of (problems, rows, channels)."""
    lanes = np.arange(matrices.shape[1])
    return Operand(_whole_lanes(matrices.transpose(1, 2)), len(matrices), _FIRST, lanes, _FIRST)


def _whole_lanes(integers: Tensor) -> Tensor:
    integers, missing = integers.to(torch.float32), -integers.shape[-1] % LANES
    return F.pad(integers, (0, missing)) if missing else integers.contiguous()
