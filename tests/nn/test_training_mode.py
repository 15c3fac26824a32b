"""While training: fake-quantised operands, gradients to input and weight, and the training noise, there alone.

In evaluation with a gradient the value is that of evaluation, and the gradient that of the rounded product.
"""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from asim_lightning.circuit import MacroConfig
from asim_lightning.engine import noise_context
from asim_lightning.nn import CimLinear, CimMatmul
from asim_lightning.quant import fake_quantize, scale_of
from tests import oracle
from tests.nn.layers import ALL, EVERY, inputs_of, layer_of, product_of

MACRO = MacroConfig(4, 5, rows=10, adc_bits=4, encoding_bits=2, random_noise=1.0)


def made(kind: str) -> tuple[Any, list[Tensor]]:
    layer, inputs = layer_of(kind, MACRO), inputs_of(kind)
    return layer, [x.requires_grad_() for x in inputs]


def faked(x: Tensor, bits: int, signed: bool) -> Tensor:
    integers, scale = oracle.quantise(x.detach().numpy(), bits, signed)
    return torch.from_numpy(integers).float() / (2 ** (bits - signed) - 1) * float(scale)


@pytest.mark.parametrize("kind", EVERY)
@pytest.mark.parametrize("fidelity", ["float", "quantized", "simulated"])
def test_answer_and_gradients_are_those_of_rounded_operands_at_any_fidelity(kind: str, fidelity: str) -> None:
    layer, inputs = made(kind)
    layer.fidelity = fidelity
    operands = [inputs[0], inputs[1] if kind == "matmul" else layer.weight]
    x, w = faked(operands[0], 5, False).requires_grad_(), faked(operands[1], 4, True).requires_grad_()
    y, expected = layer(*inputs), product_of(kind, x, w, getattr(layer, "bias", None))
    torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-5)
    slope = torch.randn_like(y)
    (y * slope).sum().backward()
    (expected * slope).sum().backward()
    torch.testing.assert_close(operands[0].grad, x.grad, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(operands[1].grad, w.grad, rtol=1e-4, atol=1e-5)


def test_training_noise_multiplies_the_output_bias_included_and_gradients() -> None:
    layer, x = CimLinear(8, 5000, macro=MACRO), torch.rand(4, 8)
    clean = layer(x).detach()
    layer.train_noise = 20.0
    y = layer(x)
    y.sum().backward()
    factor = y.detach() / clean
    assert abs(float(factor.mean()) - 1) < 4 * 0.2 / 20000**0.5
    assert abs(float(factor.std()) / 0.2 - 1) < 0.02
    torch.testing.assert_close(layer.bias.grad, factor.sum(0), rtol=1e-3, atol=1e-3)


def test_training_noise_differs_from_step_to_step_without_a_context_in_one_and_in_several() -> None:
    layer, (x,) = made("linear")
    layer.train_noise = 50.0

    def steps(count: int) -> list[Tensor]:
        return [layer(x[:1]).detach() for _ in range(count)]

    with noise_context(seed=1):
        first_of_seed = steps(1)[0]
    drawn = steps(3)
    for count in (3, 1, 1, 3, 1):
        with noise_context(seed=1):
            drawn += steps(count)
    for number, first in enumerate(drawn):
        assert not any(torch.isclose(first, other).any() for other in drawn[number + 1 :])
    (layer, _), drawn = made("linear"), []
    layer.train_noise = 50.0
    with noise_context(seed=1, step=5):
        steps(1)  # which counts nothing
    with noise_context(seed=1):
        assert torch.equal(steps(1)[0], first_of_seed)


@pytest.mark.parametrize("reentrant", [True, False])
def test_activation_checkpointing_is_refused_with_noise_alone(reentrant: bool) -> None:
    layer, (x,) = made("linear")
    layer(x).sum().backward()
    expected = layer.weight.grad.clone()
    layer.zero_grad()
    checkpoint(layer, x, use_reentrant=reentrant).sum().backward()
    assert torch.equal(layer.weight.grad, expected)
    layer.train_noise = 5.0
    y = checkpoint(layer, x, use_reentrant=reentrant)
    with pytest.raises(ValueError, match=r"`net\.layer` is trained with noise, and activation checkpointing"):
        y.sum().backward()


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


@pytest.mark.parametrize("signed", [False, True])
def test_an_operand_beyond_its_stored_range_has_no_gradient(signed: bool) -> None:
    layer = CimMatmul(MACRO, signed_input=signed, name="qk")
    for name in layer.ranges:
        layer.store_range(1.0, name)
    layer.eval().has_gradient = True
    x, w = (
        torch.tensor([[[-1.5 * signed, 1.0, 1.0]]]).requires_grad_(),
        torch.tensor([[[1.0, -1.5, 1.0]]]).requires_grad_(),
    )
    found = torch.autograd.grad(layer(x, w).sum(), (x, w))
    expected = [[0 if signed else 1, -1, 1], [-1 if signed else 0, 0, 1]]
    assert [each.flatten().tolist() for each in found] == [pytest.approx(each) for each in expected]
