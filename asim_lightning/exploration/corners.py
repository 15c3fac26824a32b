"""Corners: named sets of fields of macro and technology that change together, such as tt, ff and ss."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from asim_lightning.checks import check_choice
from asim_lightning.circuit import MacroConfig
from asim_lightning.circuit.units import canonical_quantity, is_in_lsb, supply_share
from asim_lightning.circuit.voltage import IN_VOLTS
from asim_lightning.cost import Technology
from asim_lightning.evaluation.axis_settings import CORNER, RULES, TECHNOLOGY, rule_of, setting_of
from asim_lightning.evaluation.results import AxisValue
from asim_lightning.evaluation.target import Target
from asim_lightning.exploration.axes import flat
from asim_lightning.exploration.search_space import of_technology

_MACRO, _SUPPLY, _FULL_SCALE = "macro.", f"{TECHNOLOGY}supply", "full_scale_mv"
_GROUPS = ("macro", "macro.static", "technology")
"""Names whose fields may be nested."""
_EXAMPLE = "{tt: {}, ss: {macro.random_noise: 0.2, technology.supply: 0.81}}"


@dataclass(frozen=True)
class Corners:
    """The corners of a study.

    Attributes:
        fields: The changed fields of each corner by the names of their axes, such as random_noise, static.offset and
            technology.supply.
        ruled: Fields that rules of the plan decide, for each layer on a macro.
    """

    fields: Mapping[str, Mapping[str, AxisValue]] = field(default_factory=dict)
    ruled: Collection[frozenset[str]] = ()

    @classmethod
    def read(cls, given: Mapping[str, Any] | None) -> "Corners":
        """The corners of a recipe, such as {tt: {}, ss: {macro.random_noise: 0.2, technology.supply: 0.81}}.

        Raises:
            ValueError: It is no mapping of names to mappings, or a name is not that of a field of macro or technology.
        """
        if not isinstance(given, Mapping | None):
            raise ValueError(f"`corners` must be a mapping of names to fields, such as {_EXAMPLE}, got {given!r}")
        return cls({str(name): _fields(f"corners.{name}", each) for name, each in (given or {}).items()})

    def following(self, macro: MacroConfig) -> "Corners":
        """The same corners, with the full scale at the supply of each corner that changes it, if the full scale of the
        macro is a share of the supply. A corner's own full scale wins."""
        share = supply_share(macro.full_scale_mv)
        if share is None:
            return self
        found = dict[str, Mapping[str, AxisValue]]()
        for name, fields in self.fields.items():
            supply = {each: value for each, value in fields.items() if each == _SUPPLY}
            changed: dict[str, Any] = of_technology(supply)
            scale = {_FULL_SCALE: round(1000 * share[0] * Technology(**changed).volts, 9)} if supply else {}
            found[name] = {**scale, **fields}
        return replace(self, fields=found)

    def used(
        self, asked: Sequence[AxisValue] | None, setting: str, macro: MacroConfig, technology: Technology
    ) -> list[str]:
        """Names of the corners of a study: the asked ones, or all in order; none if the recipe has none.

        Args:
            asked: Names; None: all.
            setting: Name of the setting that asks for them.
            macro: The macro of the plan, which takes the fields of each corner.
            technology: The technology, which takes the other fields.

        Raises:
            ValueError: A corner has a field or value that is not allowed, or an asked corner is unknown.
        """
        for corner, changes in self.fields.items():
            others: dict[str, Any] = of_technology(changes)
            try:
                macro.with_fields(**self.of_macro(corner))
                technology.with_fields(**others)
            except ValueError as error:
                raise ValueError(f"{error}, in `corners.{corner}`") from None
        if asked is None:
            return list(self.fields)
        if not self.fields:
            raise ValueError(f"`{setting}` needs `corners` in the recipe, such as {_EXAMPLE}, got {list(asked)}")
        for name in asked:
            check_choice(f"`{setting}`", name, list(self.fields))
        return list(dict.fromkeys(map(str, asked)))

    def check_targets(self, targets: Iterable[Target], until: Target | None = None) -> None:
        """Refuse targets "at every corner" without corners, and such an `until`, which ends each corner by itself."""
        for each in targets:
            if each.every_corner and not self.fields:
                raise ValueError(f"the target '{each}' needs `corners` in the recipe, such as {_EXAMPLE}")
        if until is not None and until.every_corner:
            raise ValueError(f"`until` ends each corner by itself, so leave out 'at every corner', got '{until}'")

    def at(self, axes: Mapping[str, AxisValue]) -> dict[str, AxisValue]:
        """The axes of a point without its corner, and the fields of the corner that neither an axis nor rules of the
        plan for every layer decide."""
        rest = {name: value for name, value in axes.items() if name != CORNER}
        if CORNER not in axes:
            return rest
        fields = self.fields[str(axes[CORNER])]
        hidden = [each for each in fields if _is_hidden(each, rest) or self._is_ruled(each)]
        return {**{name: value for name, value in fields.items() if name not in hidden}, **rest}

    def _is_ruled(self, name: str) -> bool:
        """Whether rules of the plan decide a field for every layer."""
        return bool(self.ruled) and all(_is_of(name, each) for each in self.ruled)

    def check_volts(self, point: Mapping[str, AxisValue], macro: MacroConfig) -> None:
        """Refuse a corner that changes noise or spreads from or to LSB, for points that may change an LSB."""
        changes = self.of_macro(str(point[CORNER])) if CORNER in point else {}
        own = flat(asdict(macro))
        for name in changes.keys() & {*IN_VOLTS}:
            for value in (changes[name], own[name]):
                if is_in_lsb(value):
                    raise ValueError(
                        f"`macro.{name}` must be in % or mV if corners change it, because plans change the LSB, got "
                        f"{value!r}"
                    )

    def of_macro(self, name: str) -> dict[str, Any]:
        """The fields of the macro that a corner changes."""
        return {each: value for each, value in self.fields[name].items() if not each.startswith(TECHNOLOGY)}

    def recipe(
        self, base: Mapping[str, AxisValue], changed: Mapping[str, Mapping[str, AxisValue]], names: Sequence[str]
    ) -> dict[str, dict[str, AxisValue]]:
        """Some corners as a recipe has them, with the axes of `base`, and those that are `changed` at each corner."""
        found = {}
        for name in names:
            at = {**self.fields[name], **self.at({CORNER: name, **base, **changed[name]})}
            fields = dict.fromkeys([*self.fields[name], *changed[name]])
            found[name] = {each if each.startswith(TECHNOLOGY) else f"{_MACRO}{each}": at[each] for each in fields}
        return found

    def points(self, point: Mapping[str, AxisValue], names: Sequence[str]) -> list[dict[str, AxisValue]]:
        """A point at each of some corners; itself if there are none."""
        return [{CORNER: name, **point} for name in names] or [dict(point)]

    def changed(self, names: Iterable[str]) -> list[str]:
        """Names of the fields that some corners change, without repeats."""
        return list(dict.fromkeys(each for name in names for each in self.fields[name]))

    def network_at(self, axes: Mapping[str, AxisValue]) -> dict[str, AxisValue]:
        """The axes of `at` without the technology of the corner, which changes no answer of the network."""
        found = self.at(axes).items()
        return {name: value for name, value in found if name in axes or not name.startswith(TECHNOLOGY)}

    def notes(self, names: Sequence[str], axes: Iterable[str], said: str = "axes win") -> Iterator[str]:
        """Lines on fields of some corners that axes, or rules of the plan or of axes, decide; `said` names the axes."""
        changed, axes = self.changed(names), [*axes]
        of_axes = {rule_of(each)[1] for each in axes if each.startswith(RULES)}
        some = of_axes.union(*self.ruled)
        if found := [each for each in changed if _is_hidden(each, axes)]:
            yield f"corners  {said} over corners, so {', '.join(found)} of a corner has no effect"
        changed = [each for each in changed if not _is_hidden(each, axes)]
        if found := [each for each in changed if self._is_ruled(each)]:
            won = "rules of the plan win over corners in every layer"
            yield f"corners  {won}, so {', '.join(found)} of a corner has no effect"
        if found := [each for each in changed if _is_of(each, some) and each not in found]:
            yield f"corners  rules decide {', '.join(found)} of some layers at every corner"


def _is_hidden(name: str, axes: Iterable[str]) -> bool:
    """Whether an axis has the field of a corner; `static` has all static effects."""
    return name in axes or (name.startswith("static.") and "static" in axes)


def _is_of(name: str, fields: Collection[str]) -> bool:
    """Whether some fields have a field; `static` has all static effects."""
    return bool({name, name.partition(".")[0]} & {*fields})


def _fields(setting: str, given: Any) -> dict[str, AxisValue]:
    """The fields of a corner by the names of their axes."""
    if not isinstance(given, Mapping | None):
        raise ValueError(f"`{setting}` must be a mapping of fields, such as {{macro.random_noise: 0.2}}, got {given!r}")
    found = dict[str, AxisValue]()
    for name, value in _flat(given or {}):
        if not name.startswith((_MACRO, TECHNOLOGY)):
            raise ValueError(
                f"`{setting}` takes fields of macro and technology, such as macro.random_noise or technology.supply, "
                f"got {name}"
            )
        axis = name.removeprefix(_MACRO)
        if axis in found:
            raise ValueError(f"`{setting}` may have {name} once, got {found[axis]!r} and {value!r}")
        is_noise = not axis.startswith(TECHNOLOGY) and setting_of(axis).has_units
        found[axis] = canonical_quantity(value) if is_noise else value
    return found


def _flat(given: Mapping[Any, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Values by full name, from groups that may be nested."""
    for key, value in given.items():
        name = f"{above}{key}"
        if name in _GROUPS and isinstance(value, Mapping):
            yield from _flat(value, f"{name}.")
        else:
            yield name, value
