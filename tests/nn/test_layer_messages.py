"""Inputs and settings that a layer cannot take are refused in one line that names the layer or setting."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from asim_lightning.circuit import MacroConfig
from asim_lightning.nn import CimConv2d, CimFunctionalLinear, CimLinear, QuantConv2d
from tests.nn.layers import ALL, inputs_of, layer_of

MACRO = MacroConfig(4, 4, rows=10)
every_kind = pytest.mark.parametrize("kind", ALL)


def refused(function: Callable[[], Any], *parts: str) -> None:
    with pytest.raises(ValueError, match=r"`net\.layer`") as caught:
        function()
    message = str(caught.value)
    assert "\n" not in message
    assert all(part in message for part in parts), message


def called(kind: str, x: Tensor, fidelity: str = "simulated") -> Callable[[], Tensor]:
    """A call of a layer with a first operand."""
    layer = layer_of(kind, MACRO).eval()
    layer.fidelity = fidelity
    return lambda: layer(x, *inputs_of(kind)[1:])


@every_kind
@pytest.mark.parametrize("fidelity", ["quantized", "simulated"])
@pytest.mark.parametrize("value", [float("nan"), -0.5])
def test_values_that_are_not_finite_or_negative(kind: str, fidelity: str, value: float) -> None:
    (x, *_) = inputs_of(kind)
    x.view(-1)[1] = value
    said = ("is unsigned", "`signed_input`", "`plan.rules`") if value == -0.5 else ("finite",)
    refused(called(kind, x, fidelity), *said, str(value))
    x.view(-1)[1] = -1e-4  # such as a float pooling layer leaves behind
    assert called(kind, x, fidelity)().isfinite().all()


@pytest.mark.parametrize(
    ("kind", "shape", "expected"),
    [
        ("conv", (2, 4, 5, 5), "(batch, 3, height, width)"),
        ("linear", (), "(..., 12)"),
        ("matmul", (1, 2, 4, 12), "(batch, ..., m, k)"),
    ],
)
@pytest.mark.parametrize("fidelity", ["float", "simulated"])
def test_shapes(kind: str, shape: tuple[int, ...], expected: str, fidelity: str) -> None:
    refused(called(kind, torch.rand(shape), fidelity), expected, str(shape))
    function = CimFunctionalLinear(MACRO, name="net.layer")
    refused(lambda: function(torch.rand(2, 3), torch.rand(4, 5)), "(batch, ..., k) and (n, k)")


@every_kind
def test_inputs_that_are_not_floating_point(kind: str) -> None:
    refused(called(kind, inputs_of(kind)[0].long()), "floating-point", "int64")


def test_stored_operands_that_are_not_finite() -> None:
    x, w = inputs_of("matmul")
    refused(lambda: layer_of("matmul", MACRO).eval()(x, w / 0.0), "finite", "inf")


@every_kind
def test_calibration_refuses_what_it_cannot_fit(kind: str) -> None:
    layer, inputs = layer_of(kind, MACRO), inputs_of(kind)
    for number in range(len(inputs)):
        wrong = [x * (float("nan") if place == number else 1.0) for place, x in enumerate(inputs)]
        refused(lambda wrong=wrong: layer.calibrate(*wrong), "finite", "nan")
    for number in (-1.0, float("nan"), float("inf")):
        refused(lambda number=number: layer.store_range(number), "0 or more", str(number))
    assert not layer.has_range


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("fidelity", "exact", "`fidelity` must be one of float, quantized, estimated, simulated, got 'exact'"),
        ("input_range", "max", "`input_range` must be one of batch, calibrated, pact, token, got 'max'"),
        ("max_elements", 0, "`max_elements` must be 1 or more, or null, got 0"),
        ("train_noise", -1.0, "`train_noise` must be 0 or more, got -1.0"),
    ],
)
def test_settings(setting: str, value: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        setattr(CimLinear(3, 4, macro=MACRO), setting, value)


def test_macros_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="`macro` must be a MacroConfig, got 8"):
        CimLinear(3, 4, macro=8)
    layer = CimLinear(3, 4, macro=MACRO, signed_input=True)
    with pytest.raises(ValueError, match=r"`macro.encoding_bits` must be 1..3 for a signed input of 4 bits, got 4"):
        layer.macro = MACRO.with_fields(encoding_bits=4)
    assert layer.macro is MACRO
    with pytest.raises(ValueError, match="`signed_input` must be true or false, got 1"):
        CimConv2d(3, 4, 3, macro=MACRO, signed_input=1)
    with pytest.raises(ValueError, match=r"`macro.weight_bits` must be 2..16, got 1"):
        QuantConv2d(3, 4, 3, weight_bits=1)
