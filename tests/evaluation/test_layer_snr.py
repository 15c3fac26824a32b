"""Signal and noise of layers against outputs of the network taken apart by hand."""

import math

import pytest
import torch
from torch import nn

from asim_lightning import MacroConfig, Plan, change_macros_, convert_, layer_snr
from asim_lightning.engine import noise_context
from asim_lightning.surgery import macro_layers


def network(**macro: object) -> tuple[nn.Sequential, torch.Tensor]:
    torch.manual_seed(0)
    made, x = nn.Sequential(nn.Linear(40, 30), nn.ReLU(), nn.Linear(30, 500)).eval(), torch.rand(40, 40)
    convert_(made, Plan(MacroConfig(**macro), input_range="token"), x)  # type: ignore[arg-type]
    return made, x


def test_powers_are_those_of_the_outputs_for_equal_inputs() -> None:
    made, x = network(random_noise="0.4 lsb", adc_bits=6)
    found = layer_snr(made, x, seed=3)
    with torch.no_grad(), noise_context(seed=3, sample_ids=range(40)):
        hidden = made[0](x)
        noisy = made[2](hidden.relu())
        for layer in made[::2]:
            layer.fidelity = "quantized"
        exact = made[0](x), made[2](hidden.relu())
    for name, y, clean in (("0", hidden, exact[0]), ("2", noisy, exact[1])):
        share = float((y - clean).square().sum() / clean.square().sum())
        assert found.noise_share[name] == pytest.approx(share, rel=1e-5)
        assert found.by_layer[name] == pytest.approx(-10 * math.log10(share))
    assert found.effective == pytest.approx(-10 * math.log10(sum(found.noise_share.values()) / 2))
    assert str(found).splitlines()[-1] == f"effective SNR of 2 linear layers: {found.effective:.1f} dB"


def test_half_the_noise_is_six_decibels() -> None:
    made, x = network(random_noise=0.1, adc_bits=None)
    before = layer_snr(made, x).by_layer
    change_macros_(made, random_noise=made[0].macro.random_noise / 2)
    after = layer_snr(made, x).by_layer
    assert after["0"] - before["0"] == pytest.approx(20 * math.log10(2), abs=0.05)
    assert after["2"] - before["2"] == pytest.approx(20 * math.log10(2), abs=0.5)  # its inputs changed, too
    assert {layer.fidelity for layer in macro_layers(made).values()} == {"simulated"}


def test_without_an_error_the_ratio_is_infinite() -> None:
    made, x = network(rows=255)
    found = layer_snr(made, x)
    assert found.effective == math.inf
    with pytest.raises(ValueError, match=r"^layer_snr needs a network with layers on a macro"):
        layer_snr(nn.Linear(2, 2), torch.rand(1, 2))
