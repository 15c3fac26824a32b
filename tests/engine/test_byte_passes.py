"""Floats to bytes and sums to floats give, to the bit, what torch's own operations give."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from asim_lightning.engine.byte_passes import to_bytes, to_floats, to_integers
from asim_lightning.quant import levels, quantize, scale_of

FORMATS = (torch.contiguous_format, torch.channels_last)


def same_bytes(x: Tensor, scale: Tensor, bits: int, signed: bool, image: bool) -> None:
    got, finite, negative = to_bytes(x, float(scale), bits, signed, image)
    assert torch.equal(got.int() - 128 * signed, quantize(x, scale, bits, signed).int())
    assert finite
    assert negative == bool((x < 0).any())


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", [8, 7, 4, 2])
def test_every_half_precision_number_and_every_tie(bits: int, signed: bool) -> None:
    every = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(torch.float16).float()
    every = every[every.isfinite()]
    for largest in (1.0, 0.3, 7.77, 65504.0, 1e-7, 3e-39, 0.0):
        scale = scale_of(torch.tensor(largest))
        ties = (torch.arange(-300, 300) + 0.5) / levels(bits, signed) * scale
        near = torch.cat([ties, ties.nextafter(torch.tensor(math.inf)), ties.nextafter(torch.tensor(-math.inf))])
        same_bytes(torch.cat([every, near])[None], scale, bits, signed, False)


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 2**32 - 1),
    st.tuples(st.integers(1, 4), st.integers(1, 70), st.integers(1, 13), st.integers(1, 13)),
    st.integers(1, 8),
    st.booleans(),
    st.sampled_from(FORMATS),
    st.sampled_from([torch.float32, torch.float64, torch.float16, torch.bfloat16]),
)
def test_images_of_any_shape_format_and_type(
    seed: int, shape: tuple[int, ...], bits: int, signed: bool, form: torch.memory_format, dtype: torch.dtype
) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, generator=generator).to(dtype).contiguous(memory_format=form)
    bits = max(bits, 1 + signed)
    same_bytes(x, scale_of(x.abs().max() * 0.8), bits, signed, True)
    same_bytes(x, scale_of(x.abs().max() * 0.8), bits, signed, False)
    turned = to_bytes(x, 1.0, bits, signed, True)[0]
    assert turned.is_contiguous(memory_format=torch.channels_last)


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 2**32 - 1),
    st.tuples(st.integers(1, 4), st.integers(1, 70), st.integers(1, 13), st.integers(1, 13)),
    st.booleans(),
    st.booleans(),
    st.sampled_from([torch.float32, torch.int32]),
)
def test_scaled_sums(seed: int, shape: tuple[int, ...], turned: bool, has_bias: bool, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(seed)
    sums = torch.randint(-(2**26), 2**26, shape, generator=generator).to(dtype)
    step, bias = torch.rand(shape[1], generator=generator), torch.randn(shape[1], generator=generator)
    image = sums.contiguous(memory_format=torch.channels_last)
    got = to_floats(image, step, bias if has_bias else None, True, turned)
    assert torch.equal(to_floats(sums, step, bias if has_bias else None, True, turned), got)
    expected = sums.float() * step.view(-1, 1, 1)
    assert torch.equal(got, expected + bias.view(-1, 1, 1) if has_bias else expected)
    assert got.is_contiguous(memory_format=FORMATS[not turned])
    rows = sums.movedim(1, -1).contiguous()
    flat = to_floats(rows, step, bias if has_bias else None, False, True)
    assert torch.equal(flat, got.movedim(1, -1))


@pytest.mark.parametrize("value", [math.nan, -math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [0, 63, 64, 1000])
@pytest.mark.parametrize("image", [False, True])
def test_what_is_not_finite_is_seen(value: float, place: int, image: bool) -> None:
    x = torch.rand(2, 3, 17, 13)
    assert to_bytes(x, 1.0, 8, False, image)[1:] == (True, False)
    x.view(-1)[place] = value
    assert not to_bytes(x, 1.0, 8, False, image)[1]
    x.view(-1)[place] = -1e-45
    assert to_bytes(x, 1.0, 8, False, image)[1:] == (True, True)
    x.view(-1)[place] = -0.0
    assert to_bytes(x, 1.0, 8, False, image)[1:] == (True, False)


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([(3,), (5, 7), (1, 64, 9), (3, 40, 5, 4), (1, 1, 1, 1), (2, 3, 4, 5, 6)]),
    st.integers(2, 16),
    st.booleans(),
    st.sampled_from([torch.float32, torch.float64, torch.float16, torch.bfloat16]),
)
def test_whole_numbers_in_float32(
    seed: int, shape: tuple[int, ...], bits: int, signed: bool, dtype: torch.dtype
) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, generator=generator).to(dtype)
    scale = scale_of(x.abs().max() * 0.8)
    expected = quantize(x, scale, bits, signed)
    for given_x in (
        (x, x.contiguous(memory_format=torch.channels_last)) if x.dim() == 4 else (x, x.mT if x.dim() > 1 else x)
    ):
        found, finite, negative = to_integers(given_x, float(scale), bits, signed)
        assert torch.equal(found, expected if given_x.shape == x.shape else expected.mT)
        assert (found.dtype, finite, negative) == (torch.float32, True, bool((x < 0).any()))
    if x.dim() > 1:
        assert torch.equal(to_integers(x.transpose(0, -1), float(scale), bits, signed)[0], expected.transpose(0, -1))
    x.view(-1)[-1] = math.nan
    assert not to_integers(x, float(scale), bits, signed)[1]


def test_several_threads_give_the_same(set_threads: Callable[[int], None]) -> None:
    x, scale = torch.randn(70, 64, 12, 12), torch.tensor(0.9)
    step, bias = torch.rand(64), torch.rand(64)
    sums = torch.randint(0, 2**24, (70, 64, 12, 12)).float().contiguous(memory_format=torch.channels_last)
    answers = []
    for threads in (1, 3):
        set_threads(threads)
        same_bytes(x, scale, 8, True, True)
        answers.append(to_floats(sums, step, bias, True, True))
    assert torch.equal(*answers)
