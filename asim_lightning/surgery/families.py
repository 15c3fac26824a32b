"""Families: layers with the same macro at every point of a sweep, so that each point is computed once per family; and
rules of a plan for single layers."""

import fnmatch
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from torch import nn

from asim_lightning.circuit import MacroConfig
from asim_lightning.circuit.voltage import at_voltage_of
from asim_lightning.nn import Assignment, OnMacro
from asim_lightning.nn.calibration import quantized_layers
from asim_lightning.nn.quantized import QuantizedLayer
from asim_lightning.surgery.plan import KINDS, kinds_of


@dataclass(frozen=True, eq=False)
class Family:
    """Quantised layers of one class with the same assignment of a macro or of bits."""

    layers: Mapping[str, QuantizedLayer]
    """The layers, by full name."""
    assignment: Assignment | None
    """Their assignment; None if they follow no macro."""
    patterns: tuple[str, ...] = ()
    """Patterns of rules that match the layers."""

    @property
    def is_on_macro(self) -> bool:
        """Whether a macro computes the layers' products."""
        return isinstance(self._first, OnMacro)

    @property
    def signed_input(self) -> bool:
        """Whether the layers' inputs are signed."""
        return self._first.signed_input

    def check(self, assignment: Assignment) -> None:
        """Refuse an assignment that the layers do not take."""
        self._first.check_assignment(assignment)

    def at_voltage(self, assignment: Assignment | None) -> Assignment | None:
        """An assignment whose noise in LSB keeps the voltage that it has with the layers' own ADC."""
        if assignment is None or self.assignment is None or not self.is_on_macro:
            return assignment
        return assignment.ruled_by(at_voltage_of(assignment.macro, self.assignment.macro, self.signed_input))

    def bits(self, assignment: Assignment | None) -> tuple[int, int]:
        """Bits of the layers' weights and inputs with an assignment of `assignments_at`."""
        if assignment is None:
            return self._first.weight_bits, self._first.input_bits
        macro = assignment.macro
        return (macro.weight_bits, macro.input_bits) if self.is_on_macro else assignment.digital_bits

    @property
    def _first(self) -> QuantizedLayer:
        return next(iter(self.layers.values()))


def families_of(model: nn.Module, patterns: Mapping[str, Collection[str]] = {}) -> tuple[Family, ...]:
    """All quantised layers of a network, grouped by their assignments, and by the patterns that match their names."""
    found: dict[Any, dict[str, QuantizedLayer]] = {}
    for name, layer in quantized_layers(model).items():
        assignment = layer.assignment
        bits = (layer.weight_bits, layer.input_bits) if assignment is None else None
        matched = tuple(pattern for pattern, names in patterns.items() if name in names)
        found.setdefault((type(layer), layer.signed_input, assignment, bits, matched), {})[name] = layer
    return tuple(Family(layers, assignment, matched) for (_, _, assignment, _, matched), layers in found.items())


def assignments_at(
    families: Sequence[Family],
    point: Mapping[str, Any],
    rules: Mapping[str, Mapping[str, Any]] = {},
    noise_in: str = "written",
) -> tuple[Assignment | None, ...]:
    """Assignment of each family at a point of a sweep, which sets fields of the plan's macro; no layer is changed.

    Rules set fields for the layers of a pattern and override the plan; of several rules for a field the first counts.
    `noise_in` is one of `NOISE_IN`. With "volts", an LSB of noise is the voltage of an LSB of the layer as it is.

    Raises:
        ValueError: A name is no field, a layer does not take a value, rules decide a field for every layer, or a rule
            decides nothing.
    """
    before = [family.assignment for family in families if family.assignment is not None]
    bases = {base: base.with_fields(**point) for base in {each.base for each in before}}  # these errors name no layer
    after: dict[tuple[Assignment, tuple[str, ...]], Assignment] = {}
    found: list[Assignment | None] = []
    for family in families:
        if family.assignment is None:
            found.append(None)
            continue
        try:
            key = family.assignment, family.patterns
            if key not in after:
                ruled = {name: v for each in reversed(family.patterns) for name, v in rules.get(each, {}).items()}
                after[key] = replace(family.assignment, base=bases[family.assignment.base]).ruled_by(ruled)
            family.check(after[key])
        except ValueError as error:
            raise ValueError(f"Layer `{next(iter(family.layers))}`: {error}") from None
        found.append(after[key])
    on_macro = [each for family, each in zip(families, found, strict=True) if family.is_on_macro and each is not None]
    for field in point:
        if on_macro and all({field, field.partition(".")[0]} & assignment.ruled for assignment in on_macro):
            raise ValueError(
                f"`{field}` changes nothing, because `plan.rules` decide it for every layer on a macro; change the "
                "rules or leave it out"
            )
    _check_rules(families, rules)
    if noise_in == "volts":
        return tuple(family.at_voltage(each) for family, each in zip(families, found, strict=True))
    return tuple(found)


def pattern_of(name: str) -> str:
    """A pattern that matches only one layer: its full name, or `re:` if the name is a kind or a glob."""
    return f"re:{re.escape(name)}" if name in KINDS or set(name) & set("*?[") else name


def layer_rules(
    network: nn.Module, changes: Mapping[str, Mapping[str, Any]], has_rules: bool = True
) -> list[dict[str, Any]]:
    """Rules that replace a plan's rules, for changed fields of some layers by name: one rule for each changed layer, or
    for all layers of a kind (see `kinds_of`) that change alike.

    If the plan has rules, or is not known, the other layers have rules, too.
    """
    layers, found = quantized_layers(network), dict[str, dict[str, Any]]()
    for name, layer in layers.items():
        rule = getattr(getattr(layer, "assignment", None), "rule", None)
        own = asdict(rule) if isinstance(rule, MacroConfig) else dict(rule or {})
        if (fields := {**own, **changes.get(name, {})}) or has_rules:
            found[name] = {"match": pattern_of(name), "macro": fields, "signed_input": layer.signed_input}
    for kind, names in kinds_of(found).items():
        changed = [{**found[name], "match": kind} for name in names]
        if len(names) > 1 and names == fnmatch.filter(layers, kind) and all(each == changed[0] for each in changed):
            found = {name: changed[0] if name in names else each for name, each in found.items()}
    return list({each["match"]: each for each in found.values()}.values())


def _check_rules(families: Sequence[Family], rules: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse a rule that decides a field of no layer: none is on a macro, or earlier rules decide it for all."""
    for number, (pattern, changes) in enumerate(rules.items()):
        matched = [family for family in families if family.is_on_macro and pattern in family.patterns]
        if not matched:
            raise ValueError(f"`rules` changes nothing with {pattern!r}, which matches no layer on a macro")
        for name in changes:
            earlier = {each for each, others in list(rules.items())[:number] if name in others}
            if all(earlier & set(family.patterns) for family in matched):
                raise ValueError(
                    f"`{name}` of {pattern!r} in `rules` changes nothing: earlier rules decide it for all its layers"
                )
