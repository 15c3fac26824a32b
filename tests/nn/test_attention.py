"""Attention on macros: timm's attention with every product on a macro of its own."""

from typing import Any

import pytest
import torch
from timm.layers import Attention

from asim_lightning.circuit import MacroConfig
from asim_lightning.nn import Assignment, CimAttention, CimLinear, CimMatmul

FINE = MacroConfig(16, 16, rows=20, adc_bits=None)
PARTS = ("qkv", "qk", "av", "proj")


def pair(macro: MacroConfig = FINE, **settings: Any) -> tuple[CimAttention, Attention, torch.Tensor]:
    torch.manual_seed(0)
    attention = Attention(24, num_heads=3, **settings).eval()
    return CimAttention.from_timm(attention, macro, name="block.attn"), attention, torch.randn(2, 7, 24)


@pytest.mark.parametrize("settings", [{"qkv_bias": True}, {"qk_norm": True, "norm_layer": torch.nn.LayerNorm}])
@pytest.mark.parametrize("fidelity", ["float", "quantized", "simulated"])
def test_it_computes_timms_function(settings: dict[str, Any], fidelity: str) -> None:
    layer, attention, x = pair(**settings)
    for part in PARTS:
        getattr(layer, part).fidelity = fidelity
    torch.testing.assert_close(layer(x), attention(x), rtol=1e-3, atol=1e-4)


def test_parts_are_named_and_typed_and_load_timms_weights() -> None:
    layer, attention, _ = pair(qkv_bias=True)
    layer.load_state_dict(attention.state_dict())
    extra = layer.state_dict().keys() - attention.state_dict().keys()
    assert {key.rsplit(".", 1)[1] for key in extra} == {"input_max", "weight_max"}
    kinds = (CimLinear, CimMatmul, CimMatmul, CimLinear)
    for part, kind, signed in zip(PARTS, kinds, (True, True, False, True), strict=True):
        module = getattr(layer, part)
        assert isinstance(module, kind)
        assert module.name == f"block.attn.{part}"
        assert module.signed_input is signed
        assert module.assignment.is_scores == (part == "av")
    own = MacroConfig(input_bits=9)
    assert CimAttention.from_timm(attention, FINE, av_macro=own).av.assignment == Assignment(own)


def test_a_gate_is_refused() -> None:
    attention = Attention(24, num_heads=3)
    attention.gate = torch.nn.Linear(24, 24)
    with pytest.raises(ValueError, match="attention without a gate"):
        CimAttention.from_timm(attention, FINE)


def test_fidelity_and_training_noise_of_all_parts() -> None:
    layer, _, x = pair(MacroConfig(random_noise=1.0))
    noisy = layer(x)
    layer.fidelity = "quantized"
    assert layer.fidelity == layer.qk.fidelity == "quantized"
    assert not torch.equal(layer(x), noisy)
    layer.train_noise = 50.0
    assert layer.proj.train_noise == layer.train_noise == 50.0
