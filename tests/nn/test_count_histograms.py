"""Histograms of counts are those of a slow simulator's counts."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from asim_lightning.circuit import MacroConfig
from asim_lightning.nn import CimConv2d, CimLinear, CimMatmul, OnMacro
from asim_lightning.nn import count_histograms as module
from asim_lightning.nn.count_histograms import count_histograms
from tests import oracle


class Product(nn.Module):
    """A product of an input with itself."""

    def __init__(self, layer: CimMatmul) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x, x)


def counts_of(layer: OnMacro, x: torch.Tensor) -> list[list[float]]:
    """All counts of each cycle, by the oracle's digits."""
    _, x_integers, w_integers = layer.quantized_operands(*([x, x] if isinstance(layer, CimMatmul) else [x]))
    a, w = x_integers.long().numpy(), w_integers.long().numpy()
    rows, found = layer.macro.rows, []
    if isinstance(layer, CimConv2d):
        tiles = oracle.conv_tiles(w.shape[1], w.shape[2] * w.shape[3], rows)
        a, _ = oracle.patches(a, w.shape[2:], layer.stride, layer.padding, layer.dilation)  # type: ignore[arg-type]
        w = w.reshape(len(w), -1)
    else:
        tiles = oracle.linear_tiles(w.shape[-1], rows)
    for cycle in oracle.conversions(layer.macro, layer.signed_input):
        parts = [cycle.x_digit(a[..., t]) @ cycle.w_digit(w[..., t]).swapaxes(-1, -2) for t in tiles]
        found.append(sorted(np.concatenate([part.ravel() for part in parts]).tolist()))
    return found


MACROS: dict[str, dict[str, Any]] = {
    "bit-serial": {},
    "digits": {"encoding_bits": 2, "digital_levels": 2},
    "weight-parallel": {"weight_parallel": True},
    "range": {"adc_step": 2, "adc_low": 3, "adc_bits": 3},
}


@pytest.mark.parametrize("fields", MACROS.values(), ids=MACROS)
@pytest.mark.parametrize("kind", ["conv", "linear", "matmul"])
@pytest.mark.parametrize("longest", [2**22, 8])
def test_every_count_is_there(kind: str, fields: dict[str, Any], longest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LONGEST_TABLE", longest)
    monkeypatch.setattr(module, "_ELEMENTS", 64)
    torch.manual_seed(0)
    macro = MacroConfig(4, 3, 20, **fields)
    layer: OnMacro
    if kind == "conv":
        layer, x = CimConv2d(3, 5, 3, padding=1, macro=macro), torch.rand(3, 3, 4, 5)
    elif kind == "linear":
        layer, x = CimLinear(50, 6, macro=macro, signed_input=True), torch.randn(3, 2, 50)
    else:
        layer, x = CimMatmul(macro), torch.randn(3, 2, 4, 50)
    layer.eval()
    layer.fidelity = "quantized"
    network = Product(layer) if isinstance(layer, CimMatmul) else layer
    found = count_histograms(network, {"it": layer}, [x])["it"]
    expected = counts_of(layer, x)
    assert found.conversions == len(expected[0])
    assert found.rows == ((18, 9) if kind == "conv" else (20, 20, 10))
    for histogram, counts in zip(found.histograms, expected, strict=True):
        assert histogram.counts.repeat_interleave(histogram.numbers.long()).tolist() == counts


def test_batches_are_added_and_hooks_go() -> None:
    layer = CimLinear(9, 2, macro=MacroConfig(2, 2, 9)).eval()
    layer.fidelity = "quantized"
    x = torch.rand(4, 9)
    layer.calibrate(x)
    layer.input_range = "calibrated"
    one, two = (count_histograms(layer, {"it": layer}, batches)["it"] for batches in ([x], [x[:1], x[1:]]))
    for a, b in zip(one.histograms, two.histograms, strict=True):
        assert torch.equal(a.counts, b.counts)
        assert torch.equal(a.numbers, b.numbers)
    assert not layer._forward_pre_hooks
    other = CimLinear(9, 2, macro=MacroConfig(2, 2, 9))
    assert count_histograms(layer, {"other": other}, [x]) == {}
