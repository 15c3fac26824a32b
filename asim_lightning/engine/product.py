"""Products that a macro computes, and how their summed dimension is split into tiles of rows."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from asim_lightning.circuit import Transfer
from asim_lightning.engine.integer import conv2d, integer_conv2d, integer_matmul


@dataclass(frozen=True)
class Tile:
    """The part of the summed dimension on one tile's rows: some channels, and of their kernels the elements
    low..high-1."""

    channels: slice
    kernel: slice | None = None


class Product(ABC):
    """A matrix product of integer inputs with integer weights."""

    batched_weight: bool = False
    """Whether the second operand has the batch dimension too (products of two activations)."""

    @abstractmethod
    def tiles(self, w: Tensor, rows: int) -> list[Tile]:
        """Tiles that hold the whole summed dimension, at most `rows` rows each, none left out."""

    @abstractmethod
    def positions(self, x: Tensor, w: Tensor) -> int:
        """Number of outputs of one row of the batch."""

    @abstractmethod
    def integer(self, x: Tensor, w: Tensor, limit: int) -> Tensor:
        """The exact product of integers; `limit` bounds |x| times |w|. # (batch, *outputs)"""

    @abstractmethod
    def counts(self, tile: Tile, x: Tensor, w: Tensor) -> Tensor:
        """Counts of one tile, for several weight digits at once.

        Args:
            tile: The tile.
            x: Input digits. # (batch, *inputs)
            w: Weight digits of several cycles. # (cycles, *weight)

        Returns:
            Counts. # (batch, cycles, *outputs)
        """


@dataclass(frozen=True)
class MatmulProduct(Product):
    """``x @ w^T`` with x (batch, ..., k) and w (n, k), or w (batch, ..., n, k) where `batched_weight`."""

    batched_weight: bool = False

    def tiles(self, w: Tensor, rows: int) -> list[Tile]:
        """Consecutive chunks of `rows` terms."""
        return [Tile(slice(low, min(low + rows, w.shape[-1]))) for low in range(0, w.shape[-1], rows)]

    def positions(self, x: Tensor, w: Tensor) -> int:
        """Outputs a row: all but the batch dimension of (batch, ..., m, n)."""
        return x.shape[1:-1].numel() * w.shape[-2]

    def integer(self, x: Tensor, w: Tensor, limit: int) -> Tensor:
        """The exact product. # (batch, ..., m, n)"""
        return integer_matmul(x, w, limit)

    def counts(self, tile: Tile, x: Tensor, w: Tensor) -> Tensor:
        """Counts of one tile. # (batch, cycles, ..., m, n)"""
        x, w = x[..., tile.channels], w[..., tile.channels]
        cycles, outputs = w.shape[0], w.shape[-2]
        if self.batched_weight:
            stacked = w.movedim(0, -3).flatten(-3, -2)  # (batch, ..., cycles * n, k)
            product = x @ stacked.transpose(-1, -2)  # (batch, ..., m, cycles * n)
        else:
            product = F.linear(x, w.flatten(0, 1))  # (batch, ..., cycles * n)
        return product.unflatten(-1, (cycles, outputs)).movedim(-2, 1).contiguous()


@dataclass(frozen=True)
class Conv2dProduct(Product):
    """Convolution, groups and dilation included."""

    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int

    def tiles(self, w: Tensor, rows: int) -> list[Tile]:
        """Whole kernels of ``rows // kernel elements`` channels a tile, as published; a kernel with more elements than
        there are rows is split over several tiles of one channel. Groups have macros of their own, tiled alike."""
        channels, elements = w.shape[1], w.shape[2] * w.shape[3]
        if elements <= rows:
            step = rows // elements
            return [Tile(slice(low, min(low + step, channels))) for low in range(0, channels, step)]
        return [
            Tile(slice(channel, channel + 1), slice(low, min(low + rows, elements)))
            for channel in range(channels)
            for low in range(0, elements, rows)
        ]

    def positions(self, x: Tensor, w: Tensor) -> int:
        """Outputs a row: output channels times output height times output width."""
        height, width = self.output_size(x, w)
        return w.shape[0] * height * width

    def output_size(self, x: Tensor, w: Tensor) -> tuple[int, int]:
        """Height and width of an output image, of x (batch, channels, height, width) and w (outputs, channels, kernel
        height, kernel width)."""
        spans = [
            x.shape[2 + axis] + 2 * self.padding[axis] - self.dilation[axis] * (w.shape[2 + axis] - 1) - 1
            for axis in (0, 1)
        ]
        return spans[0] // self.stride[0] + 1, spans[1] // self.stride[1] + 1

    def integer(self, x: Tensor, w: Tensor, limit: int) -> Tensor:
        """The exact convolution. # (batch, outputs, out height, out width)"""
        return integer_conv2d(x, w, [*self.stride], [*self.padding], [*self.dilation], self.groups, limit)

    def counts(self, tile: Tile, x: Tensor, w: Tensor) -> Tensor:
        """Counts of one tile. # (batch, cycles, outputs, out height, out width)"""
        cycles, outputs, channels = w.shape[:3]
        w = w[:, :, tile.channels]
        if tile.kernel is not None:
            mask = torch.zeros(w.shape[-2] * w.shape[-1], dtype=w.dtype, device=w.device)
            mask[tile.kernel] = 1
            w = w * mask.view(w.shape[-2:])
        if w.shape[2] < channels:
            x = x.unflatten(1, (self.groups, channels))[:, :, tile.channels].flatten(1, 2)
        # groups stay outermost among the output channels: (groups, cycles, outputs of a group)
        stacked = w.unflatten(1, (self.groups, -1)).transpose(0, 1).flatten(0, 2)
        product = conv2d(x, stacked, self.stride, self.padding, self.dilation, self.groups)
        grouped = product.unflatten(1, (self.groups, cycles, outputs // self.groups)).transpose(1, 2)
        return grouped.flatten(2, 3)


def rows_of(product: Product, tile: Tile, w: Tensor) -> int:
    """Number of rows of a tile that hold a weight."""
    size = w.shape[1] if isinstance(product, Conv2dProduct) else w.shape[-1]
    channels = len(range(size)[tile.channels])
    elements = w.shape[2] * w.shape[3] if isinstance(product, Conv2dProduct) else 1
    return channels * (elements if tile.kernel is None else len(range(elements)[tile.kernel]))


def conversion_count(product: Product, transfer: Transfer, x: Tensor, w: Tensor) -> int:
    """Conversions of all samples of a product: ``outputs * tiles * sum of votes of converted cycles``.

    Every conversion of the schedule counts, however an engine computes it; only shapes of x and w matter.

    Args:
        product: The linear map.
        transfer: The macro's schedule and column.
        x: Input integers. # (batch, *inputs)
        w: Weight integers. # (*weight), or (batch, *weight) where the product says so
    """
    weight = w[0] if product.batched_weight else w
    outputs = x.shape[0] * product.positions(x, weight)
    votes = sum(cycle.votes for cycle in transfer.cycles if cycle.converted)
    return outputs * len(product.tiles(weight, transfer.macro.rows)) * votes
