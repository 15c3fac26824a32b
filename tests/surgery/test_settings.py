"""A point is put on a network as if it had been converted with that plan."""

import copy
import pickle
from contextlib import suppress
from typing import Any

import pytest
import timm
from torch import nn

from asim_lightning import MacroConfig, Plan, Rule, convert_
from asim_lightning.nn import QuantConv2d
from asim_lightning.nn.calibration import kept_fidelities, quantized_layers
from asim_lightning.surgery import apply_point, change_macros_, kept_assignments, macro_layers, set_fidelity_
from tests.surgery.networks import NARROW, VIT

RULES = [
    Rule("head", {"adc_bits": 8}),
    Rule("qkv", {"input_bits": 7, "rows": 100}),
    Rule("mlp", MacroConfig(5, 5)),
    Rule("blocks.1.attn.av", {"weight_bits": 7}),
]
NETWORKS: dict[str, tuple[str, dict[str, Any], list[Rule]]] = {
    "ViT": ("vit_tiny_patch16_224", VIT, RULES),
    "ResNet": ("resnet10t", NARROW, [Rule("head", {"adc_bits": 8}), Rule("layer1.*", {"input_bits": 5})]),
}


def converted(network: str, macro: MacroConfig) -> nn.Module:
    name, options, rules = NETWORKS[network]
    model: nn.Module = timm.create_model(name, **options)
    convert_(model, Plan(macro, rules))
    return model


def macros(model: nn.Module) -> dict[str, Any]:
    digital = {n: (m.weight_bits, m.input_bits) for n, m in model.named_modules() if isinstance(m, QuantConv2d)}
    return digital | {name: layer.macro for name, layer in macro_layers(model).items()}


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize(
    "point",
    [
        {"weight_bits": 12},
        {"input_bits": 9, "encoding_bits": 4},
        {"random_noise": "0.3 lsb", "rows": 64, "adc_bits": 6},
    ],
    ids=str,
)
def test_a_point_gives_what_a_conversion_gives(network: str, point: dict[str, Any]) -> None:
    base = MacroConfig(4, 4)
    model, expected = converted(network, base), converted(network, base.with_fields(**point))
    before = macros(model)
    with kept_assignments(model):
        apply_point(model, point)
        assert macros(model) == macros(expected)
    assert macros(model) == before
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        change_macros_(copied, **point)
        assert macros(copied) == macros(expected)


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ({"adc_bits": 99}, r"^`macro\.adc_bits` must be 1\.\.16 or null, got 99"),
        ({"encoding_bits": 8, "input_bits": 8}, r"^Layer `layer1\.0\.conv1`: `macro\.encoding_bits` must be 1\.\.5"),
    ],
)
def test_nothing_changes_where_one_layer_refuses(point: dict[str, Any], message: str) -> None:
    model = converted("ResNet", MacroConfig())
    before = macros(model)
    with pytest.raises(ValueError, match=message):
        apply_point(model, {"rows": 64, **point})
    assert macros(model) == before


def test_a_field_that_rules_decide_everywhere_is_refused() -> None:
    model = timm.create_model("resnet10t", **NARROW)
    convert_(model, Plan(rules=[Rule("*", {"adc_bits": 8})]))
    change_macros_(model, rows=64)
    with pytest.raises(ValueError, match=r"^`adc_bits` changes nothing, because `plan\.rules` decide it"):
        change_macros_(model, rows=32, adc_bits=5)
    assert {layer.macro.rows for layer in macro_layers(model).values()} == {64}


def test_fidelities_are_put_back_layer_by_layer_also_after_an_error() -> None:
    model = converted("ResNet", MacroConfig(4, 4))
    layers = quantized_layers(model)
    first = next(iter(layers))
    layers[first].fidelity = "quantized"
    before = {name: layer.fidelity for name, layer in layers.items()}
    with suppress(KeyError), kept_fidelities(model):
        set_fidelity_(model, "float")
        assert {layer.fidelity for layer in layers.values()} == {"float"}
        raise KeyError
    assert {name: layer.fidelity for name, layer in layers.items()} == before
    assert before[first] == "quantized" != layers["fc"].fidelity
