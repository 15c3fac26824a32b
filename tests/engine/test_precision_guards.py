"""Integers in floating point stay exact whatever the session allows, however large, and its settings come back."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

from asim_lightning.circuit import MacroConfig, transfer
from asim_lightning.circuit.columns import vote
from asim_lightning.engine import Conv2dProduct, MatmulProduct, reference, sums_of
from asim_lightning.engine.integer import integer_conv2d, integer_matmul
from asim_lightning.engine.torch_modes import exact_float32
from tests import oracle
from tests.engine.products import silent
from tests.nn.layers import ALL, inputs_of, layer_of


def kinds() -> list[Any]:
    """Backends with a precision of their own."""
    mkldnn = torch.backends.mkldnn
    return [mkldnn.matmul, mkldnn.conv, torch.backends.cuda.matmul]


def session() -> dict[str, Any]:
    """Every setting that the guard touches."""
    cudnn = torch.backends.cudnn
    return {
        "precision": torch.get_float32_matmul_precision(),
        "cudnn": (cudnn.enabled, cudnn.allow_tf32, cudnn.benchmark),
        "kinds": [kind.fp32_precision for kind in kinds()],
        "autocast": torch.is_autocast_enabled("cpu"),
    }


@contextmanager
def careless() -> Iterator[None]:
    """What a Trainer in bf16 and a hurried user set."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", torch.bfloat16):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def test_careless_settings_are_exact_inside_and_restored_also_after_an_error() -> None:
    with careless():
        before = session()
        with exact_float32("cpu"):
            inside = session()
        with pytest.raises(RuntimeError), exact_float32("cpu"):
            raise RuntimeError
        assert session() == before
    assert inside["cudnn"][0] is False
    assert inside["kinds"] == ["ieee"] * len(kinds())
    assert not inside["autocast"]


def test_where_nothing_has_to_be_set_nothing_is() -> None:
    before = session()
    with exact_float32("cpu"):
        assert session() == before
    assert not before["autocast"]


def test_a_setting_that_follows_another_still_follows_it_afterwards() -> None:
    every = [torch.backends, *kinds()]
    before = [kind.fp32_precision for kind in every]
    try:
        for kind in every:
            kind.fp32_precision = "none"
        torch.backends.fp32_precision = "bf16"
        with exact_float32("cpu"):
            pass
        torch.backends.fp32_precision = "ieee"
        assert torch.backends.mkldnn.matmul.fp32_precision == "ieee"
    finally:
        for kind, precision in zip(every, before, strict=True):
            kind.fp32_precision = precision


@pytest.mark.parametrize("number", [0, 1, 2])
def test_every_way_to_allow_rounding_on_a_cpu_is_seen(number: int) -> None:
    kind = [torch.backends, torch.backends.mkldnn.matmul, torch.backends.mkldnn.conv][number]
    before = kind.fp32_precision
    kind.fp32_precision = "bf16"
    try:
        with exact_float32("cpu"):
            assert [k.fp32_precision for k in kinds()[:2]] == ["ieee", "ieee"]
    finally:
        kind.fp32_precision = before


MACRO = MacroConfig(rows=20, adc_bits=6, encoding_bits=2, random_noise=0.5)


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("fidelity", ["quantized", "simulated"])
def test_same_codes_inside_and_outside_autocast_whose_settings_stay(kind: str, fidelity: str) -> None:
    layer, inputs = layer_of(kind, MACRO).eval(), inputs_of(kind)
    layer.fidelity = fidelity
    outside = layer(*inputs)
    with careless():
        before = session()
        inside = layer(*inputs)
        assert session() == before
    assert inside.dtype == outside.dtype
    assert torch.equal(inside, outside)


def extreme(shape: tuple[int, ...], low: int, high: int) -> Tensor:
    """Mostly the largest values, so that sums are as large as they can be."""
    values = torch.full(shape, float(high))
    values.view(-1)[torch.randperm(values.numel())[: values.numel() // 50]] = float(low) + 1
    return values


@pytest.mark.parametrize(("channels", "kernel", "bits"), [(512, 3, 8), (40, 7, 8), (512, 1, 12), (16, 3, 16)])
def test_convolutions_beyond_2_to_the_24_are_exact(channels: int, kernel: int, bits: int) -> None:
    torch.manual_seed(0)
    top = 2 ** (bits - 1) - 1
    x, w = extreme((2, channels, kernel, kernel + 1), 0, 2**bits - 1), extreme((3, channels, kernel, kernel), -top, top)
    with careless():
        got = integer_conv2d(x, w, [1, 1], [1, 0], [1, 1], 1, (2**bits - 1) * top)
    expected = torch.nn.functional.conv2d(x.long(), w.long(), padding=(1, 0))
    assert expected.max() > 2**24
    assert torch.equal(got.long(), expected)


@pytest.mark.parametrize(("terms", "bits"), [(4608, 8), (3000, 12), (1000, 16)])
@pytest.mark.parametrize("batched", [False, True])
def test_matrix_products_beyond_2_to_the_24_are_exact(terms: int, bits: int, batched: bool) -> None:
    torch.manual_seed(0)
    top = 2 ** (bits - 1) - 1
    x, w = extreme((2, 3, terms), 0, 2**bits - 1), extreme((2, 4, terms) if batched else (4, terms), -top, top)
    with careless():
        got = integer_matmul(x, w, (2**bits - 1) * top)
    expected = x.long() @ w.long().transpose(-1, -2)
    assert expected.max() > 2**24
    assert torch.equal(got.long(), expected)


@pytest.mark.parametrize(
    ("macro", "terms"),
    [
        (MacroConfig(8, 8, 255, 12, 4), 19 * 255),  # codes pass 2^31
        (MacroConfig(16, 16, 100, 16, 16), 130),  # counts of a cycle pass 2^22, sums 2^37
        (MacroConfig(8, 8, 255, 4, digital_levels=15), 600),
        (MacroConfig(12, 12, 255, 4, digital_levels=1), 3 * 255),
    ],
)
def test_simulated_sums_of_extreme_values(macro: MacroConfig, terms: int) -> None:
    torch.manual_seed(0)
    top = 2 ** (macro.weight_bits - 1) - 1
    for sign in (1, -1):
        x, w = extreme((2, terms), 0, 2**macro.input_bits - 1), sign * extreme((2, terms), -top, top)
        with careless():
            got = sums_of(reference, MatmulProduct(), transfer(macro, False), x, w, silent(2))
        expected = oracle.linear(macro, False, x.long().numpy(), w.long().numpy())
        torch.testing.assert_close(got, torch.from_numpy(expected), rtol=1e-12, atol=0)


def test_the_sum_of_many_votes_is_a_whole_number() -> None:
    codes = torch.full((301, 2), 65535.0)
    assert vote(codes, "mean").tolist() == [301 * 65535.0] * 2


@pytest.mark.parametrize("adc_bits", [16, None])
def test_no_channel_is_lost_at_256_rows(adc_bits: int | None) -> None:
    # the published simulator drops 8 of these 512 channels
    torch.manual_seed(0)
    macro = MacroConfig(rows=256, adc_bits=adc_bits)
    x, w = torch.randint(0, 256, (2, 512, 4, 3)).float(), torch.randint(-127, 128, (2, 512, 3, 3)).float()
    got = sums_of(reference, Conv2dProduct((1, 1), (0, 0), (1, 1), 1), transfer(macro, False), x, w, silent(2))
    exact = torch.nn.functional.conv2d(x.long(), w.long()).double()
    lsb = 0.0 if adc_bits is None else macro.rows / (2**adc_bits - 1)
    tiles, binary_weights = 19, 255 * 255
    assert float((got - exact).abs().max()) <= tiles * binary_weights * lsb / 2
    assert adc_bits is not None or torch.equal(got, exact)
