"""Digit sums and table sums by the native library, against plain torch."""

import ctypes
from collections.abc import Callable

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from asim_lightning.engine.native import passes
from tests.engine.native.levels import kernels as kernels

properties = settings(max_examples=60, deadline=None, derandomize=True)
RANGES = st.lists(st.tuples(st.integers(0, 90), st.integers(0, 90)).map(lambda r: (min(r), max(r))), min_size=1)
DIGITS = st.lists(st.tuples(st.integers(0, 15), st.sampled_from([1, 3, 7, -1])), min_size=1, max_size=11)


def plainly(x: Tensor, ranges: list[tuple[int, int]], digits: list[tuple[int, int]]) -> Tensor:
    planes = torch.stack([x.int() >> shift & mask for shift, mask in digits], 1)  # (rows, digits, channels, pixels)
    return torch.stack([planes[:, :, low:high].sum(2) for low, high in ranges], 1).float()


@properties
@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(1, 40), RANGES, DIGITS)
def test_digit_sums(
    kernels: ctypes.CDLL, seed: int, rows: int, pixels: int, ranges: list[tuple[int, int]],
    digits: list[tuple[int, int]],
) -> None:  # fmt: skip
    x = torch.randint(-(2**15), 2**15, (rows, 90, pixels), generator=torch.Generator().manual_seed(seed)).float()
    assert torch.equal(passes.digit_sums(kernels, x, ranges, *zip(*digits, strict=True)), plainly(x, ranges, digits))


def tabulated(sums: Tensor, table: Tensor, offset: int, factors: list[float]) -> Tensor:
    total = torch.zeros(*sums.shape[:2], sums.shape[3], table.shape[1])  # (rows, tiles, positions, functions)
    for digit, factor in enumerate(factors):  # each product and each sum is rounded
        total = total + torch.tensor(factor) * table[sums[:, :, digit].long() + offset]
    return total.transpose(1, 2).contiguous()


@properties
@given(
    st.integers(0, 2**32 - 1),
    st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 9), st.integers(1, 40)),
    st.integers(1, 20),
    st.integers(-5, 20),
)
def test_table_sums(kernels: ctypes.CDLL, seed: int, shape: tuple[int, ...], functions: int, offset: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    sums = torch.randint(-offset, 40 - offset, shape, generator=generator).float()
    table, factors = torch.randn(40, functions, generator=generator), torch.randn(shape[2], generator=generator)
    found = passes.table_sums(kernels, sums, table, offset, factors.tolist())
    assert torch.equal(found, tabulated(sums, table, offset, factors.tolist()))


def test_two_threads(kernels: ctypes.CDLL, set_threads: Callable[[int], None]) -> None:
    x, ranges, digits = torch.randint(0, 256, (30, 90, 50)).float(), [(0, 28), (28, 90)], [(0, 1), (3, 3), (7, -1)]
    sums, table = torch.randint(0, 60, (30, 3, 4, 100)).float(), torch.randn(60, 5)
    for threads in (1, 2):
        set_threads(threads)
        assert torch.equal(
            passes.digit_sums(kernels, x, ranges, *zip(*digits, strict=True)), plainly(x, ranges, digits)
        )
        found = passes.table_sums(kernels, sums, table, 0, [1.0, -2.0, 4.0, 0.3])
        assert torch.equal(found, tabulated(sums, table, 0, [1.0, -2.0, 4.0, 0.3]))
