"""Products that a macro computes, and how the summed dimension is split into tiles of rows."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor

from asim_lightning.circuit import Transfer
from asim_lightning.engine.integer import conv2d, integer_conv2d, integer_matmul


@dataclass(frozen=True)
class Tile:
    """The part of the summed dimension on one tile's rows: some channels, and some of their kernel elements."""

    channels: slice
    kernel: slice


@dataclass(frozen=True)
class Geometry:
    """Shapes of a product, read as a convolution. A matrix product has a kernel of one element, and an image of one
    column with a row for each row of x.

    Attributes:
        groups: Matrices, each on its own arrays: groups of a convolution, heads of a product of two activations.
        columns: Shape of the weights without the summed dimensions. # (outputs of all groups,) or (*heads, outputs)
        channels: Input channels of a group.
        kernel: Height and width of a kernel.
        size: Height and width of an image without padding; for a matrix product the rows of x for one matrix, and 1. 0
            if inputs are not known.
        stride: Rows and columns from window to window.
        padding: Rows and columns of zeros on each side of an image.
        dilation: Rows and columns from kernel element to kernel element.
        is_image: Whether outputs have the order (channel, row, column), else (row, channel).
    """

    groups: int
    columns: tuple[int, ...]
    channels: int
    kernel: tuple[int, int] = (1, 1)
    size: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    is_image: bool = False

    @property
    def outputs(self) -> int:
        """Outputs of a group for one window."""
        return self.columns[-1] // (self.groups if self.is_image else 1)

    @property
    def elements(self) -> int:
        """Elements of a kernel."""
        return prod(self.kernel)

    @cached_property
    def output_size(self) -> tuple[int, int]:
        """Height and width of an output image."""
        axes = zip(self.size, self.padding, self.dilation, self.kernel, self.stride, strict=True)
        height, width = ((size + 2 * p - d * (k - 1) - 1) // s + 1 for size, p, d, k, s in axes)
        return height, width

    @property
    def windows(self) -> int:
        """Input vectors of a matrix: pixels of an output image, or rows of x."""
        return prod(self.output_size)

    @cached_property
    def positions(self) -> int:
        """Outputs of one row of the batch."""
        return prod(self.columns) * self.windows

    def tiles(self, rows: int) -> list[Tile]:
        """Tiles for the whole summed dimension of a group, at most `rows` rows each.

        A tile has whole kernels of ``rows // elements`` channels, as published. A kernel with more elements than rows
        is split over several tiles of one channel. Each group has its own macros, tiled alike.
        """
        channels, elements = self.channels, self.elements
        if elements <= rows:
            step = rows // elements
            whole = slice(0, elements)
            return [Tile(slice(low, min(low + step, channels)), whole) for low in range(0, channels, step)]
        return [
            Tile(slice(channel, channel + 1), slice(low, min(low + rows, elements)))
            for channel in range(channels)
            for low in range(0, elements, rows)
        ]

    def fewest_rows(self, tiles: int) -> int:
        """Fewest rows, at least 1, with which the summed dimension takes at most so many tiles."""
        if tiles >= 2 * self.channels:  # kernels are split
            return -(-self.elements // (tiles // self.channels))
        return self.elements * -(-self.channels // tiles)

    def rows_of(self, tile: Tile) -> int:
        """Rows of a tile that hold a weight."""
        channels = len(range(self.channels)[tile.channels])
        return channels * len(range(self.elements)[tile.kernel])

    def held(self, w: Tensor, tile: Tile) -> Tensor:
        """The part of the weights, or of values in their shape, on a tile, column by column. # (*columns, rows)"""
        terms = w.reshape(*self.columns, self.channels, self.elements)
        return terms[..., tile.channels, tile.kernel].flatten(-2)

    def per_output(self, values: Tensor) -> Tensor:
        """One value for each column of all groups or heads, in a shape that broadcasts against (*outputs)."""
        if self.is_image:
            return values.reshape(-1, 1, 1)
        heads = self.columns[:-1]
        return values.reshape(*heads, 1, -1) if heads else values.flatten()


class Product(ABC):
    """A matrix product of integer inputs with integer weights."""

    batched_weight: bool = False
    """Whether the second operand has the batch dimension too (products of two activations)."""
    is_image: bool = False
    """Whether inputs and outputs are images (batch, channels, height, width), else (batch, ..., channels)."""

    def geometry(self, x: Tensor | None, w: Tensor) -> Geometry:
        """Shapes of a row of the batch.

        Args:
            x: Inputs; None leaves their size 0. # (batch, *inputs)
            w: Weights. # (*weight), or (batch, *weight) if the product says so
        """
        return self.geometry_of(self.weight_shape(w), None if x is None else x.shape)

    def weight_shape(self, w: Tensor) -> torch.Size:
        """Shape of the weights of a sample."""
        return w.shape[1:] if self.batched_weight else w.shape

    @abstractmethod
    def geometry_of(self, weight: torch.Size, x: torch.Size | None = None) -> Geometry:
        """`geometry` from the shape of a sample's weights and the inputs' shape, batch included."""

    @abstractmethod
    def integer(self, x: Tensor, w: Tensor, limit: int) -> Tensor:
        """The exact product of integers; `limit` bounds |x| times |w|. # (batch, *outputs)"""

    @abstractmethod
    def multiplied(self, x: Tensor, w: Tensor) -> Tensor:
        """The product in floating point. # (batch, *outputs)"""

    @abstractmethod
    def counts(self, tile: Tile, x: Tensor, w: Tensor) -> Tensor:
        """Counts of one tile, for weight digits of several cycles at once.

        # (batch, *inputs) and (cycles, *weight) to (batch, cycles, *outputs)
        """

    def driven(self, tile: Tile, x: Tensor, weight: torch.Size) -> Tensor:
        """Rows of a tile whose input digit is not 0, float32; padding is 0. # broadcasts against (batch, *outputs)

        Args:
            tile: The tile.
            x: Input digits. # (batch, *inputs)
            weight: Shape of the weights of one cycle.
        """
        return self.counts(tile, (x != 0).to(torch.float32), self._one_column(weight, x.device))[:, 0]

    @abstractmethod
    def _one_column(self, weight: torch.Size, device: torch.device) -> Tensor:
        """Weights of 1 for one output of each head, or for all outputs of a convolution with groups."""


@dataclass(frozen=True)
class MatmulProduct(Product):
    """``x @ w^T`` with x (batch, ..., k) and w (n, k), or w (batch, ..., n, k) if `batched_weight`."""

    batched_weight: bool = False

    def geometry_of(self, weight: torch.Size, x: torch.Size | None = None) -> Geometry:
        """A row of x is a window; each head has its own matrix."""
        *heads, outputs, terms = weight
        rows = 0 if x is None else x[1 + len(heads) : -1].numel()
        return Geometry(prod(heads), (*heads, outputs), terms, size=(rows, 1))

    def integer(self, x: Tensor, w: Tensor, limit: int) -> Tensor:
        """The exact product. # (batch, ..., m, n)"""
        return integer_matmul(x, w, limit)

    def multiplied(self, x: Tensor, w: Tensor) -> Tensor:
        """The product in floating point. # (batch, ..., m, n)"""
        return x @ w.transpose(-1, -2) if self.batched_weight else F.linear(x, w)

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

    def _one_column(self, weight: torch.Size, device: torch.device) -> Tensor:
        return torch.ones(1, *weight[:-2], 1, weight[-1], dtype=torch.float32, device=device)


@dataclass(frozen=True)
class Conv2dProduct(Product):
    """Convolution, groups and dilation included."""

    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int

    is_image = True

    def geometry_of(self, weight: torch.Size, x: torch.Size | None = None) -> Geometry:
        """A pixel of the output is a window."""
        outputs, channels, *kernel = weight
        size = (0, 0) if x is None else (x[2], x[3])
        return Geometry(
            self.groups, (outputs,), channels, (kernel[0], kernel[1]), size,
            self.stride, self.padding, self.dilation, is_image=True,
        )  # fmt: skip

    def integer(self, x: Tensor, w: Tensor, limit: int) -> Tensor:
        """The exact convolution. # (batch, outputs, out height, out width)"""
        return integer_conv2d(x, w, [*self.stride], [*self.padding], [*self.dilation], self.groups, limit)

    def multiplied(self, x: Tensor, w: Tensor) -> Tensor:
        """The convolution in floating point. # (batch, outputs, out height, out width)"""
        return conv2d(x, w, self.stride, self.padding, self.dilation, self.groups)

    def counts(self, tile: Tile, x: Tensor, w: Tensor) -> Tensor:
        """Counts of one tile. # (batch, cycles, outputs, out height, out width)"""
        cycles, outputs, channels, *kernel = w.shape
        w = w[:, :, tile.channels]
        if tile.kernel != slice(0, prod(kernel)):
            mask = torch.zeros(prod(kernel), dtype=w.dtype, device=w.device)
            mask[tile.kernel] = 1
            w = w * mask.view(kernel)
        if w.shape[2] < channels:
            x = x.unflatten(1, (self.groups, channels))[:, :, tile.channels].flatten(1, 2)
        # groups stay outermost among the output channels: (groups, cycles, outputs of a group)
        stacked = w.unflatten(1, (self.groups, -1)).transpose(0, 1).flatten(0, 2)
        product = self.multiplied(x, stacked)
        grouped = product.unflatten(1, (self.groups, cycles, outputs // self.groups)).transpose(1, 2)
        return grouped.flatten(2, 3)

    def driven(self, tile: Tile, x: Tensor, weight: torch.Size) -> Tensor:
        """See `Product.driven`."""
        of_groups = super().driven(tile, x, weight)
        return of_groups.repeat_interleave(weight[0] // self.groups, 1) if self.groups > 1 else of_groups

    def _one_column(self, weight: torch.Size, device: torch.device) -> Tensor:
        return torch.ones(1, self.groups, *weight[1:], dtype=torch.float32, device=device)


def conversion_count(product: Product, transfer: Transfer, x: Tensor, w: Tensor) -> int:
    """Conversions of all samples of a product: ``outputs * tiles * sum of votes of converted cycles``.

    Every conversion of the schedule counts, whatever the engine; only the shapes of x and w matter.
    """
    found = product.geometry(x, w)
    votes = sum(cycle.votes for cycle in transfer.cycles if cycle.converted)
    return len(x) * found.positions * len(found.tiles(transfer.macro.rows)) * votes
