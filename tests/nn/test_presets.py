"""A layer on every published macro is simulated, and its engines agree."""

import pytest
import torch

from asim_lightning.circuit.presets import preset, preset_names
from asim_lightning.engine import noise_context
from asim_lightning.nn import CimConv2d
from asim_lightning.nn.verify import verify


@pytest.mark.parametrize("name", preset_names())
def test_a_layer_is_simulated(name: str) -> None:
    torch.manual_seed(0)
    macro = preset(name).config()
    layer = CimConv2d(16, 4, 3, macro=macro).eval()
    x = torch.rand(2, 16, 5, 5)
    layer.fidelity = "quantized"
    with torch.no_grad(), noise_context(seed=1, sample_ids=range(2)):
        quantized = layer(x)
        layer.fidelity = "simulated"
        simulated = layer(x)
    assert simulated.shape == quantized.shape
    assert simulated.isfinite().all()
    assert verify(layer, x).ok
    if macro.adc_bits is not None and macro.adc_bits >= 8:
        assert torch.corrcoef(torch.stack([simulated.flatten(), quantized.flatten()]))[0, 1] > 0.3
