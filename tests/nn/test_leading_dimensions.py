"""Linear layers, products and convolutions take any leading dimensions, an empty batch included."""

import pytest
import torch
from torch import nn

from asim_lightning.circuit import MacroConfig
from asim_lightning.nn import CimConv2d, CimLinear, CimMatmul
from tests import oracle

MACRO = MacroConfig(5, 5, rows=7, adc_bits=5, encoding_bits=2, digital_levels=2)
FIDELITIES = ("float", "quantized", "simulated")


@pytest.mark.parametrize("leading", [(), (1,), (6,), (2, 3), (1, 2, 3), (2, 1, 3, 1)])
@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_linear(leading: tuple[int, ...], fidelity: str) -> None:
    torch.manual_seed(0)
    layer = CimLinear(20, 4, macro=MACRO).eval()
    layer.fidelity = fidelity
    x = torch.rand(*leading, 20)
    y = layer(x)
    assert y.shape == (*leading, 4)
    assert torch.equal(y.reshape(-1, 4), layer(x.reshape(-1, 20)))


def test_a_layer_quantises_simulates_and_rescales_as_published() -> None:
    torch.manual_seed(0)
    layer = CimLinear(20, 4, macro=MACRO, signed_input=True).eval()
    x = torch.randn(2, 3, 20)
    (x_int, x_scale), (w_int, w_scale) = (oracle.quantise(t.detach().numpy(), 5, True) for t in (x, layer.weight))
    sums = torch.from_numpy(oracle.linear(MACRO, True, x_int, w_int))
    expected = sums * float(x_scale) * float(w_scale) / 15**2 + layer.bias.detach()
    torch.testing.assert_close(layer(x).double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("leading", [(1,), (2, 3), (2, 1, 2)])
def test_product_of_activations(leading: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    layer = CimMatmul(MACRO, signed_input=True).eval()
    x, w = torch.randn(*leading, 4, 10), torch.randn(*leading, 3, 10)
    y = layer(x, w)
    assert y.shape == (*leading, 4, 3)
    (x_int, x_scale), (w_int, w_scale) = (oracle.quantise(t.flatten(0, -3).numpy(), 5, True) for t in (x, w))
    sums = torch.from_numpy(oracle.matmul(MACRO, True, x_int, w_int))
    expected = sums * float(x_scale) * float(w_scale) / 15**2
    torch.testing.assert_close(y.flatten(0, -3).double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("fidelity", FIDELITIES)
@pytest.mark.parametrize("training", [False, True])
def test_an_empty_batch_gives_an_empty_answer(fidelity: str, training: bool) -> None:
    layers: list[tuple[nn.Module, tuple[int, ...]]] = [
        (CimConv2d(2, 3, 3, macro=MACRO), (0, 2, 5, 4)),
        (CimLinear(20, 4, macro=MACRO), (0, 6, 20)),
    ]
    shapes = [(0, 3, 3, 2), (0, 6, 4)]
    for (layer, shape), expected in zip(layers, shapes, strict=True):
        layer.train(training).fidelity = fidelity
        assert layer(torch.rand(shape)).shape == expected
