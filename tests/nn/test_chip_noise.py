"""A chip in the loop: training computes what the chip does, with gradients of fake quantisation."""

from typing import Any

import pytest
import torch
from torch import Tensor

from asim_lightning.circuit import MacroConfig
from asim_lightning.engine import Chip, noise_context
from asim_lightning.nn import OnMacro
from asim_lightning.nn.training_noise import ChipNoise
from tests.nn.layers import KINDS, inputs_of, layer_of

STATIC: dict[str, Any] = {"offset": "1 lsb", "gain": "3 %", "stuck_at_1": 0.02}
MACRO = MacroConfig(4, 4, 40, 5, static=STATIC)


def case(kind: str, macro: MacroConfig = MACRO) -> tuple[Any, list[Tensor]]:
    return layer_of(kind, macro, signed_input=True), [2 * x - 1 for x in inputs_of(kind)]


def trained(layer: OnMacro, inputs: list[Tensor], model: Any, amount: float = 1.0, **context: Any) -> Tensor:
    layer.train()
    layer.train_noise_model, layer.train_noise = model, amount
    with noise_context(sample_ids=[4, 5, 6], **context):
        return layer(*inputs)


def simulated(layer: OnMacro, inputs: list[Tensor], **context: Any) -> Tensor:
    layer.eval()
    layer.fidelity = "simulated"
    with noise_context(sample_ids=[4, 5, 6], **context):
        return layer(*inputs)


every_kind = pytest.mark.parametrize("kind", KINDS)


@every_kind
def test_the_output_is_that_of_the_chip(kind: str) -> None:
    layer, inputs = case(kind)
    expected = simulated(layer, inputs, chip=7)
    torch.testing.assert_close(trained(layer, inputs, "chip", chip=7), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(trained(layer, inputs, ChipNoise(chip=7)), expected, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(trained(layer, inputs, "chip", chip=8), expected, atol=1e-2)


@every_kind
def test_a_step_is_a_read_with_noise_of_its_own_or_none(kind: str) -> None:
    layer, inputs = case(kind, MACRO.with_fields(random_noise=2.0))
    expected = simulated(layer, inputs, chip=7, trial=9)
    torch.testing.assert_close(trained(layer, inputs, "chip", chip=7, step=9), expected, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(trained(layer, inputs, "chip", chip=7, step=10), expected)
    far = trained(layer, inputs, "chip", chip=7, step=9 + 2**16)
    assert not torch.allclose(far, expected)
    quiet = case(kind)
    found = trained(layer, inputs, ChipNoise(read_noise=False), chip=7, step=9)
    torch.testing.assert_close(found, simulated(*quiet, chip=7), rtol=1e-5, atol=1e-5)


@every_kind
def test_gradients_are_those_of_fake_quantisation(kind: str) -> None:
    gradients = []
    for amount in (0.0, 1.0):
        layer, inputs = case(kind)
        leaves = [x.requires_grad_() for x in inputs]
        y = trained(layer, inputs, "chip", amount, chip=7)
        (y * torch.randn(y.shape, generator=torch.Generator().manual_seed(1))).sum().backward()
        gradients.append([x.grad for x in leaves] + [p.grad for p in layer.parameters()])
    for plain, in_the_loop in zip(*gradients, strict=True):
        assert torch.equal(plain, in_the_loop)


def test_fresh_chips_are_a_function_of_seed_and_step() -> None:
    layer, inputs = case("conv")
    found = [
        trained(layer, inputs, ChipNoise("fresh"), seed=seed, step=step)
        for seed, step in [(1, 5), (1, 5), (1, 6), (2, 5)]
    ]
    assert torch.equal(found[0], found[1])
    assert not torch.allclose(found[0], found[2], atol=1e-2)
    assert not torch.allclose(found[0], found[3], atol=1e-2)
    number = ChipNoise("fresh").number
    with noise_context(seed=1, step=5) as scope:
        sources = [scope.source(name, 3, torch.device("cpu")) for name in ("a", "b")]
    assert number(sources[0], Chip()) == number(sources[1], Chip())  # all layers are on one chip


def test_the_amount_scales_the_spreads() -> None:
    halved = MACRO.with_fields(static={"offset": "0.5 lsb", "gain": "1.5 %", "stuck_at_1": 0.01})
    layer, inputs = case("conv")
    expected = simulated(*case("conv", halved), chip=7)
    torch.testing.assert_close(trained(layer, inputs, "chip", 0.5, chip=7), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"chip": "frsh"}, r"^`train_noise_args.chip` must be 0\.\.4294967295, fresh or null, got 'frsh'$"),
        ({"chip": -1}, r"^`train_noise_args.chip` must be 0\.\.4294967295, fresh or null, got -1$"),
        ({"read_noise": 1}, r"^`train_noise_args.read_noise` must be true or false, got 1$"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ChipNoise(**arguments)
