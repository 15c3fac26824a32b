"""Tables of chips and ADC ranges for a network in memory."""

import pytest
import torch
from torch import nn

from asim_lightning import MacroConfig, Plan, calibrate_adc_, convert_, describe_chip
from asim_lightning.engine import noise_context
from asim_lightning.surgery import macro_layers
from tests.exploration.own_network import own_images, own_network


def test_adc_ranges_are_fitted_in_place_and_help() -> None:
    network, (images, labels) = own_network(), own_images()
    with torch.no_grad(), noise_context(sample_ids=torch.arange(24)):
        before = network(images)
        found = calibrate_adc_(network, [(images, labels)])
        after = network(images)
    assert {each.name: each.step for each in found} == {
        name: layer.macro.adc_step for name, layer in macro_layers(network).items()
    }
    assert "CSNR (dB)" in str(found)
    assert found._repr_html_().startswith("<table>")
    assert all(each.after >= each.before for each in found)
    assert not torch.equal(before, after)
    with pytest.raises(ValueError, match="calibrate_adc_ needs a network with layers on a macro"):
        calibrate_adc_(nn.Linear(2, 2), [images])


def test_a_chip_is_a_row_a_layer() -> None:
    found = describe_chip(own_network(), own_images()[0], chip=3)
    assert [each.name for each in found] == ["conv.0", "qkv", "head", "qk", "av"]
    assert "worst converters" in str(found)
    equal = nn.Linear(4, 2)
    convert_(equal := nn.Sequential(equal), Plan(MacroConfig()), torch.zeros(1, 4))
    with pytest.raises(ValueError, match="No chip differs from another"):
        describe_chip(equal, torch.zeros(1, 4))
