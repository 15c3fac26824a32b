"""Histograms of counts are those of a slow simulator's counts."""

from typing import Any

import numpy as np
import pytest
import torch

from asim_lightning.circuit import MacroConfig
from asim_lightning.nn import CimConv2d, CimLinear, OnMacro
from asim_lightning.nn import count_histograms as module
from asim_lightning.nn.count_histograms import count_histograms, fitted_range
from tests import oracle
from tests.nn.layers import KINDS, inputs_of, layer_of


def counts_of(layer: OnMacro, inputs: tuple[torch.Tensor, ...]) -> list[list[float]]:
    """All counts of each cycle, by the oracle's digits."""
    _, x_integers, w_integers = layer.quantized_operands(*inputs)
    a, w = x_integers.long().numpy(), w_integers.long().numpy()
    rows, found = layer.macro.rows, []
    if isinstance(layer, CimConv2d):
        tiles = oracle.conv_tiles(w.shape[1], w.shape[2] * w.shape[3], rows)
        a, _ = oracle.patches(a, w.shape[2:], layer.stride, layer.padding, layer.dilation)  # type: ignore[arg-type]
        w = w.reshape(len(w), -1)
    else:
        tiles = oracle.linear_tiles(w.shape[-1], rows)
    for cycle in oracle.conversions(layer.macro, layer.signed_input):
        held = [oracle.held_bits(layer.macro, cycle.w_digit(w[..., t]))[0] for t in tiles]
        parts = [cycle.x_digit(a[..., t]) @ bits.swapaxes(-1, -2) for t, bits in zip(tiles, held, strict=True)]
        found.append(sorted(np.concatenate([part.ravel() for part in parts]).tolist()))
    return found


MACROS: dict[str, dict[str, Any]] = {
    "bit-serial": {},
    "digits": {"encoding_bits": 2, "digital_levels": 2},
    "weight-parallel": {"weight_parallel": True},
    "flip": {"weight_coding": "flip"},
    "range": {"adc_step": 2, "adc_low": 3, "adc_bits": 3},
}


@pytest.mark.parametrize("fields", MACROS.values(), ids=MACROS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("longest", [2**22, 8])
def test_every_count_is_there(kind: str, fields: dict[str, Any], longest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LONGEST_TABLE", longest)
    monkeypatch.setattr(module, "_ELEMENTS", 64)
    layer = layer_of(kind, MacroConfig(4, 3, 20 if kind == "conv" else 5, **fields), signed_input=kind != "conv").eval()
    inputs = tuple(x - 0.5 * layer.signed_input for x in inputs_of(kind))
    layer.fidelity = "quantized"
    found = count_histograms(lambda batch: layer(*batch), {"it": layer}, [inputs])["it"]
    expected = counts_of(layer, inputs)
    assert found.conversions == len(expected[0])
    assert found.rows == ((18, 9) if kind == "conv" else (5, 5, 2))
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


@pytest.mark.parametrize(("bits", "is_coarse"), [(3, True), (8, False)])
def test_a_range_whose_step_exceeds_the_spread_of_a_sign_plane_is_coarse(bits: int, is_coarse: bool) -> None:
    torch.manual_seed(0)
    macro = MacroConfig(3, 4, 255, bits, encoding_bits=3)
    layer = CimLinear(200, 8, bias=False, macro=macro, signed_input=True, name="a").eval()
    x = torch.randn(100, 200)  # (batch, inputs)
    counts = count_histograms(layer, {"a": layer}, [x])["a"]
    planes = [
        each for cycle, each in zip(counts.circuit.cycles, counts.histograms, strict=True) if cycle.input_bits == (3,)
    ]
    found = fitted_range("a", layer, counts)
    assert all((found.step > 3.0 * each.variance**0.5) is is_coarse for each in planes)
    assert (found.coarse > 0.5) is is_coarse
