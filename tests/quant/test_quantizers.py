"""Published quantisers, their gradients, and what replaces their defects."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asim_lightning.quant import fake_quantize, largest_value, levels, quantize, scale_of, weight_scale
from asim_lightning.quant.quantizers import scale_with_gradient
from tests import oracle


@settings(max_examples=60)
@given(bits=st.integers(2, 9), signed=st.booleans(), seed=st.integers(0, 10**6), magnitude=st.floats(1e-3, 1e4))
def test_integers_and_scale_are_the_published_ones(bits: int, signed: bool, seed: int, magnitude: float) -> None:
    x = torch.randn(60, generator=torch.Generator().manual_seed(seed)) * magnitude
    x[0] = 0.0
    scale = scale_of(largest_value(x, signed))
    integers, expected_scale = oracle.quantise(x.numpy(), bits, signed)
    assert float(scale) == expected_scale
    assert np.array_equal(quantize(x, scale, bits, signed).numpy(), integers)
    q_levels = levels(bits, signed)
    torch.testing.assert_close(
        fake_quantize(x, scale, bits, signed), torch.from_numpy(integers).float() / q_levels * scale, rtol=1e-5, atol=0
    )


@pytest.mark.parametrize(("bits", "signed", "top"), [(8, False, 255), (8, True, 127), (1, False, 1), (2, True, 1)])
def test_levels(bits: int, signed: bool, top: int) -> None:
    assert levels(bits, signed) == top
    ends = quantize(torch.tensor([-9.0, 9.0]), torch.tensor(1.0), bits, signed)
    assert ends.tolist() == [-top if signed else 0, top]


def test_ties_round_to_even() -> None:
    x = torch.tensor([0.5, 1.5, 2.5, -0.5, -1.5])
    assert quantize(x, torch.tensor(127.0), 8, True).tolist() == [0, 2, 2, 0, -2]


def test_all_negative_and_zero_tensors_are_zero_under_an_unsigned_range() -> None:
    for x in (torch.tensor([-1.0, -2.0]), torch.zeros(3)):
        assert quantize(x, scale_of(largest_value(x, False)), 8, False).tolist() == [0.0] * len(x)


@pytest.mark.parametrize("tiny", [1e-7, 1e-20, 1e-30])
def test_tiny_tensors_keep_their_values(tiny: float) -> None:
    x = torch.tensor([tiny, tiny / 2])
    assert quantize(x, scale_of(largest_value(x, True)), 8, True).tolist() == [127, 63]


@pytest.mark.parametrize(("largest", "excess"), [(2.0, 1e-7), (1.024e-4, 1e-7), (1.024e-5, 1e-8), (1.024e-20, 1e-23)])
def test_a_scale_exceeds_its_range_by_1e_7_and_never_by_more_than_a_thousandth(largest: float, excess: float) -> None:
    assert float(scale_of(torch.tensor(largest))) == float(torch.tensor(largest) + torch.tensor(excess))


@pytest.mark.parametrize("signed", [False, True])
def test_the_gradient_of_a_scale_is_at_the_largest_value_alone(signed: bool) -> None:
    x = torch.tensor([[1.0, -5.0], [3.0, 0.0]], requires_grad=True)
    scale = scale_with_gradient(x, signed)
    assert float(scale) == float(scale_of(largest_value(x, signed)))
    scale.mul(2.0).backward()
    assert x.grad.tolist() == ([[0.0, -2.0], [0.0, 0.0]] if signed else [[0.0, 0.0], [2.0, 0.0]])


def test_the_gradient_of_a_scale_stays_finite_in_half_precision() -> None:
    x = torch.tensor([[1.0, -2.0]], dtype=torch.float16, requires_grad=True)
    scale_with_gradient(x, True).mul(1e6).backward()
    assert x.grad.tolist() == [[0.0, -65504.0]]


def test_weights_have_one_scale_or_one_an_output_channel() -> None:
    weight = torch.tensor([[[1.0, -2.0]], [[0.5, 0.2]], [[0.0, 0.0]]])
    assert weight_scale(weight, per_channel=False).shape == ()
    scales = weight_scale(weight, per_channel=True)
    assert scales.shape == (3, 1, 1)
    torch.testing.assert_close(scales.flatten(), torch.tensor([2.0, 0.5, 1e-7]), rtol=1e-6, atol=0)
    assert quantize(weight, scales, 8, True).flatten().tolist() == [64, -127, 127, 51, 0, 0]


@pytest.mark.parametrize("signed", [False, True])
def test_gradient_is_the_identity_outside_of_the_range_and_at_zero_too(signed: bool) -> None:
    x = torch.tensor([-3.0, 0.0, 0.4, 3.0], requires_grad=True)
    slope = torch.tensor([1.0, -2.0, 3.0, -4.0])
    (fake_quantize(x, torch.tensor(1.0), 4, signed) * slope).sum().backward()
    assert torch.equal(x.grad, slope)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_any_type_gives_float32_integers_and_keeps_its_own_when_faked(dtype: torch.dtype) -> None:
    x = torch.linspace(-1, 1, 33).to(dtype)
    scale = scale_of(largest_value(x, True))
    with torch.autocast("cpu", torch.bfloat16):
        integers = quantize(x, scale, 8, True)
        faked = fake_quantize(x, scale, 8, True)
    assert integers.dtype == scale.dtype == torch.float32
    assert torch.equal(integers, quantize(x.float(), scale, 8, True))
    assert faked.dtype == dtype
    torch.testing.assert_close(faked.double(), integers.double() / 127 * scale, rtol=0.01, atol=0.01)
