"""Rules of a plan for single layers, such as for fitted ADC ranges."""

import re
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from asim_lightning.circuit import MacroConfig
from asim_lightning.classifier.network import CimModule
from asim_lightning.evaluation.condition import matched
from asim_lightning.nn.count_histograms import AdcRange
from asim_lightning.nn.quantized import QuantizedLayer
from asim_lightning.surgery import macro_layers
from asim_lightning.surgery.plan import KINDS


def pattern_of(name: str) -> str:
    """A pattern that matches only one layer in a plan: its full name, or `re:` if the name is a kind or pattern."""
    return f"re:{re.escape(name)}" if name in KINDS or set(name) & set("*?[") else name


def own_fields(layer: QuantizedLayer) -> dict[str, Any]:
    """Fields of the macro that a layer's rule sets."""
    rule = getattr(getattr(layer, "assignment", None), "rule", None)
    return asdict(rule) if isinstance(rule, MacroConfig) else dict(rule or {})


def rules_with(model: CimModule, ranges: Sequence[AdcRange]) -> list[dict[str, Any]]:
    """Rules that set the ADC range of each layer on a macro, and the plan's rules for other layers."""
    layers = macro_layers(model.backbone)
    others: list[dict[str, Any]] = []
    signs: dict[str, bool | None] = {}
    decided = set(layers)  # if several rules match a layer, the first counts
    for rule in model.hparams["plan"]["rules"]:
        names = matched(model, rule["match"], "plan.rules")
        signs = {**dict.fromkeys(names, rule.get("signed_input")), **signs}
        if names - decided:  # a plan refuses a rule that decides nothing
            others.append(rule)
        decided |= names
    rules = []
    for each in ranges:
        sign = {} if signs.get(each.name) is None else {"signed_input": signs[each.name]}
        rules.append(
            {"match": pattern_of(each.name), "macro": {**own_fields(layers[each.name]), **each.fields}, **sign}
        )
    return [*rules, *others]
