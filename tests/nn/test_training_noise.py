"""Noise in training: the macro's own, by its moments against simulated reads, and a chip in the loop.

With a chip in the loop training computes what the chip does. Gradients are those of fake quantisation.
"""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from asim_lightning.circuit import MacroConfig
from asim_lightning.engine import Chip, noise_context
from asim_lightning.nn import CimConv2d, CimLinear, CimMatmul, OnMacro
from asim_lightning.nn.training_noise import ChipNoise
from tests.nn.layers import KINDS, inputs_of, layer_of

READS = 1000


def moments(layer: OnMacro, inputs: list[Tensor], reads: int = READS) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Predicted mean and deviation of each output of one sample, and those of simulated reads."""
    layer.eval()
    layer.fidelity = "quantized"
    clean, size = layer(*inputs), 100
    # a read is a sample of its own, so that a batch holds many reads
    batches = [x.expand(size, *x.shape[1:]) for x in inputs]

    def errors(**context: int) -> Tensor:
        found = []
        for first in range(0, reads, size):
            with noise_context(seed=1, sample_ids=range(first, first + size), **context):
                found.append(layer(*batches).detach() - clean)
        return torch.cat(found).flatten(1)

    layer.fidelity = "simulated"
    simulated = errors()
    layer.train()
    layer.train_noise_model, layer.train_noise = "macro", 1.0
    noise = errors(step=7)
    return noise.mean(0), noise.std(0), simulated.mean(0), simulated.std(0)


def line(x: Tensor, y: Tensor) -> tuple[float, float]:
    """Slope of y over x, and their correlation."""
    dx, dy = x - x.mean(), y - y.mean()
    return float((dx * dy).sum() / dx.square().sum()), float((dx * dy).sum() / (dx.norm() * dy.norm()))


def sparse_linear(macro: MacroConfig, signed: bool, outputs: int = 400) -> tuple[CimLinear, list[Tensor]]:
    """Outputs whose weights are filled from hardly to wholly, so that counts differ from output to output."""
    generator = torch.Generator().manual_seed(0)
    layer = CimLinear(200, outputs, macro=macro, signed_input=signed, name="a")
    share = torch.linspace(0.02, 1.0, outputs)[:, None]
    filled = torch.rand(outputs, 200, generator=generator) < share
    with torch.no_grad():
        layer.weight.copy_(torch.randn(outputs, 200, generator=generator) * filled)
    x = torch.rand(1, 200, generator=generator)
    layer.calibrate(x if not signed else x - 0.5)
    return layer, [x - 0.5 if signed else x]


# nonlinear noise falls with the number of active rows: sigma depends on the count
@pytest.mark.parametrize(
    ("macro", "signed"),
    [
        (MacroConfig(4, 4, rows=255, adc_bits=8, nonlinear_noise=2.0), False),
        (MacroConfig(4, 4, rows=63, adc_bits=6, random_noise=0.2, nonlinear_noise=3.0), False),
        (MacroConfig(4, 5, rows=255, adc_bits=8, nonlinear_noise=2.0), True),
        (MacroConfig(4, 4, rows=255, adc_bits=10, encoding_bits=2, nonlinear_noise=1.0), False),
        (MacroConfig(4, 4, rows=255, adc_bits=None, nonlinear_noise=1.0), False),
        (MacroConfig(4, 4, rows=255, adc_bits=7, adc_step=2, nonlinear_noise=2.0), False),
        (MacroConfig(4, 5, rows=255, adc_bits=6, adc_step=1, nonlinear_noise=2.0), True),
    ],
    ids=["bit serial", "several tiles", "signed", "encoded", "ideal converter", "step of 2", "range that clips"],
)
def test_its_deviation_is_that_of_simulated_reads_output_by_output(macro: MacroConfig, signed: bool) -> None:
    layer, inputs = sparse_linear(macro, signed)
    _, predicted, _, measured = moments(layer, inputs)
    slope, correlation = line(predicted, measured)
    assert abs(slope - 1) < 0.05
    assert correlation > 0.9


def test_its_level_is_that_of_reads_of_a_measured_column() -> None:
    """Codes of one output are rarely wrong, so that all outputs together are compared."""
    macro = MacroConfig(4, 4, rows=255, column="measured", column_args={"file": "measured_chip.csv"})
    predicted_mean, predicted, mean, deviation = moments(*sparse_linear(macro, False, 1000), reads=500)
    assert abs(float(predicted.mean() / deviation.mean()) - 1) < 0.05
    assert abs(float(predicted_mean.mean() - mean.mean())) < 0.05 * float(deviation.mean())


@pytest.mark.parametrize(
    ("macro", "power", "share"),
    [
        # few active rows and much noise: at count 0 half of the noise is cut off, and what is left adds up
        (MacroConfig(4, 4, rows=255, adc_bits=8, random_noise=4.0, digital_levels=2), 6, 0.2),
        (MacroConfig(4, 4, rows=255, adc_bits=4, adc_step=2, adc_low=20, random_noise=0.3), 1, 0.5),
    ],
    ids=["rectified", "clipped"],
)
def test_its_mean_is_that_of_simulated_reads(macro: MacroConfig, power: int, share: float) -> None:
    layer, (x,) = sparse_linear(macro, False)
    predicted, _, measured, deviation = moments(layer, [x**power])
    assert float(measured.abs().mean() / deviation.mean()) > share
    slope, correlation = line(predicted, measured)
    assert abs(slope - 1) < 0.1
    assert correlation > 0.9


def convolution(macro: MacroConfig) -> tuple[OnMacro, list[Tensor]]:
    layer = CimConv2d(12, 8, 3, stride=2, padding=1, groups=2, macro=macro, name="a")
    x = torch.rand(1, 12, 9, 9) * torch.linspace(0, 1, 9) ** 2  # bright to the right, so that counts differ by place
    return layer, [x]


def matmul(macro: MacroConfig) -> tuple[OnMacro, list[Tensor]]:
    return CimMatmul(macro, False, name="a"), [
        torch.rand(1, 2, 9, 60) * torch.linspace(0.05, 1, 9)[:, None] ** 2,
        torch.randn(1, 2, 8, 60) * torch.linspace(0.05, 1, 8)[:, None],
    ]


@pytest.mark.parametrize("make", [convolution, matmul])
def test_it_knows_places_groups_and_products_of_activations(
    make: Callable[[MacroConfig], tuple[OnMacro, list[Tensor]]],
) -> None:
    torch.manual_seed(0)
    layer, inputs = make(MacroConfig(4, 4, rows=63, adc_bits=6, nonlinear_noise=4.0))
    _, predicted, _, measured = moments(layer, inputs)
    slope, correlation = line(predicted, measured)
    assert abs(float(predicted.mean() / measured.mean()) - 1) < 0.03
    assert abs(slope - 1) < 0.1
    assert correlation > 0.8


def test_a_factor_scales_it_and_a_noise_free_macro_adds_nothing() -> None:
    layer, inputs = sparse_linear(MacroConfig(4, 4, random_noise=1.0), False)
    layer.train()
    clean = layer(*inputs).detach()
    layer.train_noise_model = "macro"
    errors = []
    for factor in (1.0, 2.0):
        layer.train_noise = factor
        with noise_context(step=3):
            errors.append(layer(*inputs).detach() - clean)
    torch.testing.assert_close(errors[1], 2 * errors[0], rtol=1e-3, atol=1e-4)
    assert copy.deepcopy(layer).bfloat16()(inputs[0].bfloat16()).dtype == torch.bfloat16
    layer.macro = MacroConfig(4, 4)
    assert torch.equal(layer(*inputs), clean)


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("signed", [False, True])
def test_gradients_know_that_noise_grows_with_the_weights_and_the_inputs(per_channel: bool, signed: bool) -> None:
    """Operands times s give the same integers, so the noise grows as the output does: by Euler's theorem the sum of
    operand times gradient is the slope of the loss over s."""
    macro = MacroConfig(4, 4, random_noise=2.0)
    layer = CimConv2d(3, 4, 3, bias=False, macro=macro, name="a", signed_input=signed, per_channel=per_channel)
    layer.train_noise_model, layer.train_noise = "macro", 3.0
    x = torch.rand(2, 3, 6, 6) - 0.5 * signed
    slope = torch.randn(2, 4, 4, 4)

    def loss(x: Tensor, w: Tensor) -> Tensor:
        with torch.no_grad():
            layer.weight.copy_(w)
        with noise_context(step=1):
            y = layer(x)
        return (y * slope + 0.1 * y**2).sum()

    w, h = layer.weight.detach().clone(), 1e-2
    leaf = x.clone().requires_grad_()
    layer.zero_grad()
    loss(leaf, w).backward()
    for operand, gradient, moved in (
        (w, layer.weight.grad, [loss(x, w * (1 + d)) for d in (h, -h)]),
        (x, leaf.grad, [loss(x * (1 + d), w) for d in (h, -h)]),
    ):
        found = float((operand * gradient).sum())
        # a fake-quantised operand is not its float self: gradients are taken at the rounded values
        assert found == pytest.approx(float((moved[0] - moved[1]).detach()) / (2 * h), rel=0.05)


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
        ({"read_noise": 1}, r"^`train_noise_args.read_noise` must be true or false, got 1$"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ChipNoise(**arguments)
