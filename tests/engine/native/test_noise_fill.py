"""Fills of noise by the native library: the stream that torch defines, to the bit."""

import ctypes
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from asim_lightning.engine.native import passes
from asim_lightning.engine.noise import normals, output_normals
from tests.engine.native.levels import kernels as kernels

WORDS = st.integers(0, 2**32 - 1)
ROWS = st.lists(st.tuples(WORDS, st.integers(0, 5000)), min_size=1, max_size=4)
properties = settings(max_examples=60, deadline=None, derandomize=True)


def same_bits(found: Tensor, expected: Tensor) -> bool:
    return torch.equal(found.view(torch.int32), expected.view(torch.int32))


@properties
@given(
    key=st.tuples(WORDS, WORDS), last=WORDS, first=st.integers(0, 70), cycles=st.integers(1, 11),
    positions=st.integers(1, 70), base=st.integers(0, 2**31), rows=ROWS,
)  # fmt: skip
def test_conversions(
    kernels: ctypes.CDLL, key: tuple[int, int], last: int, first: int, cycles: int, positions: int, base: int,
    rows: list[tuple[int, int]],
) -> None:  # fmt: skip
    ids, offsets = (torch.tensor(column) for column in zip(*rows, strict=True))
    asked = key, ids, offsets * positions, positions, range(first, first + cycles), base, last
    assert same_bits(passes.fill_conversions(kernels, *asked), normals(*asked))


@properties
@given(key=st.tuples(WORDS, WORDS), step=WORDS, positions=st.integers(1, 300), rows=ROWS)
def test_outputs(
    kernels: ctypes.CDLL, key: tuple[int, int], step: int, positions: int, rows: list[tuple[int, int]]
) -> None:
    ids, offsets = (torch.tensor(column) for column in zip(*rows, strict=True))
    asked = key, ids, offsets, positions, step
    assert same_bits(passes.fill_outputs(kernels, *asked), output_normals(*asked))


def test_rows_of_other_tensors_and_two_threads(kernels: ctypes.CDLL, set_threads: Callable[[int], None]) -> None:
    ids, offsets = torch.arange(40)[::2], torch.arange(20).flip(0)
    found = []
    for threads in (1, 2):
        set_threads(threads)
        found.append(passes.fill_conversions(kernels, (1, 2), ids, offsets, 1001, range(3, 9), 5, 7))
        found.append(passes.fill_outputs(kernels, (1, 2), ids, offsets, 5003, 7))
    assert same_bits(found[0], normals((1, 2), ids, offsets, 1001, range(3, 9), 5, 7))
    assert same_bits(found[1], output_normals((1, 2), ids, offsets, 5003, 7))
    assert same_bits(found[0], found[2])
    assert same_bits(found[1], found[3])


def test_a_structure_of_another_size_is_refused(kernels: ctypes.CDLL) -> None:
    class Longer(passes.NormalFill):
        _fields_ = passes.fields(("more", passes.INT64))

    with pytest.raises(RuntimeError, match="Longer has another size in the native library; build it again"):
        Longer().call(kernels.asim_fill_outputs)
