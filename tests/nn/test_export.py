"""torch.export and torch.jit.trace record the quantised arithmetic, for any input, and refuse what a macro does.

torch.compile makes one graph where the arithmetic is float or quantized, and breaks it where it is simulated.
"""

from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.onnx._internal.exporter._flags import set_onnx_exporting_flag

from asim_lightning.circuit import MacroConfig
from asim_lightning.engine import noise_context
from asim_lightning.nn import CimConv2d, CimLinear, QuantConv2d, calibrate_
from tests.nn.layers import ALL, inputs_of, layer_of

pytestmark = pytest.mark.filterwarnings("ignore")  # torch.jit is deprecated, and warns of each number that it keeps
MACRO = MacroConfig(4, 5, rows=10, adc_bits=5, encoding_bits=2, random_noise="0.3 lsb")


@pytest.fixture
def fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def exported(layer: nn.Module, *inputs: Tensor) -> Any:
    batch = torch.export.Dim("batch", min=1, max=64)
    return torch.export.export(layer, inputs, dynamic_shapes=tuple({0: batch} for _ in inputs)).module()


def traced(layer: nn.Module, *inputs: Tensor) -> Any:
    return torch.jit.trace(layer, inputs)


Recorder = Callable[..., Any]
RECORDERS = pytest.mark.parametrize("record", [exported, traced])


@pytest.mark.parametrize(
    ("record", "kind", "bits"),
    [*product([traced, exported], ALL, [8]), *product([traced], ["conv"], [5, 9])],
)
def test_a_recorded_layer_takes_other_inputs(record: Recorder, kind: str, bits: int) -> None:
    bits_of_digital = {"weight_bits": bits, "padding": "same", "stride": 2} if kind == "digital" else {}
    layer = layer_of(kind, MacroConfig(bits, bits, rows=20), input_range="calibrated", **bits_of_digital).eval()
    layer.fidelity = "quantized"
    ones = inputs_of(kind)
    layer.calibrate(*(torch.ones_like(one) for one in ones))
    recorded = record(layer, *ones)
    for batch in (2, 7):
        others = [torch.rand(batch, *one.shape[1:]) for one in ones]
        assert torch.equal(recorded(*others), layer(*others))
    assert not torch.equal(layer(*(one[:2] for one in ones)), layer(*(other[:2] for other in others)))


@RECORDERS
def test_a_network_is_refused_simulated_and_recorded_quantised(record: Recorder) -> None:
    macro = MacroConfig(4, 4, rows=20, random_noise="0.3 lsb")
    network = nn.Sequential(
        QuantConv2d(1, 4, 3, name="0"), nn.ReLU(),
        CimConv2d(4, 4, 3, macro=macro, input_range="calibrated", name="2"), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), CimLinear(4, 3, macro=macro, input_range="calibrated", name="6"),
    ).eval()  # fmt: skip
    one, other = torch.randn(2, 4, 1, 9, 9)
    calibrate_(network, [one])

    layers = [network[2], network[6]]

    def refused(how: str) -> None:
        with pytest.raises(ValueError, match=rf"^Layer `2` is {how}, and a macro cannot be exported or traced; export"):
            record(network, one)

    refused("simulated")
    for layer in layers:
        layer.fidelity, layer.train_noise = "estimated", 5.0
    refused("estimated with noise")
    network.train()
    refused("trained with noise")
    network.eval()
    for layer in layers:
        layer.fidelity = "quantized"
    assert torch.equal(record(network, one)(other), network(other))


def test_a_quantised_layer_is_refused_by_name_where_torch_exports_to_onnx(tmp_path: Path) -> None:
    layer, x = CimConv2d(3, 4, 3, macro=MacroConfig(4, 4)).eval(), torch.rand(1, 3, 6, 6)
    layer.fidelity = "quantized"
    with pytest.raises(ValueError, match="is quantised, and ONNX has no operators for its integers"):
        torch.onnx.export(layer, (x,), str(tmp_path / "layer.onnx"), dynamo=False)
    # the default exporter needs a package that the tests do without; it tries both ways, and shows the first error
    for strict in (False, True):
        with pytest.raises(Exception, match="is quantised, and ONNX has no operators for its integers"):
            set_onnx_exporting_flag(torch.export.export)(layer, (x,), strict=strict)


def test_a_kernel_as_large_as_the_traced_image_takes_larger_ones() -> None:
    layer = CimConv2d(3, 4, 3, macro=MacroConfig(4, 4)).eval()
    layer.fidelity = "quantized"
    recorded, larger = traced(layer, torch.rand(2, 3, 3, 3)), torch.rand(2, 3, 5, 4)
    assert torch.equal(recorded(larger), layer(larger))


@pytest.mark.usefixtures("fresh_compiler")
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


@pytest.mark.usefixtures("fresh_compiler")
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


@pytest.mark.usefixtures("fresh_compiler")
def test_compiled_training_has_the_same_gradients() -> None:
    layer, x = CimConv2d(4, 6, 3, macro=MACRO).train(), torch.rand(2, 4, 6, 6)
    gradients = []
    for function in (layer, torch.compile(layer, fullgraph=True, backend="aot_eager")):
        layer.zero_grad()
        function(x).square().sum().backward()
        gradients.append(layer.weight.grad.clone())
    torch.testing.assert_close(*gradients)
