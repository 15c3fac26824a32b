"""Where weights lie on macros that layers share: tiles are given to them in turn, columns by output and weight bit."""

from math import prod

import torch
from torch import Tensor

from asim_lightning.circuit import Cycle, MacroConfig, Transfer
from asim_lightning.engine.product import Conv2dProduct, Product


def arrays_of(product: Product, shape: torch.Size) -> tuple[int, int]:
    """Groups or heads of a product, whose tiles are macros of their own, and outputs of each.

    Args:
        product: The linear map.
        shape: Shape of the weights of a sample. # (*weight)
    """
    if isinstance(product, Conv2dProduct):
        return product.groups, shape[0] // product.groups
    return prod(shape[:-2]), shape[-2]


def macro_numbers(product: Product, macro: MacroConfig, shape: torch.Size, first_tile: int) -> Tensor:
    """Number of the macro that holds each tile of each group or head: ``(first_tile + tile * groups + group) mod m``.

    # (tiles, groups or heads), int64
    """
    tiles = len(product.tiles(torch.empty(shape, device="meta"), macro.rows))
    groups, _ = arrays_of(product, shape)
    turns = first_tile + torch.arange(tiles * groups, device="cpu")
    return (turns % (macro.static.macros or 1)).view(tiles, groups)


def physical_columns(macro: MacroConfig, outputs: int) -> Tensor:
    """Column of each output and weight bit, ``(output * weight_bits + bit) mod columns``; where one conversion takes
    all bits, they lie in column ``output mod columns``.

    # (outputs, weight bits; weight-parallel: 1), int64
    """
    bits = 1 if macro.weight_parallel else macro.weight_bits
    return torch.arange(outputs * bits, device="cpu").view(outputs, bits) % (macro.static.columns or 1)


def physical_cells(product: Product, macro: MacroConfig, shape: torch.Size, first_tile: int, bit: int) -> Tensor:
    """Number of the cell, ``(macro * rows + row) * columns + column``, that holds a bit of each weight.

    # (*weight), int64
    """
    weights = torch.empty(shape, device="meta")
    numbers = macro_numbers(product, macro, shape, first_tile)
    columns = physical_columns(macro, arrays_of(product, shape)[1])
    column = columns[:, 0 if macro.weight_parallel else bit]  # (outputs,)
    terms = shape[1:].numel() if isinstance(product, Conv2dProduct) else shape[-1]
    elements = shape[2:].numel() if isinstance(product, Conv2dProduct) else 1
    tile_of, row_of = (torch.zeros(terms // elements, elements, dtype=torch.int64, device="cpu") for _ in range(2))
    for number, tile in enumerate(product.tiles(weights, macro.rows)):
        kernel = slice(None) if tile.kernel is None else tile.kernel
        rows = row_of[tile.channels, kernel]
        row_of[tile.channels, kernel] = torch.arange(rows.numel(), device="cpu").view(rows.shape)
        tile_of[tile.channels, kernel] = number
    lines = numbers.T[:, None, tile_of.flatten()] * macro.rows + row_of.flatten()  # (groups, 1, terms)
    return (lines * (macro.static.columns or 1) + column[:, None]).reshape(shape)  # from (groups, outputs, terms)


def curve_numbers(product: Product, transfer: Transfer, cycle: Cycle, count: Tensor) -> Tensor:
    """Number of the curve of each output's converter, where converters of a measured column have their own:
    ``(output * weight_bits + bit) mod curves`` (of a physical column where layers share macros).

    Args:
        product: The linear map.
        transfer: The macro's schedule and column.
        cycle: The cycle.
        count: Counts, for their shape. # (batch, *outputs)

    Returns:
        int64. # broadcasts against (*outputs)
    """
    macro, is_image = transfer.macro, isinstance(product, Conv2dProduct)
    groups = product.groups if isinstance(product, Conv2dProduct) else 1
    outputs = (count.shape[1] if is_image else count.shape[-1]) // groups
    columns = torch.arange(outputs, device="cpu") * macro.weight_bits + cycle.weight_bits[0]
    columns = columns % macro.static.columns if macro.static.columns else columns
    number = columns % transfer.column.curves
    return number.repeat(groups)[:, None, None] if is_image else number
