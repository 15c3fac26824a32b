"""How the packed engine lays out a product: which bits of which channels stand in which word of which lane."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from asim_lightning.engine.lanes import LANES
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
    """The rows of all tiles of weights of this shape, which have so many bits of a word each: 1, 2 or 8."""
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


@dataclass(frozen=True, eq=False)
class Side:
    """Where the lanes of one side of a product lie in its whole numbers; a problem has sources of its own.

    Attributes:
        problems: Number of independent products.
        sources: Sources of the first problem, one after the other, int64. # (sources of a problem,)
        source_lanes: Lanes of a source.
        pixels: Place of each lane's first kernel element in a padded source, int64; None where that of lane n is n.
            # (lanes of a source,)
        elements: Offset of each kernel element, int64. # (kernel elements,)
        width: Pixels of a source, a multiple of 16.
        size: Height and width of a source.
        padding: Pixels around it, above and below, to the left and to the right; zeros, added once words are packed,
            which are fewer than integers.
    """

    problems: int
    sources: np.ndarray
    source_lanes: int
    pixels: np.ndarray | None
    elements: np.ndarray
    width: int
    size: tuple[int, int] = (0, 0)
    padding: tuple[int, int] = (0, 0)

    @property
    def lanes(self) -> int:
        """Lanes of a problem."""
        return len(self.sources) * self.source_lanes

    def places(self, step: int) -> np.ndarray:
        """Where each lane begins, in sources of so many words each, int64; the last one's stands for those that are
        missing. # (groups of lanes * 16,)"""
        pixels = np.arange(self.source_lanes) if self.pixels is None else self.pixels
        places = np.add.outer(self.sources * step, pixels).ravel()
        missing = -len(places) % LANES
        return np.concatenate([places, np.full(missing, places[-1])]) if missing else places

    @property
    def padded_pixels(self) -> int:
        """Pixels of a source with its padding, or with what makes them a multiple of 16."""
        if self.padding == (0, 0):
            return self.width
        (height, width), (down, right) = self.size, self.padding
        return (height + 2 * down) * (width + 2 * right)


def input_side(product: Product, x: Tensor, w: Tensor) -> Side:
    """The input side: a lane is an output pixel of a convolution, or a row of a matrix.

    Args:
        product: The linear map.
        x: On any device. # (batch, *inputs)
        w: On any device. # (*weight), or (batch, *weight) where the product says so
    """
    if not isinstance(product, Conv2dProduct):
        return _rows(x.shape[:-2].numel(), x.shape[-2]) if product.batched_weight else _rows(1, x.shape[:-1].numel())
    groups, size = product.groups, (x.shape[2], x.shape[3])
    padded = (size[0] + 2 * product.padding[0], size[1] + 2 * product.padding[1])
    pixels, elements = _pixels(product, padded, tuple(w.shape[2:]))
    sources = np.arange(x.shape[0]) * groups
    return Side(groups, sources, len(pixels), pixels, elements, whole(size[0] * size[1]), size, product.padding)


def input_integers(product: Product, x: Tensor) -> Tensor:
    """Whole numbers of the input side, as kernels take them: float32. # (sources, channels, width)"""
    if isinstance(product, Conv2dProduct):
        return _whole_lanes(x.reshape(x.shape[0] * product.groups, -1, x.shape[2] * x.shape[3]))
    return _whole_lanes((x.flatten(0, -3) if product.batched_weight else x.reshape(1, -1, x.shape[-1])).transpose(1, 2))


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


def weight_side(product: Product, w: Tensor) -> Side:
    """The weight side: a lane is an output channel of a group, or an output of a matrix; see `input_side`."""
    if not isinstance(product, Conv2dProduct):
        return _rows(w.shape[:-2].numel() if product.batched_weight else 1, w.shape[-2])
    elements, lanes = w.shape[2] * w.shape[3], weight_lanes(product, w)
    pixels = np.arange(lanes) * elements
    return Side(product.groups, _FIRST, lanes, pixels, np.arange(elements), whole(lanes * elements))


def weight_integers(product: Product, w: Tensor) -> Tensor:
    """Whole numbers of the weight side, as kernels take them: float32. # (sources, channels, width)"""
    if not isinstance(product, Conv2dProduct):
        return _whole_lanes((w.flatten(0, -3) if product.batched_weight else w[None]).transpose(1, 2))
    grouped = w.reshape(product.groups, w.shape[0] // product.groups, w.shape[1], w.shape[2] * w.shape[3])
    return _whole_lanes(grouped.transpose(1, 2).flatten(2))


def weight_lanes(product: Product, w: Tensor) -> int:
    """Lanes of the weight side of one problem."""
    return w.shape[0] // product.groups if isinstance(product, Conv2dProduct) else w.shape[-2]


def output_shape(product: Product, x: Tensor, w: Tensor) -> tuple[int, ...]:
    """Shape of the product's outputs. # (batch, *outputs)"""
    if not isinstance(product, Conv2dProduct):
        return (*x.shape[:-1], w.shape[-2])
    return (x.shape[0], w.shape[0], *product.output_size(x, w))


def in_shape(sums: Tensor, shape: tuple[int, ...], is_image: bool) -> Tensor:
    """Sums in the shape of outputs, of images or of matrices.

    Args:
        sums: # (problems, output lanes, input lanes)
        shape: That of `output_shape`. # (batch, *outputs)
        is_image: Whether outputs are images.
    """
    if is_image:
        sums = sums.view(*sums.shape[:2], shape[0], -1).permute(2, 0, 1, 3)
    else:
        sums = sums.transpose(1, 2)
    return sums.reshape(shape)


def whole(lanes: int) -> int:
    """So many lanes, filled up to a multiple of 16."""
    return -(-lanes // LANES) * LANES


def _rows(problems: int, rows: int) -> Side:
    """Rows of matrices."""
    return Side(problems, _FIRST, rows, None, _FIRST, whole(rows))


def _whole_lanes(integers: Tensor) -> Tensor:
    integers, missing = integers.to(torch.float32), -integers.shape[-1] % LANES
    return F.pad(integers, (0, missing)) if missing else integers.contiguous()
