"""Layers in evaluation with a gradient: the value is that of evaluation, the gradient that of the rounded product."""

import pytest
import torch

from asim_lightning import MacroConfig
from asim_lightning.nn import CimLinear, CimMatmul
from asim_lightning.quant import fake_quantize, scale_of
from tests.nn.layers import ALL, inputs_of, layer_of, product_of

MACRO = MacroConfig(4, 5, 16, 6, random_noise=2.0)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("fidelity", ["quantized", "simulated"])
def test_value_of_evaluation_and_gradient_of_the_rounded_product(kind: str, fidelity: str, signed: bool) -> None:
    layer = layer_of(kind, MACRO, signed_input=signed, input_range="calibrated").eval()
    inputs = [x - 0.5 * signed for x in inputs_of(kind)]
    layer.calibrate(*inputs)
    layer.fidelity = fidelity
    plain = layer(*inputs)
    assert not plain.requires_grad
    inputs = [each.requires_grad_() for each in inputs]
    layer.has_gradient = True
    y = layer(*inputs)
    assert torch.equal(y.detach(), plain)
    towards = torch.randn_like(y)
    found = torch.autograd.grad(y, inputs, towards)
    x, *rest = (each.detach().clone().requires_grad_() for each in inputs)
    w = rest[0] if rest else layer.weight.detach()
    rounded = fake_quantize(x, scale_of(layer.input_max), layer.input_bits, signed)
    held = fake_quantize(w, scale_of(layer.weight_max if rest else w.abs().max()), layer.weight_bits, True)
    again = product_of(kind, rounded, held)
    for mine, other in zip(found, torch.autograd.grad(again, [x, *rest], towards), strict=True):
        assert torch.allclose(mine, other, atol=1e-5)


@pytest.mark.parametrize(("signed", "inside"), [(False, [True, True, False]), (True, [False, True, True, False])])
def test_an_input_beyond_the_stored_range_has_no_gradient(signed: bool, inside: list[bool]) -> None:
    x = torch.tensor([[-1.5, 0.0, 1.0, 1.5]] if signed else [[0.0, 1.0, 1.5]], requires_grad=True)
    layer = CimLinear(x.shape[1], 1, macro=MACRO, signed_input=signed, name="fc")
    layer.store_range(1.0)
    layer.eval().has_gradient = True
    (found,) = torch.autograd.grad(layer(x).sum(), x)
    held = fake_quantize(layer.weight.detach(), scale_of(layer.weight.detach().abs().max()), 4, True)
    assert torch.equal(found, held * torch.tensor([inside]))


def test_both_operands_of_a_product_have_ranges() -> None:
    layer = CimMatmul(MACRO, signed_input=False, name="qk")
    layer.store_range(1.0)
    layer.store_range(1.0, "weight_max")
    layer.eval().has_gradient = True
    x, w = torch.full((1, 1, 2), 1.0, requires_grad=True), torch.tensor([[[-1.5, 1.0]]], requires_grad=True)
    found = torch.autograd.grad(layer(x, w).sum(), (x, w))
    assert [each.flatten().tolist() for each in found] == [[pytest.approx(-1), pytest.approx(1)], [0, pytest.approx(1)]]
