"""Each kind of published layer has the macro that its settings say."""

from typing import Any

from asim_lightning.circuit import MacroConfig
from asim_lightning.classifier import CimClassifier
from asim_lightning.exchange.published.names import AV, FC, MLP, PROJ, QK
from asim_lightning.surgery import Plan
from tests.exchange.published.configs import VGG, VIT
from tests.exchange.published.conftest import Made, macros, values


def test_vgg_has_rules_for_its_linear_layers(made: Made) -> None:
    recipe = made(**VGG, asim_linear_adc_prec=10, asim_linear_xbit=6, asim_linear_act_enc=2)
    assert values(recipe)["model"]["backbone"]["kwargs"] == {"drop_rate": 0.5}
    linear = MacroConfig(adc_bits=10, input_bits=6, encoding_bits=2)
    assert macros(recipe) == {"": MacroConfig(), "pre_logits.*": linear, "head": linear}


def test_each_attention_product_has_its_macro(made: Made) -> None:
    changes: dict[str, Any] = {}
    wanted: dict[str, MacroConfig] = {}
    for place, (matches, keys) in enumerate(
        [(("",), MLP), (("qk",), QK), (("av",), AV), (("qkv", "proj"), PROJ), (("head",), FC)]
    ):
        fields_of = {
            "weight_bits": 4 + place,
            "input_bits": 5 + place,
            "adc_bits": 6 + place,
            "random_noise": 0.1 * (1 + place),
            "nonlinear_noise": 0.01 * (1 + place),
            "encoding_bits": 1 + place,
            "rows": 100 if keys in (QK, AV, PROJ) else 200 + place,
        }
        changes |= {keys[field]: value for field, value in fields_of.items()}
        macro = MacroConfig(**fields_of, digital_levels=3, digital_adc=True)
        wanted |= dict.fromkeys(matches, macro)
    recipe = made(**{**VIT, **changes}, asim_vit_hybrid_levels=3)
    assert macros(recipe) == wanted
    assert values(recipe)["axes"]["random_noise"] == [0, 0.025, 0.05, 0.075, 0.1, 0.125, 0.15, 0.175, 0.2]


def test_stem_keeps_its_bits(made: Made) -> None:
    stem = {"match": "stem", "macro": {"weight_bits": 6, "input_bits": 2, "encoding_bits": 1}}
    recipe = made(quant_conv_wbit=6, quant_conv_xbit=2, asim_act_enc=4, asim_linear_act_enc=4)
    assert values(recipe)["model"]["plan"]["rules"] == [stem]
    plan = values(made(**VIT, vit_quant_conv_proj=True, asim_vit_quant_conv_wbit=10))["model"]["plan"]
    assert plan["stem"] == "quantized"
    assert plan["rules"][-1] == {"match": "stem", "macro": {"weight_bits": 10}}
    model = CimClassifier(plan=Plan(rules=[stem]))
    assert (model.backbone.conv1.weight_bits, model.backbone.conv1.input_bits) == (6, 2)
