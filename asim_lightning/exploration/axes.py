"""The grid of a sweep: values of macro fields, of macro fields in some layers, and chips."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, make_dataclass, replace
from types import GenericAlias
from typing import Any, get_type_hints

from asim_lightning.checks import check_whole
from asim_lightning.circuit import MacroConfig
from asim_lightning.circuit.fields import settings_of
from asim_lightning.circuit.units import canonical_quantity, quantity
from asim_lightning.classifier.network import CimModule
from asim_lightning.evaluation.axis_settings import CHIP, CORNER, RULES, rule_of
from asim_lightning.evaluation.condition import Condition, layer_rules
from asim_lightning.evaluation.results import AxisValue
from asim_lightning.evaluation.target import Target
from asim_lightning.exploration.search_space import SearchSpace
from asim_lightning.surgery import macro_layers

DEFAULT_AXES: Mapping[str, list[AxisValue]] = {"random_noise": [0.0, 0.05, 0.1, 0.2]}
"""The grid if no axis is given."""
MOST_CHIPS = 500
"""Chips after which a target stays undecided if no other limit is given."""
_LSB_CHANGES = {"adc_bits": "one more bit halves", "adc_step": "twice the step doubles"}
"""Fields that set the voltage of an LSB, and how they change it."""


def axes_of(config: type) -> Any:
    """A dataclass that takes a list of values, or None, for each setting of a configuration."""
    kinds, lines, axes = get_type_hints(config), ["Values of settings.", "", "Args:"], []
    for name, each in settings_of(config).items():
        with_unit = ", or with a unit such as 0.3 lsb" if each.has_units else ""
        lines.append(f"    {name}: {each.heading[0].upper()}{each.heading[1:]}{with_unit}; as model.plan.macro.{name}.")
        axes.append((name, GenericAlias(list, (kinds[name],)) | None, None))
    said = {"__doc__": "\n".join(lines), "__module__": __name__}
    return make_dataclass(f"{config.__name__}Axes", axes, namespace=said, frozen=True)


@dataclass(frozen=True)
class SweepAxes(axes_of(MacroConfig)):  # type: ignore[misc]
    """Values of macro fields, and chips, to try; several axes give every combination."""

    static: dict[str, Any] | list[dict[str, Any]] | None = None
    """Values of static effects, as in macro.static: {offset: [0.1 lsb, 0.3 lsb]}; or a list of whole settings:
    [{offset: 0.3 lsb}, {cell_mismatch: 3 %}]."""
    rules: dict[str, Any] | None = None
    """Values of macro fields for some layers, by glob, `re:` or kind: {layer1.*: {adc_bits: [6, 7, 8]}}."""
    chip: list[int] | None = None
    """Numbers of chips: 0..2^32-1."""
    corner: list[str] | None = None
    """Names of `corners`; null: all."""

    def __post_init__(self) -> None:
        SearchSpace.read(self.given(), "axes").check_count()

    def given(self) -> dict[str, Any]:
        """Axes that have values, nested as they are given; groups of several axes are last."""
        found = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) is not None}
        groups = {name: found.pop(name) for name in ("static", "rules") if isinstance(found.get(name), Mapping)}
        return found | groups


def grid_of(
    axes: Mapping[str, Any], chips: int | None = None, until: Target | None = None, corners: Sequence[str] = ()
) -> SearchSpace:
    """The grid of a sweep; without an axis or corners, the default noise levels.

    `corners` are a first axis, instead of the axis `corner` of `axes`.

    `chips` in 2..10000, or a target on a yield, add a last axis of chips 0, 1, 2, ...: `chips`, or `MOST_CHIPS`.
    """
    space = SearchSpace.read(axes, "axes")
    if corners:
        others = {name: values for name, values in space.axes.items() if name != CORNER}
        space = replace(space, axes={CORNER: [*corners], **others})
    if chips is None and (until is None or until.form != "yield"):
        return space if space.axes else SearchSpace(DEFAULT_AXES)
    if until is not None and until.ends_images:
        raise ValueError(f"`until` '{until}' ends the images of a chip, so `chips` must be null, got {chips}")
    count = MOST_CHIPS if chips is None else chips
    check_whole("`chips`", count, 2, 10000)
    if CHIP in space.axes:
        given = f"`chips` {chips}" if until is None else f"`until` '{until}'"
        raise ValueError(f"{given} takes chips 0, 1, 2, ...; leave out `axes.chip`, got {space.axes[CHIP]}")
    return SearchSpace({**space.axes, CHIP: list(range(count))})


def condition_at(
    point: Mapping[str, AxisValue], fidelity: str, trial: int | None = None, noise_in: str = "written"
) -> Condition:
    """The condition of a point."""
    macro = {name: value for name, value in point.items() if name != CHIP and not name.startswith(RULES)}
    rules: dict[str, dict[str, AxisValue]] = {}
    for name, value in point.items():
        if name.startswith(RULES):
            pattern, field = rule_of(name)
            rules.setdefault(pattern, {})[field] = value
    chip: Any = point.get(CHIP)
    of_macro = fidelity == "estimated"
    return Condition(fidelity, macro, trial=trial, chip=chip, rules=rules, noise_in=noise_in, of_macro=of_macro)


def nested(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a macro by the names of their axes, as a recipe nests them: static effects are in a mapping."""
    found = {name: value for name, value in fields.items() if not name.startswith("static")}
    static = dict(fields.get("static") or {})
    static |= {name.removeprefix("static."): value for name, value in fields.items() if name.startswith("static.")}
    return {**found, **({"static": static} if static else {})}


def flat(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a macro as a recipe nests them, by the names of their axes."""
    static = {f"static.{name}": value for name, value in (fields.get("static") or {}).items()}
    return {**{name: value for name, value in fields.items() if name != "static"}, **static}


def base_macro(model: CimModule) -> MacroConfig:
    """The macro of a network's plan, before rules. A layer may have been given another one by hand."""
    return next(iter(macro_layers(model.backbone).values())).assignment.base


def recipe_of(
    model: CimModule, macro: Mapping[str, Any], rules: Sequence[Mapping[str, Any]] = (), checkpoint: str | None = None
) -> dict[str, Any]:
    """Settings to add to a recipe of a network: its whole macro with some fields changed, rules of layers, and weights.

    Args:
        model: The network.
        macro: Changed fields, as a recipe nests them.
        rules: Rules that replace the rules of the network's plan; empty: the plan's own rules.
        checkpoint: File of the weights; None: the recipe's.
    """
    changed = base_macro(model).with_fields(**flat(macro))
    plan = {"macro": asdict(changed), "rules": [*(rules or layer_rules(model, {}))]}
    return {**({} if checkpoint is None else {"ckpt_path": checkpoint}), "model": {"plan": plan}}


def patterns_of(names: Iterable[str]) -> list[str]:
    """Patterns of layers in names of axes, without repeats."""
    return list(dict.fromkeys(rule_of(name)[0] for name in names if name.startswith(RULES)))


def lsb_notes(points: Iterable[Mapping[str, AxisValue]], macros: Collection[MacroConfig]) -> list[str]:
    """A line on noise and offsets in LSB of the macros of some points, if these differ in the voltage of an LSB; empty
    if not."""
    swept = {name.rpartition(".")[2] for point in points for name in point}
    lsb = {
        "adc_bits": {macro.adc_bits for macro in macros if macro.adc_step is None},
        "adc_step": {macro.adc_step for macro in macros},
    }
    changed = [name for name, values in lsb.items() if name in swept and len(values) > 1]
    given = _in_lsb(macros)
    if not changed or not given:
        return []
    follows, it = ("follows", "it") if len(given) == 1 else ("follow", "them")
    how = " and ".join(f"{_LSB_CHANGES[name]} {it}" for name in changed)
    line = f"{' and '.join(given)} {follows} the LSB of each {' and '.join(changed)}: {how} in volts"
    return [f"{line}; --noise_in volts of asim sweep and asim search, or % or mV, keeps the voltage constant"]


def _in_lsb(macros: Iterable[MacroConfig]) -> list[str]:
    """Noise and offsets that macros have in LSB, such as "random_noise 0.3 lsb"."""
    found: dict[str, set[str]] = {}
    for macro in macros:
        for name, value in (*vars(macro).items(), *vars(macro.static).items()):
            number, unit = quantity(value) or (0.0, "")
            if number and unit == "lsb":
                found.setdefault(name, set()).add(str(canonical_quantity(value)))
    return [f"{name} {values.pop() if len(values) == 1 else 'in lsb'}" for name, values in found.items()]
