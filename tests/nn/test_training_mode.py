"""While training: fake-quantised operands, gradients to input and weight, and the training noise, there alone."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from asim_lightning.circuit import MacroConfig
from asim_lightning.engine import noise_context
from asim_lightning.nn import CimConv2d, CimLinear, CimMatmul
from tests import oracle

MACRO = MacroConfig(4, 5, rows=10, adc_bits=4, encoding_bits=2, random_noise=1.0)
LAYERS: dict[str, tuple[Callable[[], Any], list[tuple[int, ...]]]] = {
    "conv": (lambda: CimConv2d(3, 4, 3, padding=1, macro=MACRO, name="a"), [(5, 3, 6, 6)]),
    "linear": (lambda: CimLinear(12, 4, macro=MACRO, name="a"), [(5, 3, 12)]),
    "matmul": (lambda: CimMatmul(MACRO, False, name="a"), [(5, 2, 3, 12), (5, 2, 4, 12)]),
}


def made(kind: str) -> tuple[Any, list[Tensor]]:
    torch.manual_seed(0)
    make, shapes = LAYERS[kind]
    return make(), [torch.rand(shape, requires_grad=True) for shape in shapes]


def faked(x: Tensor, bits: int, signed: bool) -> Tensor:
    integers, scale = oracle.quantise(x.detach().numpy(), bits, signed)
    return torch.from_numpy(integers).float() / (2 ** (bits - signed) - 1) * float(scale)


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("fidelity", ["float", "quantized", "simulated"])
def test_the_answer_is_the_product_of_rounded_operands_at_any_fidelity(kind: str, fidelity: str) -> None:
    layer, inputs = made(kind)
    layer.fidelity = fidelity
    x = faked(inputs[0], 5, False)
    w = faked(inputs[1] if kind == "matmul" else layer.weight, 4, True)
    if kind == "conv":
        expected = F.conv2d(x, w, layer.bias, padding=1)
    else:
        expected = x @ w.transpose(-1, -2) + (layer.bias if kind == "linear" else 0)
    torch.testing.assert_close(layer(*inputs), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", LAYERS)
def test_gradients_are_those_of_the_product_of_rounded_operands(kind: str) -> None:
    layer, inputs = made(kind)
    y = layer(*inputs)
    slope = torch.randn_like(y)
    (y * slope).sum().backward()
    operands = [inputs[0], inputs[1] if kind == "matmul" else layer.weight]
    x, w = faked(operands[0], 5, False).requires_grad_(), faked(operands[1], 4, True).requires_grad_()
    plain = F.conv2d(x, w, padding=1) if kind == "conv" else x @ w.transpose(-1, -2)
    (plain * slope).sum().backward()
    torch.testing.assert_close(operands[0].grad, x.grad, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(operands[1].grad, w.grad, rtol=1e-4, atol=1e-5)


def test_a_weight_of_zero_can_be_trained() -> None:
    layer, (x,) = made("linear")
    torch.nn.init.zeros_(layer.weight)
    layer(x).sum().backward()
    assert (layer.weight.grad > 0).all()


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("fidelity", ["float", "quantized", "simulated"])
def test_training_noise_is_only_there_while_training(kind: str, fidelity: str) -> None:
    layer, inputs = made(kind)
    layer.fidelity = fidelity
    layer.eval()
    quiet = layer(*inputs)
    layer.train_noise = 50.0
    assert torch.equal(layer(*inputs), quiet)
    layer.train()
    noisy = layer(*inputs)
    layer.train_noise = 0.0
    assert not torch.allclose(noisy, layer(*inputs))


def test_training_noise_multiplies_the_output_bias_included() -> None:
    torch.manual_seed(0)
    layer, x = CimLinear(8, 5000, macro=MACRO), torch.rand(4, 8)
    clean = layer(x)
    layer.train_noise = 20.0
    factor = layer(x) / clean
    assert abs(float(factor.mean().detach()) - 1) < 4 * 0.2 / 20000**0.5
    assert abs(float(factor.std().detach()) / 0.2 - 1) < 0.02


def test_gradients_pass_through_the_noise_factor() -> None:
    layer, (x,) = made("linear")
    layer.train_noise = 50.0
    y = layer(x)
    y.sum().backward()
    layer.train_noise = 0.0
    factor = (y / layer(x)).detach()
    torch.testing.assert_close(layer.bias.grad, factor.sum((0, 1)), rtol=1e-4, atol=1e-4)


def test_training_noise_belongs_to_seed_step_and_sample() -> None:
    layer, (x,) = made("conv")
    layer.train_noise = 50.0

    def step(seed: int, number: int, ids: list[int]) -> Tensor:
        with noise_context(seed=seed, sample_ids=ids, step=number):
            return layer(x[:2]).detach()

    first = step(1, 7, [4, 5])
    assert torch.equal(first, step(1, 7, [4, 5]))
    for other in (step(2, 7, [4, 5]), step(1, 8, [4, 5]), step(1, 7, [5, 6])):
        assert not torch.isclose(first, other).all(0).any()


def test_evaluation_builds_no_graph() -> None:
    for kind in LAYERS:
        layer, inputs = made(kind)
        assert not layer.eval()(*inputs).requires_grad


def test_training_noise_differs_from_step_to_step_without_a_context() -> None:
    torch.manual_seed(0)
    layer, x = CimLinear(6, 4, macro=MacroConfig()).train(), torch.rand(2, 6)
    layer.train_noise = 50.0
    assert not torch.equal(layer(x), layer(x))
    for wrong in (-1.0, float("nan"), float("inf"), "5"):
        with pytest.raises(ValueError, match=r"`train_noise` must be 0 or more, got"):
            layer.train_noise = wrong  # type: ignore[assignment]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_float_fidelity_and_training_keep_the_type_of_the_input(dtype: torch.dtype) -> None:
    x = torch.rand(2, 3, 5, 5, dtype=dtype)
    layer = CimConv2d(3, 4, 3, macro=MacroConfig())
    assert layer.train()(x).dtype == dtype
    layer.fidelity = "float"
    assert layer.eval()(x).dtype == dtype


def test_training_noise_differs_from_step_to_step_in_one_context_and_in_several() -> None:
    layer, (x,) = made("linear")
    layer.train_noise = 50.0
    x = x.detach()[:1]

    def in_one() -> list[Tensor]:
        with noise_context(seed=1):
            return [layer(x).detach() for _ in range(3)]

    def one_each() -> list[Tensor]:
        steps = []
        for _ in range(3):
            with noise_context(seed=1):
                steps.append(layer(x).detach())
        return steps

    drawn = [*in_one(), *one_each(), *in_one(), *one_each()]
    for number, first in enumerate(drawn):
        assert not any(torch.isclose(first, other).any() for other in drawn[number + 1 :])


def test_a_numbered_step_counts_nothing_and_a_new_layer_begins_anew() -> None:
    def steps(numbered: int) -> list[Tensor]:
        layer, (x,) = made("linear")
        layer.train_noise = 50.0
        for number in range(numbered):
            with noise_context(seed=1, step=number):
                layer(x)
        with noise_context(seed=1):
            return [layer(x).detach() for _ in range(2)]

    for first, second in zip(steps(0), steps(5), strict=True):
        assert torch.equal(first, second)


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
    with pytest.raises(ValueError, match=r"Layer `a` is trained with noise, which activation checkpointing would draw"):
        y.sum().backward()
