"""The plan of a conversion: which layer of a network gets which macro."""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

from asim_lightning.checks import check_choice, check_flag
from asim_lightning.circuit import MacroConfig, resolved
from asim_lightning.circuit.presets import preset
from asim_lightning.nn.input_range import INPUT_RANGES

ROTATIONS = ("stream", "hadamard")
"""Ways to rotate a network."""

STEMS = ("published", "quantized", "float", "macro")

KINDS = ("conv", "depthwise", "linear", "qkv", "proj", "mlp", "head", "qk", "av", "matmul", "stem")
"""Kinds of layers that a pattern may name."""
_MOST_LINES = 40
"""Most layers that tables and heat maps list one by one; of more layers, they list kinds."""


@dataclass(frozen=True)
class Rule:
    """Changes the macro of some layers, or the sign of their inputs.

    Examples:
        >>> from asim_lightning import Plan, Rule
        >>> plan = Plan(rules=[Rule("layer4.*", {"adc_bits": 9}), Rule("fc", {"random_noise": "0.1 lsb"})])
        >>> plan.rules[0].macro
        {'adc_bits': 9}
    """

    match: str
    """Layers by full name: a glob (`layer4.*`), a regular expression (`re:blocks\\.\\d+\\.mlp.*`), or a kind."""
    macro: dict[str, Any] | MacroConfig = field(default_factory=dict)  # jsonargparse takes the first that fits
    """Fields of the plan's macro that differ for these layers, or a whole macro."""
    signed_input: bool | None = None
    """As the plan's `signed_input`, for these layers; null: the plan's."""

    def __post_init__(self) -> None:
        if not self.macro and self.signed_input is None:
            raise ValueError(
                f"`plan.rules.macro` must be a mapping of one or more macro fields, such as {{adc_bits: 10}}, got none "
                f"for {self.match!r}"
            )
        if self.signed_input is not None:
            check_flag("`plan.rules.signed_input`", self.signed_input)


@dataclass(frozen=True)
class Plan:
    """Which layers of a network go on which macro; the default is the published mapping.

    Published: the first convolution is digital (signed, 8 bits or the macro's bits if they are more; a patch embedding
    is float). Everything else is on the macro, including head, depthwise convolutions, and both products of attention
    (keys and scores encoded).

    Attributes:
        macro: Macro of every layer that no rule changes.
        rules: Changes for some layers; if several rules match a layer, the first counts.
        keep: Layers that stay float, as globs, `re:` expressions or kinds.
        stem: First convolution: published, quantized (digital, 8 bits or more), float, or macro.
        pact: Whether each ReLU becomes a PACT, a ReLU with a learned clip.
        pact_keep: ReLUs that stay ReLUs if `pact` is true, as globs over full names (features.2 in a published VGG).
        input_range: Range of the input quantisers: calibrated (stored), batch (maximum of the whole batch), pact (the
            clip), or token (maximum of each row, for linear layers and products of activations; queries, keys and
            scores have rows, values have one calibrated range).
        per_channel: Whether each output channel's weights have their own scale (false: one scale a layer, as
            published).
        fold_batchnorm: Whether BatchNorms become part of the convolutions before them: there are fewer digital
            operations, and weights are quantised as a chip would store them. Channels then differ more in size: one
            scale a layer is coarser, and per_channel may help.
        rotate: How a language model is rotated before its conversion, so that no channel is much larger than the
            others; in float it computes the same. null: not. stream: its residual stream, and the values of
            attentions, without additions at run time. hadamard: also the inputs of the last layer of each MLP, queries
            and keys, by additions at run time, which asim cost counts.
        preset: Published macro (asim macros lists them) with the defaults of `macro`, which must then be a mapping or
            absent; null as soon as `macro` has them.
        signed_input: Whether layers take inputs below 0. null: a layer is unsigned if the operation before it makes no
            negative number (ReLU, PACT, softmax, pooling of these), else signed. true: all are signed. false: all are
            unsigned, and a negative input is refused; unsigned inputs have twice as many levels above 0.

    Raises:
        ValueError: A field is not allowed.

    Examples:
        >>> from asim_lightning import MacroConfig, Plan, Rule
        >>> plan = Plan(MacroConfig(adc_bits=8), rules=[Rule("layer4.*", {"adc_bits": 9})], keep=["fc"])
        >>> plan.macro.adc_bits, plan.keep
        (8, ['fc'])
    """

    macro: MacroConfig = field(default_factory=MacroConfig)
    rules: list[Rule] = field(default_factory=list)
    keep: list[str] = field(default_factory=list)
    stem: str = "published"
    pact: bool = False
    pact_keep: list[str] = field(default_factory=list)
    input_range: str = "calibrated"
    per_channel: bool = False
    fold_batchnorm: bool = False
    rotate: str | None = None
    preset: str | None = None
    signed_input: bool | None = None

    def __post_init__(self) -> None:
        if self.preset is not None:
            changes: Any = {} if self.macro == MacroConfig() else self.macro
            if not isinstance(changes, dict):
                raise ValueError(
                    f"`plan.macro` next to `plan.preset` must be a mapping of the fields that differ, got {changes!r}"
                )
            object.__setattr__(self, "macro", preset(self.preset).config(**changes))
            object.__setattr__(self, "preset", None)
        elif isinstance(self.macro, dict):
            object.__setattr__(self, "macro", MacroConfig().with_fields(**self.macro))
        try:
            rules = [rule if isinstance(rule, Rule) else Rule(**rule) for rule in self.rules]
        except TypeError:
            message = "`plan.rules` must be a list of rules with match, macro and signed_input"
            raise ValueError(f"{message}, got {self.rules!r}") from None
        object.__setattr__(self, "rules", rules)
        for name, allowed in (("stem", STEMS), ("input_range", INPUT_RANGES)):
            check_choice(f"`plan.{name}`", getattr(self, name), allowed)
        if self.rotate is not None:
            check_choice("`plan.rotate`", self.rotate, ROTATIONS)
        for name in ("pact", "per_channel", "fold_batchnorm"):
            check_flag(f"`plan.{name}`", getattr(self, name))
        if self.signed_input is not None:
            check_flag("`plan.signed_input`", self.signed_input)
        for name in ("keep", "pact_keep"):
            patterns = getattr(self, name)
            if not isinstance(patterns, (list, tuple)) or not all(isinstance(p, str) and p for p in patterns):
                raise ValueError(f"`plan.{name}` must be a list of layer names or patterns, got {patterns!r}")
            object.__setattr__(self, name, list(patterns))
        if self.pact_keep and not self.pact:
            raise ValueError(f"`plan.pact_keep` needs `plan.pact` true, got {self.pact_keep!r} with false")
        if not isinstance(self.macro, MacroConfig):
            raise ValueError(f"`plan.macro` must be a MacroConfig, got {self.macro!r}")
        object.__setattr__(self, "macro", resolved(self.macro))
        for rule in self.rules:
            if isinstance(rule.macro, dict):  # refuses unknown fields and values before any layer is touched
                resolved(self.macro.with_fields(**rule.macro))


def matching(pattern: str, kinds: Mapping[str, str], where: str) -> set[str]:
    """Names of the layers in `kinds` that a pattern of the setting `where` matches; no match is refused.

    A pattern is a glob over full names, `re:` and a regular expression that must match the whole name, or a kind.
    """
    if pattern.startswith("re:"):
        try:
            expression = re.compile(pattern[3:])
        except re.error as error:
            raise ValueError(f"`{where}` has an invalid regular expression {pattern!r}: {error}") from None
        found = {name for name in kinds if expression.fullmatch(name)}
    else:
        found = {name for name, kind in kinds.items() if kind == pattern or fnmatchcase(name, pattern)}
    if not found:
        wanted = pattern[3:] if pattern.startswith("re:") else pattern
        choices = [*kinds, *sorted(set(kinds.values()))]
        near = get_close_matches(wanted, choices, n=3, cutoff=0.3) or choices[:3]
        raise ValueError(f"`{where}` matches no layer with {pattern!r}; nearest: {', '.join(near)}")
    return found


def kinds_of(names: Iterable[str]) -> dict[str, list[str]]:
    """The layers of each kind, such as `model.layers.*.mlp.up_proj`: full names that differ only in numbers."""
    found = dict[str, list[str]]()
    for name in names:
        kind = ".".join("*" if part.isdigit() else part for part in name.split("."))
        found.setdefault(kind, []).append(name)
    return found


def are_many(names: Collection[str]) -> bool:
    """Whether there are more layers than one can read in a table, and at most half as many kinds."""
    return len(names) > _MOST_LINES and 2 * len(kinds_of(names)) <= len(names)
