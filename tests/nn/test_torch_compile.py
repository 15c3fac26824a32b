"""torch.compile: one graph where the arithmetic is float or quantized, graph breaks where it is simulated."""

from collections.abc import Iterator
from itertools import product

import pytest
import torch

from asim_lightning.circuit import MacroConfig
from asim_lightning.engine import noise_context
from asim_lightning.nn import CimConv2d, CimLinear
from tests.nn.layers import ALL, inputs_of, layer_of

MACRO = MacroConfig(4, 5, rows=10, adc_bits=5, encoding_bits=2, random_noise="0.3 lsb")


@pytest.fixture(autouse=True)
def fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.parametrize(
    ("kind", "fidelity"),
    [
        *product([*ALL, "wide", "same"], ["quantized"]),
        ("matmul", "simulated"),
        ("same", "float"),
    ],
)
def test_compiled_layer_gives_the_same(kind: str, fidelity: str) -> None:
    if kind == "wide":  # 8 bits and 600 channels of 3x3: the compiled graph must know that sums come as integers
        layer = CimConv2d(600, 2, 3, macro=MacroConfig(random_noise=0.1), signed_input=True).eval()
        inputs = (torch.rand(1, 600, 3, 4),)
    elif kind == "same":
        layer, inputs = CimConv2d(4, 6, 3, 2, padding="same", groups=2, macro=MACRO).eval(), (torch.rand(2, 4, 6, 6),)
    else:
        layer, inputs = layer_of(kind, MACRO).eval(), inputs_of(kind)
    layer.fidelity = fidelity
    compiled = torch.compile(layer, fullgraph=fidelity != "simulated", backend="aot_eager")
    with torch.no_grad(), noise_context(seed=1, sample_ids=range(len(inputs[0]))):
        expected = layer(*inputs)
    with torch.no_grad(), noise_context(seed=1, sample_ids=range(len(inputs[0]))):
        assert torch.equal(compiled(*inputs), expected)


@pytest.mark.parametrize("value", [-0.5, float("nan")])
def test_a_compiled_or_exported_layer_refuses_what_it_does_not_take(value: float) -> None:
    layer = CimLinear(12, 4, macro=MacroConfig(), name="fc").eval()
    layer.fidelity, x = "quantized", torch.rand(2, 12)
    layer.calibrate(x)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    exported = torch.export.export(layer, (x,)).module()
    wrong, nearly = x.clone(), x.clone()
    wrong[1, 3], nearly[1, 3] = value, -1e-3
    for function in (compiled, exported):
        with torch.no_grad():
            assert torch.equal(function(nearly), layer(nearly))
        with torch.no_grad(), pytest.raises(RuntimeError, match="Layer `fc` needs finite inputs of 0 or more"):
            function(wrong)


def test_compiled_training_has_the_same_gradients() -> None:
    layer, x = CimConv2d(4, 6, 3, macro=MACRO).train(), torch.rand(2, 4, 6, 6)
    gradients = []
    for function in (layer, torch.compile(layer, fullgraph=True, backend="aot_eager")):
        layer.zero_grad()
        function(x).square().sum().backward()
        gradients.append(layer.weight.grad.clone())
    torch.testing.assert_close(*gradients)
