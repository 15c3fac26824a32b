"""A traced layer answers for the input that it is given, not for the one that it was traced with."""

from typing import Any

import pytest
import torch

from asim_lightning.circuit import MacroConfig
from asim_lightning.nn import CimConv2d, CimLinear


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("bits", [5, 8, 9])
@pytest.mark.parametrize("fidelity", ["quantized", "simulated"])
@pytest.mark.parametrize("kind", ["convolution", "linear"])
def test_a_traced_layer_takes_other_inputs(bits: int, fidelity: str, kind: str) -> None:
    common: dict[str, Any] = {
        "macro": MacroConfig(bits, bits, adc_bits=None),
        "input_range": "calibrated",
    }
    is_image = kind == "convolution"
    layer = CimConv2d(3, 4, 3, **common) if is_image else CimLinear(12, 4, **common)
    layer.eval().fidelity = fidelity
    one, other = torch.rand(2, 2, 3, 6, 5) if is_image else torch.rand(2, 5, 12)
    layer.calibrate(torch.ones_like(one))
    traced = torch.jit.trace(layer, (one,), check_trace=False)
    assert torch.equal(traced(other), layer(other))
    assert not torch.equal(layer(one), layer(other))
