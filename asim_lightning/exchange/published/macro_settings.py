"""The plan of a published config: the macro of most layers, and rules for the others."""

import re
from dataclasses import asdict
from typing import Any

from asim_lightning.circuit import MacroConfig, schedule
from asim_lightning.exchange.network import plain_relus
from asim_lightning.exchange.published.given_settings import AV, CONV, FC, LINEAR, MLP, PROJ, QK, Given, Names
from asim_lightning.nn.assignment import score_macro

_RULES_OF_CNN = {"pre_logits.*": LINEAR, "head": LINEAR}
_RULES_OF_TRANSFORMER = {"qk": QK, "av": AV, "qkv": PROJ, "proj": PROJ, "head": FC}
_STEM_BITS = 8  # that a first convolution has at least


def plan_of(given: Given, network: str) -> dict[str, Any]:
    """Values for the plan of the recipe: fields of the macro, and `rules`, which map a pattern to changed fields."""
    is_transformer = network.startswith("vit")
    groups = dict(_RULES_OF_TRANSFORMER if is_transformer else _RULES_OF_CNN)
    if not network.startswith("vgg"):
        groups.pop("pre_logits.*", None)
    macro = _macro(given, MLP if is_transformer else CONV, signed=is_transformer)
    rules = {}
    for match, names in groups.items():
        scores = match == "av"  # scores are never negative
        other = _macro(given, names, signed=is_transformer and not scores)
        rules[match] = _changes(other, score_macro(macro) if scores else macro)
    bits = [f"{'asim_vit_' if is_transformer else ''}quant_conv_{end}" for end in ("wbit", "xbit")]
    stem = {"stem": "quantized"} if is_transformer and given.value("vit_quant_conv_proj") else {}
    if stem or not is_transformer:
        rules["stem"] = _stem_changes(macro, *map(given.value, bits))
    given.ignore(*bits)  # the published code does not read them for a float patch embedding
    fields = asdict(macro)
    if not macro.digital_levels:
        del fields["digital_levels"], fields["digital_adc"]
    differing = {match: changes for match, changes in rules.items() if changes}
    return {**fields, **stem, "rules": differing, **({} if is_transformer else _activations(given, network))}


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
