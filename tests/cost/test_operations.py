"""Operations of layers agree with slow loops over outputs, tiles, cycles and votes."""

from dataclasses import asdict
from typing import Any

import pytest
import torch
from torch import Tensor

from asim_lightning import MacroConfig
from asim_lightning.cost.operations import operations
from asim_lightning.cost.product_shape import product_shape
from asim_lightning.nn import CimConv2d, CimLinear, OnMacro
from asim_lightning.nn.linear import CimFunctionalLinear, CimMatmul
from tests.cost.oracle import Layer, count

MACROS: dict[str, dict[str, Any]] = {
    "bit-serial": {"weight_bits": 4, "input_bits": 4, "rows": 20},
    "more rows than terms": {"weight_bits": 3, "input_bits": 2, "rows": 255},
    "kernel cut": {"weight_bits": 2, "input_bits": 2, "rows": 5},
    "remainder digit": {"weight_bits": 3, "input_bits": 8, "rows": 20, "encoding_bits": 3},
    "hybrid": {"weight_bits": 4, "input_bits": 4, "rows": 20, "digital_levels": 3},
    "hybrid, whole digit digital": {"weight_bits": 3, "input_bits": 4, "rows": 20, "digital_levels": 4},
    "digital cycles through the ADC": {"weight_bits": 4, "input_bits": 4, "rows": 9, "digital_levels": 3,
                                       "digital_adc": True},
    "votes": {"weight_bits": 4, "input_bits": 4, "rows": 20, "vote_levels": 3, "votes": 3},
    "votes below digital": {"weight_bits": 4, "input_bits": 5, "rows": 20, "digital_levels": 2, "vote_levels": 4,
                            "votes": 5},
    "weight-parallel": {"weight_bits": 4, "input_bits": 4, "rows": 20, "weight_parallel": True},
    "weight-parallel votes": {"weight_bits": 4, "input_bits": 4, "rows": 20, "weight_parallel": True,
                              "vote_levels": 1, "votes": 3},
    "flip": {"weight_bits": 4, "input_bits": 8, "rows": 20, "encoding_bits": 3, "weight_coding": "flip"},
    "shared converters": {"weight_bits": 4, "input_bits": 4, "rows": 20, "columns_per_adc": 3, "vote_levels": 1,
                          "votes": 2},
}  # fmt: skip


def macro_of(fields: dict[str, Any]) -> MacroConfig:
    plain = {key: value for key, value in fields.items() if key != "columns_per_adc"}
    return MacroConfig(**plain, static={"columns_per_adc": fields.get("columns_per_adc", 1)})  # type: ignore[arg-type]


def layers(macro: MacroConfig, signed: bool) -> list[tuple[OnMacro, tuple[Tensor, ...], Layer, bool]]:
    """Layers, their inputs for one image, and what they are to a designer."""
    conv = CimConv2d(6, 4, 3, padding=1, macro=macro, signed_input=signed)
    grouped = CimConv2d(6, 9, (3, 2), stride=2, groups=3, macro=macro, signed_input=signed)
    depthwise = CimConv2d(4, 4, 3, padding="same", dilation=2, groups=4, macro=macro, signed_input=signed)
    whole = CimConv2d(3, 5, 4, macro=macro, signed_input=signed)
    linear = CimLinear(30, 7, macro=macro, signed_input=signed)
    functional = CimFunctionalLinear(macro, signed_input=signed)
    qk = CimMatmul(macro, signed_input=signed)
    return [
        (conv, (torch.zeros(1, 6, 5, 4),), Layer(1, 5 * 4, 4, 6, 9), False),
        (grouped, (torch.zeros(1, 6, 7, 6),), Layer(3, 3 * 3, 3, 2, 6), False),
        (depthwise, (torch.zeros(1, 4, 6, 6),), Layer(4, 36, 1, 1, 9), False),
        # a kernel as large as its input is a linear layer: rows are filled
        (whole, (torch.zeros(1, 3, 4, 4),), Layer(1, 1, 5, 48), False),
        (linear, (torch.zeros(1, 11, 30),), Layer(1, 11, 7, 30), False),
        (functional, (torch.zeros(1, 3, 12), torch.zeros(6, 12)), Layer(1, 3, 6, 12), False),
        (qk, (torch.zeros(1, 2, 5, 24), torch.zeros(1, 2, 6, 24)), Layer(2, 5, 6, 24), True),
    ]


@pytest.mark.parametrize("name", MACROS)
@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
def test_operations_are_those_of_slow_loops(name: str, signed: bool) -> None:
    """Every kind of layer, on every kind of schedule."""
    macro = macro_of(MACROS[name])
    for layer, inputs, shape, is_written in layers(macro, signed):
        found = asdict(operations(product_shape(layer, *inputs), layer.transfer))
        expected = count(shape, MACROS[name], signed)
        assert found.pop("cells_written") == (expected["cells"] if is_written else 0)
        assert found == {key: expected[key] for key in found}, type(layer).__name__
        assert found["conversions"] == layer.conversions(*inputs)


def test_windows_have_weights_of_their_own() -> None:
    """Rows of a batch that are windows of one image: their products of activations stand on arrays of their own."""
    macro = MacroConfig(rows=16)
    shape = product_shape(CimMatmul(macro), torch.zeros(4, 2, 5, 8), torch.zeros(4, 2, 5, 8))
    assert (shape.matrices, shape.steps, shape.columns, shape.weights) == (8, 5, 5, 8 * 5 * 8)
    shape = product_shape(CimLinear(8, 3, macro=macro), torch.zeros(4, 5, 8))
    assert (shape.matrices, shape.steps, shape.columns, shape.weights) == (1, 20, 3, 24)
