"""Ranges of rows: each token is quantised by its own largest value, alone as in a batch, in every engine."""

import warnings
from typing import Any

import numpy as np
import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from asim_lightning import Plan, calibrate_, convert_
from asim_lightning.circuit import MacroConfig
from asim_lightning.engine import noise_context
from asim_lightning.nn import CimLinear, CimMatmul, QuantConv2d
from asim_lightning.nn.calibration import needs_calibration, quantized_layers
from asim_lightning.nn.linear import CimFunctionalLinear
from asim_lightning.nn.verify import verify
from asim_lightning.quant import quantize, weight_scale

MACRO = MacroConfig(5, 4, rows=7, adc_bits=5)
NOISY = MACRO.with_fields(random_noise="0.4 lsb", digital_levels=1, static={"offset": "0.5 lsb"})
KINDS = ("linear", "functional", "scores", "values")


def layer_of(kind: str, macro: MacroConfig = MACRO) -> Any:
    torch.manual_seed(2)
    if kind == "linear":
        return CimLinear(12, 5, macro=macro, signed_input=True, input_range="token", per_channel=True, name=kind).eval()
    if kind == "functional":
        return CimFunctionalLinear(macro, input_range="token", name=kind).eval()
    return CimMatmul(macro, input_range="token", name=kind, rows_in_cells=kind == "scores").eval()


def operands(kind: str, samples: int = 3) -> tuple[Tensor, ...]:
    """Tokens of very different sizes, one of them 0."""
    draw = torch.Generator().manual_seed(4)
    x = torch.randn(samples, 2, 4, 12, generator=draw) * torch.tensor([1.0, 0.0, 1e-4, 300.0])[:, None]
    if kind == "linear":
        return (x,)
    return x, torch.randn(5, 12, generator=draw) if kind == "functional" else torch.randn(
        samples, 2, 6, 12, generator=draw
    ) * torch.tensor([5.0, 1e-3, 1.0, 2.0, 0.1, 1.0])[:, None]


def of_oracle(layer: Any, x: Tensor, w: Tensor) -> np.ndarray[Any, Any]:
    """The product of integers of one row of each operand after the other, in numpy."""
    inputs, weights, bias = (np.asarray(each.detach(), np.float64) for each in (x, w, torch.zeros(w.shape[-2])))
    if isinstance(layer, CimLinear):
        bias = np.asarray(layer.bias.detach(), np.float64)
    y = np.empty((*inputs.shape[:-1], weights.shape[-2]))
    for place in np.ndindex(y.shape):
        row = inputs[place[:-1]]
        stored = weights[place[-1]] if weights.ndim == 2 else weights[(*place[:-2], place[-1])]
        own = stored if getattr(layer, "per_channel", False) or layer.rows_in_cells else weights
        scales = np.abs(row).max() or 1e-30, np.abs(own).max()
        x_integers, w_integers = np.rint(row / scales[0] * 7), np.rint(stored / scales[1] * 15)
        y[place] = x_integers @ w_integers * scales[0] * scales[1] / (7 * 15) + bias[place[-1]]
    return y


@pytest.mark.parametrize("kind", KINDS)
def test_each_row_is_quantised_by_its_own_range(kind: str) -> None:
    layer, inputs = layer_of(kind), operands(kind)
    layer.fidelity = "quantized"
    w = inputs[1] if len(inputs) > 1 else layer.weight
    if kind == "values":
        calibrate_(layer, [(inputs,)])  # one range for all values
    expected = of_oracle(layer, inputs[0], w)
    # a number halfway between two integers may be rounded to either
    within = np.abs(expected).max(-1, keepdims=True) * 1e-3 + 1e-9
    assert (np.abs(np.asarray(layer(*inputs).detach()) - expected) <= within).mean() > 0.99


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("engine", [None, "reference"])
def test_a_row_is_the_same_alone_and_in_a_batch(kind: str, engine: str | None) -> None:
    layer, inputs = layer_of(kind, NOISY), operands(kind)
    layer.engine = engine
    calibrate_(layer, [(inputs,)])

    def answer(chosen: slice) -> Tensor:
        parts = [each[chosen] if each.dim() == 4 else each for each in inputs]
        with noise_context(seed=3, sample_ids=range(3)[chosen], chip=1), torch.no_grad():
            return layer(*parts)  # type: ignore[no-any-return]

    whole = answer(slice(3))
    for place in range(3):
        assert torch.equal(answer(slice(place, place + 1))[0], whole[place])


@pytest.mark.parametrize("kind", KINDS)
def test_every_engine_computes_them(kind: str) -> None:
    layer = layer_of(kind, NOISY)
    calibrate_(layer, [(operands(kind),)])
    found = verify(layer, *operands(kind))
    assert found.ok, str(found)
    assert len(found.comparisons) > 3


@given(st.integers(-12, 12), st.sampled_from(KINDS), st.sampled_from(["simulated", "quantized", "estimated"]))
def test_a_power_of_two_passes_through(power: int, kind: str, fidelity: str) -> None:
    layer, (x, *rest) = layer_of(kind, NOISY), operands(kind)
    layer.fidelity = fidelity
    if kind == "values":
        layer.store_range(6.0, "weight_max")
    if kind == "linear":
        nn.init.zeros_(layer.bias)
    answers = []
    for factor in (2.0**power, 1.0):
        with torch.no_grad(), noise_context(seed=1, sample_ids=range(3)):
            answers.append(layer(x * factor, *rest) / factor)
    # the row of zeros has the smallest range that there is
    assert torch.equal(*(each[..., [0, 2, 3], :] for each in answers))


@pytest.mark.parametrize("noise", [0.0, 2.0])
def test_training_has_the_gradient_of_the_product_and_of_the_scale(noise: float) -> None:
    layer = layer_of("linear").train()
    layer.train_noise_model, layer.train_noise = "macro", noise
    x = operands("linear", 1)[0][..., [0, 3], :].clone().requires_grad_()
    torch.manual_seed(0)
    with noise_context(step=5):
        y = layer(x)
    (error,) = torch.autograd.grad(y.sum(), x, retain_graph=True)
    rounded = quantize(layer.weight, scale := weight_scale(layer.weight, True), 5, True) / 15 * scale
    straight = rounded.sum(0)
    largest = x.abs().argmax(-1, keepdim=True)
    others = torch.ones_like(x).scatter(-1, largest, 0.0).bool()
    torch.testing.assert_close(error[others], straight.expand_as(x)[others], rtol=1e-4, atol=1e-4)
    # the error of a row grows with its range, which is its largest value
    exact = x.detach() @ rounded.T + layer.bias
    moved = (y - exact).sum(-1, keepdim=True) / x.detach().gather(-1, largest)
    torch.testing.assert_close(
        error.gather(-1, largest), straight.expand_as(x).gather(-1, largest) + moved, rtol=1e-3, atol=1e-3
    )


def test_only_values_are_calibrated() -> None:
    for kind in KINDS:
        layer = layer_of(kind)
        assert needs_calibration(layer) == (kind == "values")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            calibrate_(layer, [(operands(kind),)])
        assert not needs_calibration(layer)
        assert layer.input_range == "token"
        assert float(layer.input_max) == -1
    assert float(layer.weight_max) == float(operands("values")[1].abs().max())
    copy = layer_of("values")
    copy.load_state_dict(layer.state_dict())
    assert torch.equal(copy(*operands("values")), layer(*operands("values")))
    with pytest.warns(UserWarning, match="Layers without a calibrated input range use the maximum of each batch"):
        layer_of("values")(*operands("values"))


def test_surgery_gives_tokens_ranges_and_convolutions_have_none() -> None:
    images = torch.rand(2, 3, 32, 32)
    small = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 1, "num_heads": 2, "num_classes": 5}
    network = timm.create_model("vit_tiny_patch16_224", **small).eval()
    convert_(network, Plan(macro=MACRO, input_range="token"), images)
    layers = quantized_layers(network)
    assert {name for name, layer in layers.items() if layer.calibrated} == {"blocks.0.attn.av"}
    assert layers["blocks.0.attn.qk"].rows_in_cells
    calibrate_(network, [images])
    with torch.no_grad(), noise_context(sample_ids=[0, 1]):
        both = network(images)
    with torch.no_grad(), noise_context(sample_ids=[1]):
        assert torch.equal(network(images[1:]), both[1:])
    with pytest.raises(ValueError, match=r"^Layer `0`: `input_range` of a convolution must be batch, calibrated or"):
        convert_(nn.Sequential(nn.Conv2d(3, 4, 3)), Plan(macro=MACRO, input_range="token", stem="macro"), images)
    with pytest.raises(ValueError, match="of a convolution"):
        QuantConv2d(3, 4, 3, input_range="token")
