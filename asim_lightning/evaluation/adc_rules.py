"""Fitted ADC ranges as rules of a plan."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from asim_lightning.circuit import MacroConfig
from asim_lightning.classifier.network import CimModule
from asim_lightning.evaluation.condition import matched
from asim_lightning.nn.count_histograms import AdcRange
from asim_lightning.surgery import macro_layers
from asim_lightning.surgery.plan import KINDS


def pattern_of(name: str) -> str:
    """What matches a layer in a plan: its full name, unless that is the name of a kind of layers."""
    return f"re:{name}" if name in KINDS else name


def rules_with(model: CimModule, ranges: Sequence[AdcRange]) -> list[dict[str, Any]]:
    """Rules of the plan that set these ranges, and those of its rules that decide about other layers.

    Args:
        model: Converted classifier.
        ranges: A range for each layer on a macro.
    """
    layers = macro_layers(model.backbone)
    others: list[dict[str, Any]] = []
    signs: dict[str, bool | None] = {}
    decided = set(layers)  # of several rules that match a layer the first counts
    for rule in model.hparams["plan"]["rules"]:
        names = matched(model, rule["match"], "plan.rules")
        signs = {**dict.fromkeys(names, rule.get("signed_input")), **signs}
        if names - decided:  # a plan refuses a rule that decides nothing
            others.append(rule)
        decided |= names
    rules = []
    for each in ranges:
        rule = layers[each.name].assignment.rule
        own = asdict(rule) if isinstance(rule, MacroConfig) else dict(rule or {})
        sign = {} if signs.get(each.name) is None else {"signed_input": signs[each.name]}
        rules.append({"match": pattern_of(each.name), "macro": {**own, **each.fields}, **sign})
    return [*rules, *others]
