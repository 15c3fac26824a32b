"""Quantising and scaling by the native library: what torch's own operations give, to the bit."""

import ctypes
import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from asim_lightning.engine.native import passes
from asim_lightning.quant import levels, quantize, scale_of
from tests.engine.native.levels import kernels as kernels

SHAPES = st.tuples(st.integers(1, 3), st.integers(1, 150), st.integers(1, 13), st.integers(1, 13))
FORMATS = (torch.contiguous_format, torch.channels_last)
properties = settings(max_examples=60, deadline=None, derandomize=True)


def quantized(
    kernels: ctypes.CDLL, x: Tensor, scale: Tensor, bits: int, signed: bool, kind: torch.dtype, turned: bool
) -> tuple[Tensor, bool, bool]:
    """Codes as torch's `quantize` has them, and what was seen."""
    out = torch.full_like(x, 7, dtype=kind, memory_format=torch.channels_last if turned else torch.preserve_format)
    shift = 128 if signed and kind == torch.uint8 else 0
    numbers = float(scale), -1.0 if signed else 0.0, levels(bits, signed), shift
    seen = passes.quantize(kernels, x, out, turned, numbers)
    return out.float() - shift, *seen


def same(kernels: ctypes.CDLL, x: Tensor, scale: Tensor, bits: int, signed: bool, turned: bool) -> None:
    expected = quantize(x, scale, bits, signed)
    for kind in (torch.float32, torch.uint8) if bits <= 8 else (torch.float32,):
        found, *seen = quantized(kernels, x, scale, bits, signed, kind, turned)
        assert torch.equal(found, expected)
        assert not torch.signbit(found[found == 0]).any()
        assert seen == [True, bool((x < 0).any())]


@properties
@given(
    st.integers(0, 2**32 - 1), SHAPES, st.integers(2, 16), st.booleans(), st.booleans(), st.sampled_from(FORMATS),
)  # fmt: skip
def test_images(
    kernels: ctypes.CDLL, seed: int, shape: tuple[int, ...], bits: int, signed: bool, turned: bool,
    form: torch.memory_format,
) -> None:  # fmt: skip
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    x = x if turned else x.contiguous(memory_format=form)
    same(kernels, x, scale_of(x.abs().max() * 0.8), bits, signed, turned)


@pytest.mark.parametrize("bits", [8, 3])
@pytest.mark.parametrize("signed", [False, True])
def test_ties_and_extremes(kernels: ctypes.CDLL, bits: int, signed: bool) -> None:
    for largest in (1.0, 0.3, 65504.0, 1e-7, 3e-39, 0.0):
        scale = scale_of(torch.tensor(largest))
        ties = (torch.arange(-300, 300) + 0.5) / levels(bits, signed) * scale
        near = [ties, ties.nextafter(torch.tensor(math.inf)), ties.nextafter(torch.tensor(-math.inf))]
        extreme = torch.tensor([0.0, -0.0, 1e-45, -1e-45, 3.4e38, -3.4e38])
        same(kernels, torch.cat([*near, extreme]), scale, bits, signed, False)


@pytest.mark.parametrize("value", [math.nan, -math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [0, 63, 64, 4100, 5099])
@pytest.mark.parametrize("turned", [False, True])
def test_what_is_not_finite_is_seen(kernels: ctypes.CDLL, value: float, place: int, turned: bool) -> None:
    x = torch.rand(1, 20, 17, 15)
    assert quantized(kernels, x, torch.tensor(1.0), 8, False, torch.uint8, turned)[1:] == (True, False)
    x.view(-1)[place] = value
    is_negative = math.copysign(1.0, value) < 0
    found = quantized(kernels, x, torch.tensor(1.0), 8, False, torch.uint8, turned)[1:]
    assert found == (False, is_negative and not math.isnan(value)) or (math.isnan(value) and not found[0])


@properties
@given(
    st.integers(0, 2**32 - 1),
    st.tuples(st.integers(1, 3), st.integers(1, 70), st.integers(1, 13), st.integers(1, 13)),
    st.booleans(),
    st.booleans(),
)
def test_scaled_sums(kernels: ctypes.CDLL, seed: int, shape: tuple[int, ...], turned: bool, has_bias: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    sums = torch.randint(-(2**24), 2**24, shape, generator=generator).float().contiguous(memory_format=FORMATS[1])
    sums[sums.abs() < 2**20] = -0.0
    step, bias = torch.rand(shape[1], generator=generator), torch.randn(shape[1], generator=generator)
    out = torch.empty_like(sums, memory_format=FORMATS[not turned])
    passes.scale(kernels, sums, step, bias if has_bias else None, out, turned)
    expected = sums * step.view(-1, 1, 1)
    expected = expected + bias.view(-1, 1, 1) if has_bias else expected
    assert torch.equal(out.contiguous().view(torch.int32), expected.contiguous().view(torch.int32))


def test_two_threads(kernels: ctypes.CDLL, set_threads: Callable[[int], None]) -> None:
    x, scale = torch.randn(30, 70, 13, 12), torch.tensor(0.9)
    step, bias, sums = torch.rand(70), torch.rand(70), torch.randn(30, 70, 13, 12).contiguous(memory_format=FORMATS[1])
    for threads in (1, 2):
        set_threads(threads)
        for turned in (False, True):
            same(kernels, x, scale, 8, True, turned)
            out = torch.empty_like(sums, memory_format=FORMATS[not turned])
            passes.scale(kernels, sums, step, bias, out, turned)
            assert torch.equal(out, sums * step.view(-1, 1, 1) + bias.view(-1, 1, 1))
