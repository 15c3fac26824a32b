"""Places on a chip: the converters and cells of a layer's weights."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from asim_lightning.circuit import Cycle, MacroConfig, Transfer
from asim_lightning.circuit.columns import ConverterPlaces
from asim_lightning.circuit.static import StaticEffects
from asim_lightning.engine.chips.chip import Chip
from asim_lightning.engine.product import Geometry, Product, Tile


@dataclass(frozen=True, eq=False)
class Places:
    """Where the weights of a product lie on a chip.

    Unrolled, each tile of each group or head is a macro, with a column for each output and weight bit. If layers share
    macros (placement reuse), tiles take macros in turn: ``(first_tile + tile * groups + group) mod macros``. Columns
    are taken in turn, too: ``(output * weight_bits + bit) mod columns``. If one conversion takes all weight bits, they
    lie in one column.

    Attributes:
        chip: The layer's part of the chip.
        shape: Shape of the weights of a sample. # (*weight)
    """

    chip: Chip
    product: Product
    transfer: Transfer
    shape: torch.Size

    @property
    def macro(self) -> MacroConfig:
        """The macro."""
        return self.transfer.macro

    @property
    def static(self) -> StaticEffects:
        """The macro's static effects."""
        return self.macro.static

    @cached_property
    def geometry(self) -> Geometry:
        """Groups and columns of the weights."""
        return self.product.geometry_of(self.shape)

    @cached_property
    def tiles(self) -> list[Tile]:
        """Tiles of the weights."""
        return self.geometry.tiles(self.macro.rows)

    @cached_property
    def macros(self) -> Tensor:
        """Number of the macro of each tile of each group or head. # (tiles, groups or heads), int64"""
        tiles, groups = len(self.tiles), self.geometry.groups
        turns = torch.arange(tiles * groups, device="cpu").view(tiles, groups)
        return (self.chip.first_tile + turns) % self.static.macros if self.static.macros else turns

    @cached_property
    def columns(self) -> Tensor:
        """Number of the column of each output and weight bit in its macro.

        # (outputs of a group or head, weight bits; weight-parallel: 1), int64
        """
        outputs, bits = self.geometry.outputs, 1 if self.macro.weight_parallel else self.macro.weight_bits
        columns = torch.arange(outputs * bits, device="cpu").view(outputs, bits)
        return columns % self.static.columns if self.static.columns else columns

    def column_of(self, cycle: Cycle) -> Tensor:
        """Number of the column that a cycle converts for each output. # (outputs of a group or head,)"""
        return self.columns[:, 0 if self.macro.weight_parallel else cycle.weight_bits[0]]

    @property
    def converters_of_macro(self) -> int:
        """Converters of a macro; `columns_per_adc` neighbouring columns share one."""
        return -(-(self.static.columns or self.columns.numel()) // self.static.columns_per_adc)

    @property
    def converter_count(self) -> int:
        """Converters of the layer, or of the macros that layers share."""
        return (self.static.macros or self.macros.numel()) * self.converters_of_macro

    @property
    def index(self) -> Tensor:
        """Converter of each place: see `Converters.index`."""
        return self.macros[:, :, None, None] * self.converters_of_macro + self.columns // self.static.columns_per_adc

    def of_converters(self) -> ConverterPlaces:
        """Places of the converters, for a column's own pattern and for a file."""
        numbers = torch.arange(self.converter_count, device="cpu")
        macro, column = numbers // self.converters_of_macro, numbers % self.converters_of_macro
        column = column * self.static.columns_per_adc
        if self.static.is_reused:
            return ConverterPlaces(self.chip.layer, macro, column)
        bits = self.columns.shape[1]
        own = macro // self.geometry.groups, macro % self.geometry.groups, column // bits, column % bits
        return ConverterPlaces(self.chip.layer, macro, column, *own)

    def saved_places(self) -> Tensor:
        """Tile, group or head, output and weight bit of the first column of each converter; for macros that layers
        share, macro and first column.

        # (converters, 4), or (converters, 2), int64
        """
        at = self.of_converters()
        own = [each for each in (at.tile, at.group, at.output, at.weight_bit) if each is not None]
        return torch.stack(own or [at.macro, at.column], 1)

    @property
    def cells(self) -> torch.Size:
        """Shape of the cells, bits first: (bits, *weight), or (bits, macros, rows, columns) if layers share macros."""
        bits = self.macro.weight_bits
        if not self.static.is_reused:
            return torch.Size((bits, *self.shape))
        bits = bits if self.macro.weight_parallel else 1
        return torch.Size((bits, self.static.macros or 1, self.macro.rows, self.static.columns or 1))

    def cell_numbers(self, bit: int) -> Tensor:
        """Number of the cell that holds a bit of each weight: ``(macro * rows + row) * columns + column``, if layers
        share macros.

        # (*weight), int64
        """
        channels, elements = self.geometry.channels, self.geometry.elements
        tile_of, row_of = (torch.zeros(channels, elements, dtype=torch.int64, device="cpu") for _ in range(2))
        for number, tile in enumerate(self.tiles):
            rows = row_of[tile.channels, tile.kernel]
            row_of[tile.channels, tile.kernel] = torch.arange(rows.numel(), device="cpu").view(rows.shape)
            tile_of[tile.channels, tile.kernel] = number
        lines = self.macros.T[:, None, tile_of.flatten()] * self.macro.rows + row_of.flatten()  # (groups, 1, terms)
        column = self.columns[:, 0 if self.macro.weight_parallel else bit, None]
        return (lines * (self.static.columns or 1) + column).reshape(self.shape)  # from (groups, outputs, terms)
