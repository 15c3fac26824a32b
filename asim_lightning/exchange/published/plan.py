"""The plan of a published config: the macro of most layers, and rules for the others."""

from dataclasses import asdict
from typing import Any

from asim_lightning.circuit import MacroConfig
from asim_lightning.exchange.layouts import plain_relus
from asim_lightning.exchange.published.config_file import Given
from asim_lightning.exchange.published.names import AV, CONV, FC, LINEAR, MLP, PROJ, QK, Names
from asim_lightning.nn.assignment import score_macro

_OF_TRANSFORMER = {"qk": QK, "av": AV, "qkv": PROJ, "proj": PROJ, "head": FC}
_STEM_BITS = 8  # that a first convolution has at least


def plan_of(given: Given, network: str) -> dict[str, Any]:
    """The plan. Published digital cycles pass the ADC, and input ranges here are stored."""
    is_transformer, of_vgg = network.startswith("vit"), {"pre_logits.*": LINEAR} if network.startswith("vgg") else {}
    macro = _macro(given, MLP if is_transformer else CONV)
    rules = {}
    for match, names in (_OF_TRANSFORMER if is_transformer else {**of_vgg, "head": LINEAR}).items():
        before = asdict(score_macro(macro) if match == "av" else macro)
        other = asdict(_macro(given, names))
        rules[match] = {field: value for field, value in other.items() if value != before[field]}
    plan: dict[str, Any] = {"input_range": "calibrated", "macro": {each: getattr(macro, each) for each in CONV}}
    if macro.digital_levels:
        plan["macro"]["digital_adc"] = True
    else:
        del plan["macro"]["digital_levels"]
    if not is_transformer:
        plan |= _activations(given, network)
        rules["stem"] = _stem_changes(given, macro, "quant_conv")
    elif given.value("vit_quant_conv_proj"):  # otherwise the published code does not read these bits
        plan["stem"] = "quantized"
        rules["stem"] = _stem_changes(given, macro, "asim_vit_quant_conv")
    listed = [{"match": match, "macro": changes} for match, changes in rules.items() if changes]
    return {**plan, "rules": listed} if listed else plan


def _macro(given: Given, names: Names) -> MacroConfig:
    values = {field: given.value(name) for field, name in names.items()}
    values["encoding_bits"] = 1 if values["encoding_bits"] is None else values["encoding_bits"]
    values["digital_levels"] = 0 if values["digital_levels"] is None else values["digital_levels"]
    return MacroConfig(**values, digital_adc=bool(values["digital_levels"]))


def _activations(given: Given, network: str) -> dict[str, Any]:
    for name in ("asim_signed_act", "asim_linear_signed_act"):
        if given.value(name):
            same = "unsigned ones with a bit less have the same steps"
            given.note(name, f"inputs behind a ReLU are unsigned here, because they are never below 0; {same}")
    given.note("asim_linear_layer", "nothing to do: a linear layer takes inputs of any number of dimensions")
    kept = plain_relus(network) if given.value("PACT") else ()
    return {"pact": bool(given.value("PACT")), **({"pact_keep": kept} if kept else {})}


def _stem_changes(given: Given, macro: MacroConfig, start: str) -> dict[str, Any]:
    wanted = {"weight_bits": given.value(f"{start}_wbit"), "input_bits": given.value(f"{start}_xbit")}
    changes = {field: bits for field, bits in wanted.items() if bits != max(_STEM_BITS, getattr(macro, field))}
    if changes.get("input_bits", macro.input_bits) < macro.encoding_bits:
        changes["encoding_bits"] = 1  # no effect on a digital layer, but the rule's macro must be valid
    return changes
