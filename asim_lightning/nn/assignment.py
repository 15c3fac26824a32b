"""Where a layer's macro comes from: the plan's macro, its change for attention scores, and the layer's rule."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from asim_lightning.circuit import MacroConfig, resolved

_DIGITAL_BITS = 8


@dataclass(frozen=True)
class Assignment:
    """A layer's macro, and how it follows from the plan's macro, which may change.

    A layer has the plan's macro, or `score_macro` of it if it multiplies attention scores. The layer's rule then
    changes fields.

    Raises:
        ValueError: The base is not a macro, or the rule names an unknown field or a value that the macro does not take.

    Examples:
        >>> from asim_lightning import MacroConfig
        >>> from asim_lightning.nn import Assignment
        >>> layer = Assignment(MacroConfig(adc_bits=8), rule={"rows": 63})
        >>> layer.macro.rows, layer.changed(adc_bits=6, rows=127).macro.rows
        (63, 63)
    """

    base: MacroConfig
    """The plan's macro."""
    is_scores: bool = False
    """Whether the layer multiplies attention scores, which are unsigned."""
    rule: MacroConfig | Mapping[str, Any] | None = None
    """Fields that a rule of the plan sets for this layer, or its whole macro; None if no rule matches."""
    macro: MacroConfig = field(init=False, compare=False, repr=False)
    """The layer's macro."""

    def __post_init__(self) -> None:
        if not isinstance(self.base, MacroConfig):
            raise ValueError(f"`macro` must be a MacroConfig, got {self.base!r}")
        if isinstance(self.rule, MacroConfig):
            macro = self.rule
        else:
            macro = score_macro(self.base) if self.is_scores else self.base
            if self.rule is not None:
                object.__setattr__(self, "rule", dict(self.rule))  # a copy, because the caller's may change
                macro = macro.with_fields(**self.rule)
        object.__setattr__(self, "macro", resolved(macro))

    def __hash__(self) -> int:
        return hash((self.base, self.is_scores))  # a rule is a mapping

    @property
    def ruled(self) -> frozenset[str]:
        """Fields that the rule sets: a change of the base does not change them."""
        if isinstance(self.rule, MacroConfig):
            return frozenset(f.name for f in fields(MacroConfig))
        return frozenset(self.rule or ())

    @property
    def digital_bits(self) -> tuple[int, int]:
        """Bits of weight and input of a digital layer: the rule's bits, else 8, or the macro's bits if they are more.

        Published stems have 8 bits with every macro; with a wider macro, such a stem would limit the network.
        """
        weight, inputs = (
            bits if name in self.ruled else max(_DIGITAL_BITS, bits)
            for name, bits in (("weight_bits", self.macro.weight_bits), ("input_bits", self.macro.input_bits))
        )
        return weight, inputs

    def changed(self, **changes: Any) -> "Assignment":
        """The assignment with other fields of the plan's macro."""
        return replace(self, base=self.base.with_fields(**changes))

    def ruled_by(self, fields: Mapping[str, Any]) -> "Assignment":
        """The assignment with fields of a further rule, which overrides the rule so far."""
        if not fields:
            return self
        if isinstance(self.rule, MacroConfig):
            return replace(self, rule=self.rule.with_fields(**fields))
        return replace(self, rule={**(self.rule or {}), **fields})


def score_macro(macro: MacroConfig) -> MacroConfig:
    """The macro for AV, whose scores have no sign: 8 input bits instead of 9, and at most that many bits a cycle.

    Published networks give signed inputs and keys 9 bits, 8 of them magnitude, and scores 8.
    """
    bits = 8 if macro.input_bits == 9 else macro.input_bits
    return macro.with_fields(input_bits=bits, encoding_bits=min(macro.encoding_bits, bits))
