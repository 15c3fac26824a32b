"""Floats to integers and sums to floats give, to the bit, what torch's own operations give."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from asim_lightning.engine.byte_passes import quantized, to_floats
from asim_lightning.quant import levels, quantize, scale_of

FORMATS = (torch.contiguous_format, torch.channels_last)
SEEDS, SHAPES = st.integers(0, 2**32 - 1), st.tuples(*(st.integers(1, n) for n in (3, 150, 13, 13)))
properties = settings(max_examples=60)
every_level = pytest.mark.usefixtures("level")


def check(x: Tensor, scale: Tensor, bits: int, signed: bool, turned: bool) -> None:
    """Whole numbers, and bytes where there are 8 bits at most, are those of `quantize`."""
    expected, seen = quantize(x, scale, bits, signed), (True, bool((x < 0).any()))
    found, *others = quantized(x, torch.float32, float(scale), bits, signed, turned)
    assert torch.equal(found, expected)
    assert not torch.signbit(found[found == 0]).any()
    assert (found.dtype, *others) == (torch.float32, *seen)
    if bits <= 8:
        in_bytes, *others = quantized(x, torch.uint8, float(scale), bits, signed, turned)
        assert torch.equal(in_bytes.int() - 128 * signed, expected.int())
        assert (in_bytes.dtype, *others) == (torch.uint8, *seen)
        assert not turned or in_bytes.is_contiguous(memory_format=torch.channels_last)


@every_level
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", [8, 3])
def test_every_half_precision_number_every_tie_and_extremes(bits: int, signed: bool) -> None:
    every = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(torch.float16).float()
    extreme = torch.tensor([0.0, -0.0, 1e-45, -1e-45, 3.4e38, -3.4e38])
    for largest in (1.0, 0.3, 7.77, 65504.0, 1e-7, 3e-39, 0.0):
        scale = scale_of(torch.tensor(largest))
        ties = (torch.arange(-300, 300) + 0.5) / levels(bits, signed) * scale
        near = torch.cat([ties, ties.nextafter(torch.tensor(math.inf)), ties.nextafter(torch.tensor(-math.inf))])
        check(torch.cat([every[every.isfinite()], near, extreme]), scale, bits, signed, False)


@every_level
@properties
@given(
    SEEDS, SHAPES, st.integers(2, 16), st.booleans(), st.booleans(), st.sampled_from(FORMATS),
    st.sampled_from([torch.float32, torch.float32, torch.float64, torch.float16, torch.bfloat16]),
)  # fmt: skip
def test_images_of_any_shape_format_and_type(
    seed: int, shape: tuple[int, ...], bits: int, signed: bool, turned: bool, form: torch.memory_format,
    dtype: torch.dtype,
) -> None:  # fmt: skip
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype).contiguous(memory_format=form)
    check(x, scale_of(x.abs().max() * 0.8), bits, signed, turned)


@pytest.mark.parametrize("shape", [(3,), (5, 7), (1, 64, 9), (1, 1, 1, 1), (2, 3, 4, 5, 6)])
def test_tensors_of_any_strides(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1)).transpose(0, -1)
    check(x, torch.tensor(0.9), 8, True, False)


@every_level
@pytest.mark.parametrize("value", [math.nan, -math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [0, 63, 64, 4100, 5099])
@pytest.mark.parametrize("turned", [False, True])
def test_what_is_not_finite_is_seen(value: float, place: int, turned: bool) -> None:
    x = torch.rand(1, 20, 17, 15)
    for dtype in (torch.uint8, torch.float32):
        for own, seen in ((value, None), (-1e-45, (True, True)), (-0.0, (True, False))):
            x.view(-1)[place] = own
            found = quantized(x, dtype, 1.0, 8, False, turned)[1:]
            assert found == seen if seen else not found[0]


@every_level
@properties
@given(SEEDS, SHAPES, st.booleans(), st.booleans(), st.sampled_from([torch.float32, torch.int32]))
def test_scaled_sums(seed: int, shape: tuple[int, ...], turned: bool, has_bias: bool, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(seed)
    sums = torch.randint(-(2**26), 2**26, shape, generator=generator).to(dtype)
    sums[sums.abs() < 2**20] = -0.0 if dtype == torch.float32 else 0
    step, bias = torch.rand(shape[1], generator=generator), torch.randn(shape[1], generator=generator)
    own = bias if has_bias else None
    expected = sums.float() * step.view(-1, 1, 1)
    expected = expected + bias.view(-1, 1, 1) if has_bias else expected
    for form in FORMATS:
        got = to_floats(sums.contiguous(memory_format=form), step, own, True, turned)
        assert torch.equal(got.contiguous().view(torch.int32), expected.view(torch.int32))
        assert form == FORMATS[0] or got.is_contiguous(memory_format=FORMATS[not turned])
    rows = to_floats(sums.movedim(1, -1).contiguous(), step, own, False, True)
    assert torch.equal(rows, expected.movedim(1, -1))


@every_level
def test_several_threads_give_the_same(set_threads: Callable[[int], None]) -> None:
    x, step, bias = torch.randn(30, 70, 13, 12), torch.rand(70), torch.rand(70)
    sums = torch.randint(0, 2**24, x.shape).float().contiguous(memory_format=torch.channels_last)
    for threads in (1, 3):
        set_threads(threads)
        for turned in (False, True):
            check(x, torch.tensor(0.9), 8, True, turned)
            expected = sums * step.view(-1, 1, 1) + bias.view(-1, 1, 1)
            assert torch.equal(to_floats(sums, step, bias, True, turned), expected)
