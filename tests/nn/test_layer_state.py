"""Layers are saved, copied and moved like torch's own, and keep the type of their input."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from asim_lightning.circuit import MacroConfig
from asim_lightning.engine import noise_context
from asim_lightning.nn import PACT, CimConv2d, CimLinear, CimMatmul
from tests.nn.layers import ALL, inputs_of, layer_of

MACRO = MacroConfig(4, 5, rows=10, adc_bits=5, encoding_bits=2, random_noise="0.3 lsb")


def calibrated(kind: str) -> tuple[Any, tuple[Tensor, ...]]:
    """A layer in evaluation with a range of its own, and inputs that pass it."""
    layer, inputs = layer_of(kind, MACRO, input_range="calibrated").eval(), inputs_of(kind)
    layer.calibrate(*(0.6 * t for t in inputs))
    return layer, inputs


@pytest.mark.parametrize("kind", ["conv", "digital", "linear"])
def test_a_float_networks_state_dict_loads_strictly_and_keeps_the_range(kind: str) -> None:
    layer, _ = calibrated(kind)
    plain: nn.Module = nn.Linear(12, 4) if kind == "linear" else nn.Conv2d(3, 4, 3)
    state = plain.state_dict()
    with pytest.warns(UserWarning, match="^Weights were loaded without input ranges, so layers still use"):
        layer.load_state_dict(state)
    assert set(state) == {"weight", "bias"}
    assert torch.equal(layer.weight, plain.weight)
    assert layer.has_range


@pytest.mark.filterwarnings("error")
def test_weights_with_ranges_or_into_a_layer_without_are_loaded_without_a_word() -> None:
    layer, _ = calibrated("conv")
    layer.load_state_dict(layer.state_dict())
    layer.clear_range()
    layer.load_state_dict({name: layer.state_dict()[name] for name in ("weight", "bias")})
    assert not layer.has_range


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize(("kind", "name"), [("conv", "input_max"), ("matmul", "weight_max")])
def test_a_range_that_is_not_finite_is_not_loaded(kind: str, name: str, value: float) -> None:
    layer, _ = calibrated(kind)
    with pytest.raises(ValueError, match=r"^Layer `net\.layer` needs a range of 0 or more, got (nan|inf)$"):
        layer.load_state_dict(layer.state_dict() | {name: torch.tensor(value)})


def test_a_copied_network_follows_its_own_pact() -> None:
    network = nn.ModuleDict({"clip": PACT(2.0), "conv": CimConv2d(3, 4, 3, macro=MACRO)}).eval()
    network["conv"].follow_pact(network["clip"])
    twin = copy.deepcopy(network)
    assert twin["conv"]._pact == [twin["clip"]]
    assert not any("alpha" in key for key in network["conv"].state_dict())


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("fidelity", ["quantized", "simulated"])
def test_an_input_of_another_type_has_the_answer_of_float32_rounded_once(
    kind: str, dtype: torch.dtype, fidelity: str
) -> None:
    layer, inputs = calibrated(kind)
    layer.fidelity = fidelity
    given = tuple(t.to(dtype) for t in inputs)
    found, expected = layer(*given), layer(*(t.float() for t in given)).to(dtype)
    limit = 1e-6 if dtype == torch.float64 else 0.0  # another sum is a hundredth away
    torch.testing.assert_close(found, expected, rtol=limit, atol=limit)


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
@pytest.mark.parametrize("fidelity", ["float", "quantized", "simulated"])
def test_layers_move_to_another_type(kind: str, dtype: torch.dtype, fidelity: str) -> None:
    layer, inputs = calibrated(kind)
    layer.fidelity = fidelity
    expected = layer(*inputs)
    ranges = [float(getattr(layer, name)) for name in layer.ranges]
    moved = layer.to(dtype)(*(t.to(dtype) for t in inputs))
    assert moved.dtype == dtype
    assert [float(getattr(layer, name)) for name in layer.ranges] == ranges  # in float32
    tolerance = (0.3 if fidelity == "simulated" else 0.1) if dtype == torch.bfloat16 else 1e-5
    assert float((moved - expected).detach().abs().max()) <= tolerance * float(expected.detach().abs().max())


def test_training_state_and_parameters_are_those_of_the_float_layer() -> None:
    conv = nn.Conv2d(3, 4, 3).double()
    layer = CimConv2d.from_float(conv, MACRO)
    assert layer.weight is conv.weight
    assert layer.bias is conv.bias
    assert layer.training
    assert not CimLinear.from_float(nn.Linear(3, 4, bias=False).eval(), MACRO).training
    with noise_context():
        assert layer.eval()(torch.rand(1, 3, 4, 4).double()).dtype == torch.float64


@pytest.mark.parametrize("leading", [(), (1,), (6,), (2, 1, 3, 1)])
@pytest.mark.parametrize("fidelity", ["float", "quantized", "simulated"])
def test_leading_dimensions_are_free(leading: tuple[int, ...], fidelity: str) -> None:
    layer, _ = calibrated("linear")
    layer.fidelity = fidelity
    x = torch.rand(*leading, 12)
    y = layer(x)
    assert y.shape == (*leading, 4)
    layer.macro = MACRO.with_fields(random_noise=0.0)  # which is of a sample
    assert torch.equal(layer(x).reshape(-1, 4), layer(x.reshape(-1, 12)))
    w = torch.rand(*leading, 5, 12)
    if leading:
        assert CimMatmul(MACRO).eval()(torch.rand(*leading, 4, 12), w).shape == (*leading, 4, 5)


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("fidelity", ["float", "quantized", "simulated"])
@pytest.mark.parametrize("training", [False, True])
def test_an_empty_batch_gives_an_empty_answer(kind: str, fidelity: str, training: bool) -> None:
    layer, inputs = calibrated(kind)
    shape = layer(*inputs).shape
    layer.train(training).fidelity = fidelity
    assert layer(*(x[:0] for x in inputs)).shape == (0, *shape[1:])


@pytest.mark.parametrize("kind", ALL)
def test_layers_are_built_on_the_meta_device_and_take_a_state_dict_from_there_and_back(kind: str) -> None:
    layer, inputs = calibrated(kind)
    expected, state = layer(*inputs), layer.state_dict()
    with torch.device("meta"):
        built = layer_of(kind, MACRO, input_range="calibrated").eval()
    assert all(value.is_meta for value in built.state_dict().values())
    for empty in (built.to_empty(device="cpu"), layer.to("meta").to_empty(device="cpu")):
        empty.load_state_dict(state)
        assert torch.equal(empty(*inputs), expected)


def test_outputs_may_be_pruned_by_hand() -> None:
    layer, (x,) = layer_of("conv", MacroConfig()).eval(), inputs_of("conv")
    layer(x)
    layer.weight, layer.bias = nn.Parameter(layer.weight[:2].detach()), nn.Parameter(torch.tensor([10.0, 20.0]))
    assert layer.held_shape == layer.weight.shape
    y, layer.bias = layer(x), None
    torch.testing.assert_close(y - layer(x), torch.tensor([10.0, 20.0]).view(2, 1, 1).expand_as(y))
