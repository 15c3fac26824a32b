"""Layers agree with the published simulator."""

import numpy as np
import pytest
import torch
from timm.layers import Attention

from asim_lightning.circuit import MacroConfig
from asim_lightning.engine import noise_context
from asim_lightning.nn import CimAttention
from asim_lightning.nn.on_macro import OnMacro
from tests.conftest import relative
from tests.golden_cases import arrays, cases, layer_of

LAYERS, CIRCUITS = cases("layers"), cases("circuits")
PLAIN = [("layers", name) for name, case in LAYERS.items() if case["kind"] != "attention"]
PLAIN += [("circuits", name) for name, case in CIRCUITS.items() if case["repeats"] == 1]
READS = 400


def wrong_sums(layer: OnMacro, x: torch.Tensor, y: torch.Tensor, expected: torch.Tensor) -> int:
    """Outputs that differ by half of the least that another code or count changes."""
    least = min((c.full_scale / c.top_code for c in layer.transfer.cycles if c.converted and c.top_code), default=1.0)
    step = layer.hold_ranges(x)[0].max()
    return int(((y - expected).abs() >= 0.5 * min(least, 1.0) * step).sum())


@pytest.mark.parametrize(("group", "name"), PLAIN)
def test_layer_and_deterministic_circuit_match(group: str, name: str) -> None:
    data, expected = arrays(group, name), {"simulated": "simulation"}
    layer = layer_of(cases(group)[name], data)
    if group == "layers":
        expected["quantized"] = "inference"
    for layer.fidelity, key in expected.items():
        y = layer(data["x"])
        assert relative(y, data[key]) <= 1e-5
        assert wrong_sums(layer, data["x"], y, data[key]) == 0


@pytest.mark.parametrize("name", [n for n, c in CIRCUITS.items() if c["repeats"] > 1])
def test_noisy_circuit_has_the_published_distribution(name: str) -> None:
    data, repeats = arrays("circuits", name), CIRCUITS[name]["repeats"]
    layer = layer_of(CIRCUITS[name], data)
    with noise_context(seed=11, sample_ids=list(range(READS))):
        reads = layer(data["x"].expand(READS, -1, -1, -1)).double()
    mean, std = reads.mean(0), reads.std(0)
    expected_mean, expected_std = data["mean"][0].double(), data["std"][0].double()
    z = ((mean - expected_mean) / (expected_std * np.sqrt(1 / READS + 1 / repeats))).flatten()
    assert abs(float(z.mean())) < 4 / np.sqrt(len(z))
    assert float(z.abs().max()) < 4.5
    assert 0.75 < float(z.std()) < 1.25
    ratio = (std / expected_std).flatten()
    error = np.sqrt(0.5 / READS + 0.5 / repeats)
    assert abs(float(ratio.mean()) - 1) < 4 * error / np.sqrt(len(ratio))
    assert float((ratio - 1).abs().max()) < 5 * error


@pytest.mark.parametrize("name", [n for n, c in LAYERS.items() if c["kind"] == "attention"])
def test_attention_matches(name: str) -> None:
    case, data = LAYERS[name], arrays("layers", name)
    dim = data["x"].shape[-1]
    float_attention = Attention(dim, case["heads"], qkv_bias=True)
    float_attention.scale = dim**-0.5

    def macro(weight: str, inputs: str, adc: str, encoding: str) -> MacroConfig:
        return MacroConfig(
            case[weight], case[inputs], rows=case["rows"], adc_bits=case[adc], encoding_bits=case[encoding] or 1
        )

    layer = CimAttention.from_timm(
        float_attention,
        macro("weight_bits", "input_bits", "proj_adc_bits", "input_encoding_bits"),
        qk_macro=macro("q_bits", "k_bits", "qk_adc_bits", "k_encoding_bits"),
        av_macro=macro("v_bits", "a_bits", "av_adc_bits", "a_encoding_bits"),
    )
    layer.load_state_dict({k[6:]: v for k, v in data.items() if k.startswith("param.")}, strict=False)
    layer.eval()
    assert relative(layer.qk(data["k"], data["q"]).transpose(-1, -2), data["qk"]) <= 1e-5
    assert relative(layer.av(data["attn"], data["v"].transpose(-1, -2)), data["av"]) <= 1e-5
    assert relative(layer(data["x"]), data["simulation"]) <= 1e-5
