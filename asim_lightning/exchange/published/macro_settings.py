"""The plan of a published config: the macro of most layers, and rules for the others."""

import re
from dataclasses import asdict
from typing import Any

from asim_lightning.circuit import MacroConfig, schedule
from asim_lightning.exchange.layouts import plain_relus
from asim_lightning.exchange.published.given_settings import AV, CONV, FC, LINEAR, MLP, PROJ, QK, Given, Names
from asim_lightning.nn.assignment import score_macro

_OF_CNN = {"pre_logits": LINEAR, "head": LINEAR}
_OF_TRANSFORMER = {"qk": QK, "av": AV, "qkv": PROJ, "proj": PROJ, "head": FC}
_STEM_BITS = 8  # that a first convolution has at least


def plan_of(given: Given, network: str) -> dict[str, Any]:
    """Values for the plan of the recipe: fields of the macro, and of each rule, by `rule_` and its layers."""
    is_transformer = network.startswith("vit")
    macro = _macro(given, MLP if is_transformer else CONV, signed=is_transformer)
    values = asdict(macro)
    if not macro.digital_levels:
        del values["digital_levels"], values["digital_adc"]
    rules = {}
    for layers, names in (_OF_TRANSFORMER if is_transformer else _OF_CNN).items():
        scores = layers == "av"  # scores are never negative
        other = _macro(given, names, signed=is_transformer and not scores)
        rules[layers] = _changes(other, score_macro(macro) if scores else macro)
    if not network.startswith("vgg"):
        rules.pop("pre_logits", None)
    if not is_transformer:
        rules["stem"] = _stem_changes(macro, given.value("quant_conv_wbit"), given.value("quant_conv_xbit"))
        values |= _activations(given, network)
    elif given.value("vit_quant_conv_proj"):  # otherwise the published code does not read these bits
        bits = given.value("asim_vit_quant_conv_wbit"), given.value("asim_vit_quant_conv_xbit")
        rules["stem"] = _stem_changes(macro, *bits)
        values["stem"] = "quantized"
    return values | {f"rule_{layers}": changes for layers, changes in rules.items() if changes}


def _activations(given: Given, network: str) -> dict[str, Any]:
    for name in ("asim_signed_act", "asim_linear_signed_act"):
        if given.value(name):
            same = "unsigned ones with a bit less have the same steps"
            given.note(name, f"inputs behind a ReLU are unsigned here, because they are never below 0; {same}")
    given.note("asim_linear_layer", "nothing to do: a linear layer takes inputs of any number of dimensions")
    pact = bool(given.value("PACT"))
    kept = plain_relus(network) if pact else ()
    return {"pact": pact, **({"pact_keep": kept} if kept else {})}


def _macro(given: Given, names: Names, signed: bool) -> MacroConfig:
    values = {field: given.value(name) for field, name in names.items()}
    for field, nothing in (("encoding_bits", 1), ("digital_levels", 0)):
        values[field] = nothing if values[field] is None else values[field]
    # published digital cycles pass the ADC
    values["digital_adc"] = bool(values["digital_levels"])
    try:
        macro = MacroConfig(**values)
        schedule(macro, signed)  # signed inputs have one bit less to encode
        return macro
    except (ValueError, TypeError) as error:
        found = re.match(r"`macro\.(\w+)`", str(error))
        name = names.get(found[1] if found else "", names["weight_bits"])
        raise given.error(name, f"does not fit: {error}") from None


def _changes(macro: MacroConfig, base: MacroConfig) -> dict[str, Any]:
    before = asdict(base)
    return {field: value for field, value in asdict(macro).items() if value != before[field]}


def _stem_changes(macro: MacroConfig, weight_bits: int, input_bits: int) -> dict[str, Any]:
    wanted = {"weight_bits": weight_bits, "input_bits": input_bits}
    changes = {field: bits for field, bits in wanted.items() if bits != max(_STEM_BITS, getattr(macro, field))}
    if changes.get("input_bits", macro.input_bits) < macro.encoding_bits:
        changes["encoding_bits"] = 1  # no effect on a digital layer, but the rule's macro must be valid
    return changes
