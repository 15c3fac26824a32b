"""The parts of an expected error: digit sums, table sums, and counts that two digits' sums lead to expect."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from asim_lightning.engine.digit_sums import (
    Table,
    _channel_sums,
    input_digit_sums,
    table_sums,
    weight_digit_sums,
)
from asim_lightning.engine.overlap import Overlap
from asim_lightning.engine.product import Conv2dProduct, MatmulProduct

properties = settings(max_examples=60)
every_level = pytest.mark.usefixtures("level")
SEEDS = st.integers(0, 2**32 - 1)
RANGES = st.lists(st.tuples(st.integers(0, 90), st.integers(0, 90)).map(lambda r: (min(r), max(r))), min_size=1)
DIGITS = st.lists(
    st.tuples(st.integers(0, 12), st.integers(1, 4), st.booleans()).map(lambda d: ((*range(d[0], d[0] + d[1]),), d[2])),
    min_size=1,
    max_size=11,
)
GROUPS = [((0,), False), ((1, 2), False), ((3,), False), ((4, 5), True)]


def integers(*shape: int) -> torch.Tensor:
    return torch.randint(-20, 20, shape, generator=torch.Generator().manual_seed(len(shape))).float()


def digit(values: torch.Tensor, bits: tuple[int, ...], signed: bool) -> torch.Tensor:
    """A digit by division, without a shift."""
    unsigned = values.double().remainder(2.0 ** (bits[-1] + 1)) if not signed else values.double()
    return torch.floor(unsigned / 2.0 ** bits[0])


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])  # the kernel, and torch's own operations
def test_digit_sums_of_a_convolution_meet_the_product(kind: torch.dtype) -> None:
    """All-ones weights make the count of a digit its sum, at every place, tile and group."""
    product = Conv2dProduct((2, 1), (1, 2), (1, 2), 2)
    x, w = integers(2, 10, 9, 8).to(kind), integers(6, 5, 3, 2).to(kind)
    for rows in (12, 6, 4):  # two channels a tile, one, and less than a kernel
        tiles = product.geometry(None, w).tiles(rows)
        found = input_digit_sums(product, tiles, x, w, GROUPS)
        for t, tile in enumerate(tiles):
            for j, group in enumerate(GROUPS):
                counts = product.counts(tile, digit(x, *group).float(), torch.ones(1, 2, *w.shape[1:]))[:, 0]
                assert torch.equal(found[:, :, t, j].float(), counts.flatten(2)), (rows, t, j)
        by_weight = weight_digit_sums(product, tiles, w, GROUPS)
        for t, tile in enumerate(tiles):
            for j, group in enumerate(GROUPS):
                inside = digit(w, *group)[:, tile.channels].flatten(2)[:, :, tile.kernel]
                assert torch.equal(by_weight[:, t, j].double(), inside.sum((1, 2)))


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_digit_sums_of_a_matrix_product(kind: torch.dtype) -> None:
    product, x, w = MatmulProduct(), integers(2, 3, 25).to(kind), integers(4, 25).to(kind)
    tiles = product.geometry(None, w).tiles(10)
    for found, values in (
        (input_digit_sums(product, tiles, x, w, GROUPS), x),
        (weight_digit_sums(product, tiles, w, GROUPS), w),
    ):
        assert found.shape == (*values.shape[:-1], 3, len(GROUPS))
        for t, low in enumerate((0, 10, 20)):
            for j, group in enumerate(GROUPS):
                assert torch.equal(found[..., t, j].double(), digit(values, *group)[..., low : low + 10].sum(-1))


@every_level
@properties
@given(SEEDS, st.integers(1, 3), st.integers(1, 40), RANGES, DIGITS)
def test_digit_sums_of_the_kernel_are_torchs(
    seed: int, rows: int, pixels: int, ranges: list[tuple[int, int]], digits: list[tuple[tuple[int, ...], bool]]
) -> None:
    x = torch.randint(-(2**15), 2**15, (rows, 90, pixels), generator=torch.Generator().manual_seed(seed)).float()
    assert torch.equal(_channel_sums(x, ranges, digits), _channel_sums(x.double(), ranges, digits))


def added_in_turn(sums: Tensor, table: Table, factors: list[float]) -> Tensor:
    total = torch.zeros(*sums.shape[:2], sums.shape[3], table.values.shape[1])  # (rows, tiles, positions, functions)
    for digit, factor in enumerate(factors):  # each product and each sum is rounded
        total = total + torch.tensor(factor) * table.values[sums[:, :, digit].long() - table.low]
    return total.transpose(1, 2)


@every_level
@properties
@given(SEEDS, st.tuples(*(st.integers(1, n) for n in (3, 4, 9, 40))), st.integers(1, 20), st.integers(-20, 5))
def test_table_sums_of_the_kernel_are_those_of_the_definition(
    seed: int, shape: tuple[int, ...], functions: int, low: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    sums, table = torch.randint(low, 40 + low, shape, generator=generator).float(), torch.randn(40, functions)
    factors = torch.randn(shape[2], generator=generator).tolist()
    found = table_sums(sums, Table(low, table), factors)
    assert torch.equal(found, added_in_turn(sums, Table(low, table), factors))


@every_level
def test_two_threads_give_the_same(set_threads: Callable[[int], None]) -> None:
    x, ranges = torch.randint(0, 256, (30, 90, 50)).float(), [(0, 28), (28, 90)]
    sums, table = torch.randint(0, 60, (30, 3, 4, 100)).float(), Table(0, torch.randn(60, 5))
    for threads in (1, 2):
        set_threads(threads)
        assert torch.equal(_channel_sums(x, ranges, GROUPS), _channel_sums(x.double(), ranges, GROUPS))
        factors = [1.0, -2.0, 4.0, 0.3]
        assert torch.equal(table_sums(sums, table, factors), added_in_turn(sums, table, factors))


def test_tables_have_the_values_of_their_nodes() -> None:
    nodes = torch.tensor([-20.0, -3.0, 0.0, 40.0], dtype=torch.float64)
    at_nodes = torch.randn(4, 3, dtype=torch.float64)
    table = Table.interpolated(nodes, at_nodes)
    assert table.values.shape == (61, 3)
    assert torch.allclose(table.values[nodes.long() + 20].double(), at_nodes, atol=1e-6)


def test_counts_of_bits_are_hypergeometric() -> None:
    """Averages of 1, n and n^2 have closed forms: 1, u v / R, and that of the variance."""
    overlap = Overlap(30, 1, 1, False, False)
    counts = torch.arange(31, dtype=torch.float64)
    one, mean, square = overlap.average(counts, torch.stack([torch.ones_like(counts), counts, counts**2]))
    u, v = overlap.input_nodes()[:, None], overlap.weight_nodes()[None]
    torch.testing.assert_close(one, torch.ones_like(one))
    torch.testing.assert_close(mean, u * v / 30)
    variance = u * v / 30 * (1 - u / 30) * (30 - v) / 29
    torch.testing.assert_close(square - mean**2, variance)


@pytest.mark.parametrize("overlap", [Overlap(50, 7, 1, False, False), Overlap(50, 7, 7, True, True)])
def test_counts_of_wider_digits_have_the_mean_of_a_random_placement(overlap: Overlap) -> None:
    top = 50 * overlap.input_top * overlap.weight_top
    counts = torch.arange(-top if overlap.input_signed else 0, top + 1, dtype=torch.float64)
    (mean,) = overlap.average(counts, counts[None])
    exact = overlap.input_nodes()[:, None] * overlap.weight_nodes()[None] / 50
    assert float((mean - exact).abs().max()) < 0.02 * math.sqrt(top) + 0.5


@pytest.mark.parametrize("rows", [1, 63, 1152])
def test_driven_rows_of_a_bit_are_its_sum(rows: int) -> None:
    sums = torch.arange(rows + 1, dtype=torch.float64)
    assert torch.equal(Overlap(rows, 1, 1, False, False).driven(sums), sums)
    assert torch.equal(Overlap(rows, 7, 7, True, True).driven(sums), torch.full_like(sums, rows))


def test_driven_rows_of_wider_digits_are_those_of_geometric_shares() -> None:
    overlap, ratio = Overlap(1000, 15, 1, False, False), 0.8
    shares = ratio ** torch.arange(16, dtype=torch.float64)
    shares = shares / shares.sum()
    total = 1000 * (shares * torch.arange(16)).sum()
    assert float(overlap.driven(total[None])) == pytest.approx(1000 * (1 - float(shares[0])), abs=1)
    assert overlap.driven(torch.tensor([0.0, 15000.0])).tolist() == [0.0, 1000.0]


def test_averages_of_functions_that_differ_by_the_input() -> None:
    overlap, counts = Overlap(40, 1, 1, False, False), torch.arange(41, dtype=torch.float64)
    nodes = overlap.input_nodes()
    values = torch.stack([counts.square(), counts])[:, None] * nodes[:, None]  # (functions, input nodes, counts)
    expected = overlap.average(counts, torch.stack([counts.square(), counts])) * nodes[:, None]
    torch.testing.assert_close(overlap.average_by_input(counts, values), expected)
