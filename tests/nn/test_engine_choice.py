"""A layer is computed by the engine that its attribute names, and says how many conversions a call makes."""

from typing import Any

import pytest
import torch

from asim_lightning import MacroConfig
from asim_lightning.engine import noise_context
from asim_lightning.engine.exact import ExactProgram
from asim_lightning.engine.native.native_engine import NativeProgram
from asim_lightning.engine.rare.rare_engine import RareProgram
from asim_lightning.engine.reference import ReferenceProgram
from asim_lightning.nn import CimConv2d, CimMatmul


def conv(**macro: Any) -> CimConv2d:
    return CimConv2d(6, 8, 3, macro=MacroConfig(weight_bits=4, input_bits=4, **macro), name="conv").eval()


def test_the_named_engine_computes_with_the_layers_noise(programs: list[Any]) -> None:
    layer, x = conv(random_noise=1.0), torch.rand(2, 6, 5, 5)
    answers = []
    for engine in (None, "reference", None):
        layer.engine = engine
        with noise_context(seed=3, trial=1):
            answers.append(layer(x))
            layer(x)
    assert [type(each) for each in programs] == [NativeProgram, ReferenceProgram, NativeProgram]
    assert torch.allclose(answers[0], answers[1])
    assert torch.equal(answers[0], answers[2])


def test_a_product_of_two_activations_is_prepared_once(programs: list[Any]) -> None:
    layer = CimMatmul(MacroConfig(random_noise=0.05), name="qk").eval()
    for size in (5, 7, 5):
        layer(torch.randn(2, 4, size, 8), torch.randn(2, 4, 7, 8))
    assert [type(each) for each in programs] == [RareProgram]


@pytest.mark.parametrize(
    ("fields", "program"),
    [
        ({"adc_bits": 6}, ExactProgram),
        ({"adc_bits": 3}, NativeProgram),
        ({"adc_bits": 5, "rows": 31}, ExactProgram),
        ({"adc_bits": 6, "random_noise": 0.05}, RareProgram),
    ],
)
def test_a_range_that_no_count_of_the_layer_leaves_is_exact(
    programs: list[Any], fields: dict[str, Any], program: type
) -> None:
    x = torch.rand(2, 6, 5, 5)  # 54 terms an output
    layer = conv(adc_step=1, **fields)
    found = layer(x)
    assert [type(each) for each in programs] == [program]
    layer.fidelity = "quantized"
    assert torch.equal(found, layer(x)) == (program is ExactProgram)
    # of two activations any number of rows may be in use
    CimMatmul(MacroConfig(adc_step=1, **fields)).eval()(torch.rand(2, 3, 20), torch.rand(2, 4, 20))
    assert type(programs[-1]) is (NativeProgram if fields.get("rows", 255) > 31 else ExactProgram)


def test_wrong_engines_are_refused() -> None:
    layer = conv(adc_bits=None)
    with pytest.raises(ValueError, match=r"^`engine` must be one of exact, events, .*, reference, got 'nosuch'$"):
        layer.engine = "nosuch"
    layer.engine = "events"
    message = r"^Layer `conv` cannot be computed by the engine events: .*$"
    with pytest.raises(ValueError, match=message):
        layer(torch.rand(1, 6, 5, 5))
    layer.macro, layer.engine = MacroConfig(), "fused"
    with pytest.raises(ValueError, match=r"by the engine fused: does not run on cpu$"):
        layer(torch.rand(1, 6, 5, 5))


def test_conversions_of_a_call() -> None:
    tiles, cycles = 6, 16
    layer, x = conv(rows=9), torch.rand(2, 6, 5, 5)
    assert layer.conversions(x) == 2 * layer.conversions(x[0]) == 2 * 8 * 3 * 3 * tiles * cycles
    product = CimMatmul(MacroConfig(weight_bits=2, input_bits=3), signed_input=True)
    assert product.conversions(torch.randn(2, 4, 5, 8), torch.randn(2, 4, 7, 8)) == 2 * 4 * 5 * 7 * 6
