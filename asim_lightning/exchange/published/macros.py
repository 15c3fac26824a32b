"""The plan of a published config: the macro of most layers, and rules for those that differ."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from asim_lightning.circuit import MacroConfig, schedule
from asim_lightning.exchange.keys import plain_relus
from asim_lightning.exchange.published.keys import AV, CONV, FC, LINEAR, MLP, PROJ, QK
from asim_lightning.exchange.published.reading import ConfigReading
from asim_lightning.nn.assignment import score_macro
from asim_lightning.surgery import Plan, Rule

_STEM_BITS = 8  # that a first convolution has at least
_BITS = (2, 16)  # least and most that it may have


@dataclass(frozen=True)
class PublishedPlan:
    """A plan, and its rules once more, with words."""

    plan: Plan
    """The plan."""
    rules: tuple[tuple[str, str, dict[str, Any]], ...]
    """What each rule matches, the same in words, and the fields of the macro that it changes."""


def plan_of(reading: ConfigReading, network: str) -> PublishedPlan:
    """The plan of a network.

    Args:
        reading: The config.
        network: timm's name.

    Raises:
        ValueError: A value is not allowed; one sentence with the published setting.
    """
    return _plan_of_transformer(reading) if network.startswith("vit") else _plan_of_cnn(reading, network)


def _plan_of_cnn(reading: ConfigReading, network: str) -> PublishedPlan:
    macro = _macro(reading, CONV, signed=False)
    linear = _macro(reading, LINEAR, signed=False)
    found: list[tuple[str, str, dict[str, Any]]] = []
    if network.startswith("vgg"):
        found.append(("pre_logits.*", "the first two linear layers, convolutions in timm", _changes(linear, macro)))
    found.append(("head", "the classifier", _changes(linear, macro)))
    bits = [reading.whole(name, *_BITS) for name in ("quant_conv_wbit", "quant_conv_xbit")]
    found.append(("stem", "the first convolution, digital", _stem_changes(macro, *bits)))
    for name in ("asim_signed_act", "asim_linear_signed_act"):
        if reading.flag(name):
            same = "unsigned ones with a bit less have the same steps"
            reading.note(name, f"inputs behind a ReLU are unsigned here, as nothing below 0 occurs; {same}")
    reading.note("asim_linear_layer", "nothing to do: a linear layer takes inputs of any number of dimensions")
    pact = reading.flag("PACT")
    return _plan(macro, found, pact=pact, pact_keep=list(plain_relus(network)) if pact else [])


def _plan_of_transformer(reading: ConfigReading) -> PublishedPlan:
    macro, proj = _macro(reading, MLP, signed=True), _macro(reading, PROJ, signed=True)
    found = [
        ("qk", "keys, and queries, which are stored", _changes(_macro(reading, QK, signed=True), macro)),
        ("av", "scores, and values, which are stored", _changes(_macro(reading, AV, signed=False), score_macro(macro))),
        ("qkv", "the query, key and value projection", _changes(proj, macro)),
        ("proj", "the output projection", _changes(proj, macro)),
        ("head", "the classifier", _changes(_macro(reading, FC, signed=True), macro)),
    ]
    quantized = reading.flag("vit_quant_conv_proj")
    bit_keys = ("asim_vit_quant_conv_wbit", "asim_vit_quant_conv_xbit")
    if quantized:
        bits = [reading.whole(name, *_BITS) for name in bit_keys]
        found.append(("stem", "the patch embedding, digital", _stem_changes(macro, *bits)))
    else:
        reading.ignore(*bit_keys)  # the published code does not read them then
    return _plan(macro, found, stem="quantized" if quantized else "published")


def _plan(macro: MacroConfig, found: list[tuple[str, str, dict[str, Any]]], **settings: Any) -> PublishedPlan:
    kept = [(match, about, changes) for match, about, changes in found if changes]
    rules = [Rule(match, changes) for match, _, changes in kept]
    return PublishedPlan(Plan(macro=macro, rules=rules, **settings), tuple(kept))


def _macro(reading: ConfigReading, keys: Mapping[str, str], signed: bool) -> MacroConfig:
    values = {field: reading.value(name) for field, name in keys.items()}
    for field, nothing in (("encoding_bits", 1), ("digital_levels", 0)):
        values[field] = nothing if values[field] is None else values[field]
    # published digital cycles pass the ADC
    values["digital_adc"] = bool(values["digital_levels"])
    try:
        macro = MacroConfig(**values)
        schedule(macro, signed)  # encodes a bit less where inputs have a sign
        return macro
    except (ValueError, TypeError) as error:
        found = re.match(r"`macro\.(\w+)`", str(error))
        name = keys[found[1]] if found and found[1] in keys else keys["weight_bits"]
        raise reading.error(name, f"does not fit: {error}") from None


def _changes(macro: MacroConfig, base: MacroConfig) -> dict[str, Any]:
    before = asdict(base)
    return {field: value for field, value in asdict(macro).items() if value != before[field]}


def _stem_changes(macro: MacroConfig, weight_bits: int, input_bits: int) -> dict[str, Any]:
    wanted = {"weight_bits": weight_bits, "input_bits": input_bits}
    changes = {field: bits for field, bits in wanted.items() if bits != max(_STEM_BITS, getattr(macro, field))}
    if changes.get("input_bits", macro.input_bits) < macro.encoding_bits:
        changes["encoding_bits"] = 1  # of no effect on a digital layer, but the rule's macro must be one
    return changes
