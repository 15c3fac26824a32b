"""Inputs and settings that a layer cannot take are refused in one line that names the layer or setting."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from asim_lightning.circuit import MacroConfig
from asim_lightning.nn import CimConv2d, CimLinear, CimMatmul, QuantConv2d

MACRO = MacroConfig(4, 4, rows=10)
LAYERS: dict[str, tuple[Callable[[], Any], tuple[int, ...]]] = {
    "conv": (lambda: CimConv2d(3, 4, 3, macro=MACRO, name="net.layer"), (2, 3, 5, 5)),
    "digital": (lambda: QuantConv2d(3, 4, 3, signed_input=False, name="net.layer"), (2, 3, 5, 5)),
    "linear": (lambda: CimLinear(6, 4, macro=MACRO, name="net.layer"), (2, 6)),
    "matmul": (lambda: CimMatmul(MACRO, False, name="net.layer"), (2, 3, 6)),
}


def layer_of(kind: str, fidelity: str = "simulated") -> Callable[[Tensor], Tensor]:
    """A layer in evaluation as a function of its first operand."""
    layer = LAYERS[kind][0]().eval()
    layer.fidelity = fidelity
    return (lambda x: layer(x, torch.rand(2, 4, 6))) if kind == "matmul" else layer


def refused(function: Callable[[], Any], *parts: str) -> None:
    with pytest.raises(ValueError, match=r"`net\.layer`") as caught:
        function()
    message = str(caught.value)
    assert "\n" not in message
    assert all(part in message for part in parts), message


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("fidelity", ["quantized", "simulated"])
@pytest.mark.parametrize(("value", "shown"), [(float("nan"), "nan"), (float("inf"), "inf"), (-float("inf"), "-inf")])
def test_values_that_are_not_finite(kind: str, fidelity: str, value: float, shown: str) -> None:
    x = torch.rand(LAYERS[kind][1])
    x.view(-1)[1] = value
    refused(lambda: layer_of(kind, fidelity)(x), "finite", shown)


@pytest.mark.parametrize("kind", LAYERS)
def test_materially_negative_inputs_of_an_unsigned_layer(kind: str) -> None:
    x = torch.rand(LAYERS[kind][1])
    x.view(-1)[1] = -0.5
    refused(lambda: layer_of(kind)(x), "is unsigned", "-0.5", "`signed_input`", "`plan.rules`")
    x.view(-1)[1] = -1e-4  # such as a float pooling layer leaves behind
    assert layer_of(kind)(x).isfinite().all()


@pytest.mark.parametrize(
    ("kind", "shape", "expected"),
    [
        ("conv", (2, 4, 5, 5), "(batch, 3, height, width)"),
        ("conv", (3, 5), "(batch, 3, height, width)"),
        ("conv", (1, 2, 3, 5, 5), "(batch, 3, height, width)"),
        ("digital", (4, 5, 5), "(batch, 3, height, width)"),
        ("linear", (2, 7), "(..., 6)"),
        ("linear", (), "(..., 6)"),
        ("matmul", (2, 3, 7), "(batch, ..., m, k)"),
        ("matmul", (3, 6), "(batch, ..., m, k)"),
        ("matmul", (1, 3, 6), "(batch, ..., m, k)"),
    ],
)
@pytest.mark.parametrize("fidelity", ["float", "simulated"])
def test_shapes(kind: str, shape: tuple[int, ...], expected: str, fidelity: str) -> None:
    refused(lambda: layer_of(kind, fidelity)(torch.rand(shape)), expected, str(shape))


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("dtype", [torch.int64, torch.bool])
def test_inputs_that_are_not_floating_point(kind: str, dtype: torch.dtype) -> None:
    refused(lambda: layer_of(kind)(torch.ones(LAYERS[kind][1], dtype=dtype)), "floating-point", str(dtype))


@pytest.mark.parametrize("fidelity", ["quantized", "simulated"])
def test_a_weight_that_is_not_finite_is_not_hidden(fidelity: str) -> None:
    layer = LAYERS["linear"][0]().eval()
    layer.fidelity = fidelity
    layer.weight.data[0, 0] = float("nan")
    refused(lambda: layer(torch.rand(2, 6)), "finite weights")


def test_the_stored_operand_of_a_product_may_be_negative_but_not_infinite() -> None:
    layer, x, w = LAYERS["matmul"][0]().eval(), torch.rand(2, 3, 6), -torch.rand(2, 4, 6)
    assert layer(x, w).isfinite().all()
    refused(lambda: layer(x, w / 0.0), "finite", "inf")


@pytest.mark.parametrize("kind", LAYERS)
def test_calibration_refuses_what_it_cannot_fit(kind: str) -> None:
    layer, x = LAYERS[kind][0](), torch.rand(LAYERS[kind][1])
    more = (x,) if kind == "matmul" else ()
    refused(lambda: layer.calibrate(x * float("nan"), *more), "finite", "nan")
    with pytest.raises(ValueError, match="max, percentile, mse, got 'entropy'"):
        layer.calibrate(x, *more, method="entropy")
    for wrong in (-1.0, float("nan"), float("inf")):
        refused(lambda wrong=wrong: layer.store_range(wrong), "0 or more", str(wrong))
    assert not layer.has_range


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_calibration_of_a_product_checks_the_stored_operand_too(value: float) -> None:
    x, w = torch.rand(2, 3, 6), torch.full((2, 4, 6), value)
    refused(lambda: LAYERS["matmul"][0]().calibrate(x, w), "finite")


@pytest.mark.parametrize("kind", LAYERS)
def test_settings(kind: str) -> None:
    layer = LAYERS[kind][0]()
    allowed = "float, quantized, estimated, simulated"
    with pytest.raises(ValueError, match=f"`fidelity` must be one of {allowed}, got 'exact'"):
        layer.fidelity = "exact"
    with pytest.raises(ValueError, match="`input_range` must be one of batch, calibrated, pact, got 'max'"):
        layer.input_range = "max"


@pytest.mark.parametrize("count", [0, -1, 1.5, True, "many"])
def test_a_bound_of_memory_that_is_no_number_of_counts(count: object) -> None:
    with pytest.raises(ValueError, match=f"`max_elements` must be 1 or more, or null, got {count!r}"):
        CimLinear(3, 4, macro=MACRO).max_elements = count


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
