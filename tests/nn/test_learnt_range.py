"""Ranges of ADCs that are trained: the macro's own outputs, and gradients of rounding and clipping by autograd."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from asim_lightning.circuit import MacroConfig, StaticEffects
from asim_lightning.engine import noise_context
from asim_lightning.nn import CimLinear
from asim_lightning.nn.learnt_range import LearntRange
from asim_lightning.nn.training_noise import ChipNoise
from asim_lightning.surgery.settings import store_adc_ranges_, train_adc_

MACRO = MacroConfig(weight_bits=3, input_bits=4, rows=16, adc_bits=3, adc_step=1)
MACROS: dict[str, dict[str, Any]] = {
    "bit by bit": {},
    "encoded, remainder": {"encoding_bits": 3, "adc_bits": 4},
    "flip": {"weight_coding": "flip", "digital_levels": 1},
    "digital levels": {"encoding_bits": 2, "digital_levels": 2},
    "mean of votes": {"votes": 3, "vote_levels": 4, "vote": "mean", "random_noise": 4.0},
    "weight-parallel": {"weight_parallel": True, "adc_bits": 5, "adc_step": 30},
    "a noisy chip": {"random_noise": 3.0, "static": StaticEffects(offset="0.4 lsb", gain=2.0)},
}


def layer_of(fields: dict[str, Any], step: int, low: int, signed: bool = False) -> tuple[CimLinear, Tensor]:
    torch.manual_seed(0)
    layer = CimLinear(24, 5, macro=MACRO.with_fields(**fields), signed_input=signed, name="a").train()
    layer.train_noise_model, layer.train_noise = ChipNoise(), 1.0
    train_adc_(layer)
    assert layer.adc_range is not None
    layer.adc_range.begin(step, low)
    return layer, torch.randn(7, 24) if signed else torch.rand(7, 24)


def by_hand(layer: CimLinear, x: Tensor, step: Tensor, low: Tensor) -> Tensor:
    """Outputs in counts without noise, conversion by conversion, with straight-through rounding."""
    _, integers, w = layer.eval().quantized_operands(x)
    layer.train()
    total = torch.zeros(len(x), 5, dtype=torch.float64)
    for cycle in layer.transfer.cycles:
        for first in range(0, 24, 16):
            rows = slice(first, first + 16)

            def digit(values: Tensor, bits: tuple[int, ...], top_is_sign: bool) -> Tensor:
                planes = [(values.long() >> b & 1) * 2**n for n, b in enumerate(bits)]
                return sum(planes[:-1]) + (-planes[-1] if top_is_sign else planes[-1])  # type: ignore[return-value]

            digits = digit(integers[:, rows], cycle.input_bits, cycle.input_signed).double()
            held = digit(w[:, rows], cycle.weight_bits, cycle.weight_signed).double()
            weight: torch.Tensor | int = cycle.sign * 2**cycle.shift
            if layer.macro.weight_coding == "flip":
                many = 2 * held.sum(1) > held.shape[1]
                held = torch.where(many[:, None], 1 - held, held)
                total = total + weight * many * digits.sum(1, keepdim=True)
                weight = torch.where(many, -weight, weight)
            count = digits @ held.T
            if not cycle.converted:
                total = total + weight * count
                continue
            assert cycle.top_code is not None
            place = (count - low) / step
            low_code = -cycle.top_code if cycle.signed else 0
            inside = (place >= low_code) & (place <= cycle.top_code)  # the gradient of clamp is 0 there in torch 2.14
            clipped = torch.where(inside, place, place.detach().clamp(low_code, cycle.top_code))
            code = clipped + (clipped.round() - clipped).detach()
            total = total + weight * (step * code + low)
    return total


@pytest.mark.parametrize("name", [name for name in MACROS if "noisy" not in name and "votes" not in name])
@pytest.mark.parametrize("signed", [False, True])
def test_gradients_are_those_of_rounding_and_clipping(name: str, signed: bool) -> None:
    step, low = (40, 0) if name == "weight-parallel" else (2, 1)
    layer, x = layer_of(MACROS[name], step, low, signed)
    assert layer.adc_range is not None
    layer.macro = layer.macro.with_fields(adc_step=step, adc_low=low)
    y = layer(x)
    y.square().sum().backward()
    values = [torch.tensor(float(each), dtype=torch.float64, requires_grad=True) for each in (step, low)]
    value = float((layer.hold_ranges(x)[0]).flatten()[0])
    outputs = by_hand(layer, x, *values) * value
    assert torch.allclose(y.detach().double() - layer.bias.detach(), outputs.detach(), atol=1e-5)
    (outputs + layer.bias.detach()).square().sum().backward()
    scale = 1 / math.sqrt(y.numel() * layer.macro.top_code)  # type: ignore[operator]
    by_step, by_low = (float(each.grad) for each in values)  # type: ignore[arg-type]
    assert by_step != 0
    assert float(layer.adc_range.growth.grad) == pytest.approx(by_step * step * scale, rel=1e-4)  # type: ignore[arg-type]
    if name == "weight-parallel":  # counts may be negative, and code 0 is count 0
        assert layer.adc_range.shift.grad is None
        return
    assert by_low != 0
    assert float(layer.adc_range.shift.grad) == pytest.approx(by_low * step * scale, rel=1e-4)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", MACROS)
def test_outputs_are_those_of_a_chip_with_the_learnt_range(name: str) -> None:
    low = 0 if name == "weight-parallel" else 2
    layer, x = layer_of(MACROS[name], 30, low)
    assert layer.adc_range is not None
    with torch.no_grad():
        layer.adc_range.growth.fill_(math.log(0.1))
        layer.adc_range.shift.fill_(0.06 * (low > 0))
    low = 4 if low else 0  # 2 + 0.06 * 30 is 3.8
    assert layer.adc_range.whole == (3, low)
    with noise_context(seed=3, step=5):
        learnt = layer(x).detach()
    offset = layer.macro.converter_spreads[0] / layer.macro.codes_of_full_scale if layer.macro.adc_step else 0
    store_adc_ranges_(layer)
    assert layer.macro.converter_spreads[0] / (layer.macro.codes_of_full_scale or 1) == pytest.approx(offset)
    train_adc_(layer, False)
    assert (layer.macro.adc_step, layer.macro.adc_low) == (3, low)
    layer.engine = "reference"
    with noise_context(seed=3, step=5):
        chip = layer(x).detach()
    if any(layer.transfer.noisy):  # in distribution where another engine draws the noise of the chip in the loop
        assert learnt.std() == pytest.approx(float(chip.std()), rel=0.5)
    else:
        assert torch.allclose(learnt, chip, atol=1e-6)


def test_weights_with_and_without_ranges_load_into_each_other() -> None:
    layer, _ = layer_of({}, 2, 1)
    plain = CimLinear(24, 5, macro=MACRO, name="a")
    plain.load_state_dict(layer.state_dict())
    assert torch.equal(plain.weight, layer.weight)
    other, _ = layer_of({}, 5, 0)
    other.load_state_dict(plain.state_dict())
    assert other.adc_range is not None
    assert other.adc_range.whole == (5, 0)


def test_macros_without_a_range_are_refused() -> None:
    ideal = CimLinear(24, 5, macro=MACRO.with_fields(adc_step=None, adc_bits=None), name="0")
    digital = CimLinear(24, 5, macro=MacroConfig(digital_levels=99), name="a")
    for none in (nn.Sequential(ideal), digital):
        with pytest.raises(ValueError, match=r"^`train_adc` must be false, because no layer is on a macro with an ADC"):
            train_adc_(none)
    train_adc_(nn.Sequential(ideal, digital, learnt := CimLinear(24, 5, macro=MACRO, name="b")))
    assert [each.adc_range is None for each in (ideal, digital, learnt)] == [True, True, False]


def test_a_range_that_was_learnt_for_other_bits_is_left_out() -> None:
    layer, other = (CimLinear(24, 5, macro=MACRO.with_fields(adc_bits=bits), name="a") for bits in (4, 5))
    for each in (layer, other):
        train_adc_(each)
    assert layer.adc_range is not None
    layer.adc_range.begin(3, 1, 4)
    with pytest.warns(UserWarning, match="learnt with `macro.adc_bits` 4, and the macro has 5"):
        other.load_state_dict(layer.state_dict())
    assert not other.adc_range.is_started  # type: ignore[union-attr]
    assert other.macro == MACRO.with_fields(adc_bits=5)


@pytest.mark.parametrize(("name", "start", "least"), [("growth", (2, 0), 1), ("shift", (2, 0), 0)])
def test_a_range_at_its_limit_moves_only_back(name: str, start: tuple[int, int], least: int) -> None:
    adc_range = LearntRange()
    adc_range.begin(*start)
    parameter, number = getattr(adc_range, name), {"growth": 0, "shift": 1}[name]
    with torch.no_grad():
        parameter.fill_(-3.0)
    assert adc_range.whole[number] == least
    for gradient, moves in ((1.0, False), (-1.0, True)):
        parameter.grad = None
        (adc_range._values()[number] * gradient).backward()
        assert bool(parameter.grad) is moves


def test_counts_beyond_float16_give_no_infinity() -> None:
    layer, x = layer_of({"weight_bits": 8, "input_bits": 8, "rows": 1024}, 1, 0)
    with torch.autocast("cpu", torch.float16):
        y = layer(x)
    assert y.dtype == torch.float16
    assert y.isfinite().all()
    y.float().sum().backward()
    assert layer.adc_range is not None
    assert layer.adc_range.growth.grad is not None
    assert layer.adc_range.growth.grad.isfinite()


@pytest.mark.parametrize(
    ("noise", "signed", "step", "bits"),
    [(0.1, False, 24, 5), (0.6, False, 24, 5), (0.1, True, 8, 8), (0.3, True, 6, 8)],
)
def test_gradients_of_the_step_are_those_of_the_expected_loss(noise: float, signed: bool, step: int, bits: int) -> None:
    """Against finite differences: noise keeps its voltage, so that it must not push the step. Counts of the sign plane
    of signed inputs have a deviation of 3.5, so that 8 and 6 counts are an LSB over which they spread."""
    torch.manual_seed(0)
    x, digits = torch.rand(1000, 200) ** 3, 4 - signed
    x = x * torch.where(torch.rand_like(x) < 0.5, -1, 1) if signed else x
    full_scale = 255 * (2**digits - 1)
    macro = MacroConfig(3, 4, 255, bits, encoding_bits=digits, random_noise=100 * noise * step / full_scale)
    layer = CimLinear(200, 8, bias=False, macro=macro, signed_input=signed, name="a").train()
    layer.weight.data = torch.randn(8, 200) * 0.05
    wanted = layer(x).detach()  # of the integers, without the macro
    layer.train_noise_model, layer.train_noise = ChipNoise(), 1.0
    train_adc_(layer)
    assert layer.adc_range is not None

    def loss(step: int, read: int) -> Tensor:
        layer.adc_range.begin(step, 0)  # type: ignore[union-attr]
        layer.adc_range.growth.grad = None  # type: ignore[union-attr]
        with noise_context(seed=read, step=read):
            return (layer(x) - wanted).square().mean()

    slopes, differences = [], []
    for read in range(4):
        loss(step, read).backward()
        scale = step / math.sqrt(wanted.numel() * macro.top_code)  # type: ignore[operator]
        slopes.append(float(layer.adc_range.growth.grad) / scale)  # type: ignore[arg-type]
        with torch.no_grad():
            half = step // 4
            differences.append(float(loss(step + half, read) - loss(step - half, read)) / (2 * half))
    assert sum(slopes) == pytest.approx(sum(differences), rel=0.13 if signed else 0.10)
