"""Layers in evaluation with a gradient: the value is that of evaluation, the gradient that of the rounded product."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from asim_lightning import MacroConfig
from asim_lightning.nn import CimConv2d, CimLinear, CimMatmul, QuantConv2d
from asim_lightning.quant import fake_quantize, scale_of

MACRO = MacroConfig(4, 4, 16, 6, random_noise=2.0)
SIGNED = MacroConfig(4, 5, 16, 6, random_noise=2.0)


def conv() -> tuple[nn.Module, tuple[Tensor, ...]]:
    layer = CimConv2d.from_float(nn.Conv2d(3, 4, 3, padding=1), MACRO, input_range="calibrated", name="conv")
    return layer, (torch.rand(2, 3, 5, 5),)


def stem() -> tuple[nn.Module, tuple[Tensor, ...]]:
    layer = QuantConv2d.from_float(nn.Conv2d(3, 4, 3), 8, 8, signed_input=True, input_range="calibrated", name="stem")
    return layer, (torch.randn(2, 3, 5, 5),)


def linear() -> tuple[nn.Module, tuple[Tensor, ...]]:
    layer = CimLinear.from_float(nn.Linear(20, 6), SIGNED, signed_input=True, input_range="calibrated", name="fc")
    return layer, (torch.randn(3, 20),)


def product() -> tuple[nn.Module, tuple[Tensor, ...]]:
    return CimMatmul(SIGNED, signed_input=True, input_range="calibrated", name="qk"), (
        torch.randn(2, 3, 8),
        torch.randn(2, 4, 8),
    )


@pytest.mark.parametrize("made", [conv, stem, linear, product])
@pytest.mark.parametrize("fidelity", ["quantized", "simulated"])
def test_value_of_evaluation_and_gradient_of_the_rounded_product(made: Any, fidelity: str) -> None:
    torch.manual_seed(0)
    layer, inputs = made()
    layer.calibrate(*inputs)
    layer.eval().fidelity = fidelity
    plain = layer(*inputs)
    assert not plain.requires_grad
    inputs = tuple(each.clone().requires_grad_() for each in inputs)
    layer.has_gradient = True
    y = layer(*inputs)
    assert torch.equal(y.detach(), plain)
    towards = torch.randn_like(y)
    found = torch.autograd.grad(y, inputs, towards)
    x, *rest = (each.detach().clone().requires_grad_() for each in inputs)
    w = rest[0] if rest else layer.weight.detach()
    rounded = fake_quantize(x, scale_of(layer.input_max), layer.input_bits, layer.signed_input)
    held = fake_quantize(w, scale_of(layer.weight_max if rest else w.abs().max()), layer.weight_bits, True)
    if rest:
        again = rounded @ held.transpose(-1, -2)
    elif isinstance(layer, CimLinear):
        again = nn.functional.linear(rounded, held, layer.bias)
    else:
        again = nn.functional.conv2d(rounded, held, layer.bias, padding=layer.padding)
    for mine, other in zip(found, torch.autograd.grad(again, [x, *rest], towards), strict=True):
        assert torch.allclose(mine, other, atol=1e-5)


@pytest.mark.parametrize(("signed", "inside"), [(False, [True, True, False]), (True, [False, True, True, False])])
def test_an_input_beyond_the_stored_range_has_no_gradient(signed: bool, inside: list[bool]) -> None:
    x = torch.tensor([[-1.5, 0.0, 1.0, 1.5]] if signed else [[0.0, 1.0, 1.5]], requires_grad=True)
    layer = CimLinear(x.shape[1], 1, macro=SIGNED, signed_input=signed, name="fc")
    layer.store_range(1.0)
    layer.eval().has_gradient = True
    (found,) = torch.autograd.grad(layer(x).sum(), x)
    held = fake_quantize(layer.weight.detach(), scale_of(layer.weight.detach().abs().max()), 4, True)
    assert torch.equal(found, held * torch.tensor([inside]))


def test_both_operands_of_a_product_have_ranges() -> None:
    layer = CimMatmul(SIGNED, signed_input=False, name="qk")
    layer.store_range(1.0)
    layer.store_weight_range(1.0)
    layer.eval().has_gradient = True
    x, w = torch.full((1, 1, 2), 1.0, requires_grad=True), torch.tensor([[[-1.5, 1.0]]], requires_grad=True)
    found = torch.autograd.grad(layer(x, w).sum(), (x, w))
    assert [each.flatten().tolist() for each in found] == [[pytest.approx(-1), pytest.approx(1)], [0, pytest.approx(1)]]
