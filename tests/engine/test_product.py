"""The geometry of products, which engines, chips and cost read, and how many conversions they take."""

import pytest
import torch
from torch import Tensor

from asim_lightning.circuit import MacroConfig, transfer
from asim_lightning.engine.product import Conv2dProduct, Geometry, MatmulProduct, Tile, conversion_count
from tests.engine.products import PRODUCTS
from tests.oracle import conv_tiles, linear_tiles

SHAPES = {
    "convolution": ((2, 6, 9, 8), (10, 3, 4, 2)),
    "linear": ((2, 5, 7), (10, 7)),
    "attention": ((2, 3, 5, 7), (2, 3, 10, 7)),
}
GEOMETRIES = {
    "convolution": Geometry(2, (10,), 3, (4, 2), (9, 8), (2, 1), (1, 2), (1, 2), is_image=True),
    "linear": Geometry(1, (10,), 7, size=(5, 1)),
    "attention": Geometry(3, (3, 10), 7, size=(5, 1)),
}


def operands(kind: str) -> tuple[Tensor, Tensor]:
    x, w = SHAPES[kind]
    return torch.arange(torch.Size(x).numel()).view(x).float() % 5, torch.arange(torch.Size(w).numel()).view(w).float()


@pytest.mark.parametrize("kind", SHAPES)
def test_geometry_is_that_of_the_operands(kind: str) -> None:
    product, (x, w), expected = PRODUCTS[kind], operands(kind), GEOMETRIES[kind]
    assert product.geometry(x, w) == expected
    y = product.multiplied(x, w)
    found = product.geometry(x, w)
    assert found.positions == y[0].numel()
    assert found.groups * found.outputs * found.windows == found.positions
    assert product.integer(x, w, 10_000).float().equal(y)
    assert product.geometry_of(product.weight_shape(w)).outputs == found.outputs


@pytest.mark.parametrize("rows", [3, 4, 8, 20, 255])
@pytest.mark.parametrize("kind", SHAPES)
def test_tiles_hold_every_weight_once(kind: str, rows: int) -> None:
    product, (x, w) = PRODUCTS[kind], operands(kind)
    found = product.geometry(x, w)
    one = w[0] if product.batched_weight else w
    held = [found.held(one, tile) for tile in found.tiles(rows)]
    assert [each.shape for each in held] == [(*found.columns, found.rows_of(tile)) for tile in found.tiles(rows)]
    assert all(0 < each.shape[-1] <= rows for each in held)
    assert torch.equal(torch.cat(held, -1).sort(-1)[0].flatten(), one.flatten().sort()[0])
    counts = [product.counts(tile, x, w[None])[:, 0] for tile in found.tiles(rows)]
    assert torch.equal(torch.stack(counts).sum(0), product.multiplied(x, w))


@pytest.mark.parametrize(("channels", "kernel"), [(5, (1, 1)), (4, (2, 3)), (1, (5, 5)), (3, (3, 3))])
def test_fewest_rows_for_a_number_of_tiles(channels: int, kernel: tuple[int, int]) -> None:
    geometry = Geometry(1, (1,), channels, kernel)
    numbers = {rows: len(geometry.tiles(rows)) for rows in range(1, geometry.elements * channels + 1)}
    for tiles in range(1, max(numbers.values()) + 1):
        assert geometry.fewest_rows(tiles) == min(rows for rows, number in numbers.items() if number <= tiles)


def test_a_kernel_with_more_elements_than_rows_is_split() -> None:
    found = Conv2dProduct((1, 1), (0, 0), (1, 1), 1).geometry_of(torch.Size((1, 2, 3, 3)))
    assert found.tiles(5) == [
        Tile(slice(0, 1), slice(0, 5)), Tile(slice(0, 1), slice(5, 9)),
        Tile(slice(1, 2), slice(0, 5)), Tile(slice(1, 2), slice(5, 9)),
    ]  # fmt: skip
    assert [found.rows_of(tile) for tile in found.tiles(9)] == [9, 9]


@pytest.mark.parametrize("kind", SHAPES)
def test_values_of_columns_broadcast_against_outputs(kind: str) -> None:
    product, (x, w) = PRODUCTS[kind], operands(kind)
    found, y = product.geometry(x, w), product.multiplied(x, w)
    columns = torch.arange(found.groups * found.outputs).float()
    scaled = found.per_output(columns.view(found.groups, -1)) * torch.ones_like(y)
    weights = columns.view(found.columns)[..., None].expand(*found.columns, found.channels * found.elements)
    constant = weights.reshape(product.weight_shape(w)).expand_as(w)
    ones = product.multiplied(torch.ones_like(x), torch.ones_like(w))
    assert torch.equal(product.multiplied(torch.ones_like(x), constant.contiguous()), scaled * ones)


MACROS = {
    "bit-serial": (MacroConfig(weight_bits=3, input_bits=4), 12),
    "encoded": (MacroConfig(weight_bits=3, input_bits=4, encoding_bits=3), 6),
    "ideal converter": (MacroConfig(weight_bits=3, input_bits=4, adc_bits=None), 12),
    "digital": (MacroConfig(weight_bits=3, input_bits=4, digital_levels=2), 9),
    "digital, converted": (MacroConfig(weight_bits=3, input_bits=4, digital_levels=2, digital_adc=True), 12),
    "voted": (MacroConfig(weight_bits=3, input_bits=4, vote_levels=2, votes=5), 9 + 3 * 5),
    "weight-parallel": (MacroConfig(weight_bits=3, input_bits=4, weight_parallel=True), 1),
}


@pytest.mark.parametrize("case", MACROS.values(), ids=MACROS)
@pytest.mark.parametrize("rows", [4, 20, 255])
def test_conversions_of_a_convolution(case: tuple[MacroConfig, int], rows: int) -> None:
    macro, cycles = case
    product = Conv2dProduct((2, 1), (1, 0), (1, 1), groups=2)
    x, w = torch.zeros(3, 10, 7, 6), torch.zeros(8, 5, 3, 2)
    outputs = 3 * 8 * 4 * 5
    found = conversion_count(product, transfer(macro.with_fields(rows=rows), False), x, w)
    assert found == outputs * len(conv_tiles(5, 6, rows)) * cycles


@pytest.mark.parametrize("case", MACROS.values(), ids=MACROS)
@pytest.mark.parametrize("batched", [False, True])
def test_conversions_of_a_matrix_product(case: tuple[MacroConfig, int], batched: bool) -> None:
    macro, cycles = case
    x, w = torch.zeros(3, 2, 5, 70), torch.zeros(*((3, 2) if batched else ()), 9, 70)
    found = conversion_count(MatmulProduct(batched), transfer(macro.with_fields(rows=32), False), x, w)
    assert found == 3 * 2 * 5 * 9 * len(linear_tiles(70, 32)) * cycles
