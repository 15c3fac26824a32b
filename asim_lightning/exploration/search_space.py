"""The space of a search: values and ranges of axes, named as in a sweep."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any, TypeAlias

import numpy as np

from asim_lightning.circuit.units import canonical_quantity
from asim_lightning.cost import Technology
from asim_lightning.evaluation.axis_settings import CHECKPOINT, RULES, TECHNOLOGY, rule_of, setting_of
from asim_lightning.evaluation.results import AxisValue, axis_text, is_number

MOST_POINTS = 1_000_000
"""Most points of a grid."""
_GROUPS = {
    "static": "{offset: [0.1 lsb, 0.3 lsb]}",
    "rules": "{layer1.*: {adc_bits: [6, 7, 8]}}",
    "technology": "{supply: [0.8, 0.9]}",
}
"""Names that stand for several axes, each with an example."""
_RANGE = ("low", "high", "step", "log")


@dataclass(frozen=True)
class Range:
    """Any number between two ends; with `log`, whole numbers if both ends are whole."""

    low: float
    high: float
    log: bool = False

    @property
    def whole(self) -> bool:
        """Whether its values are whole numbers."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def draw(self, rng: np.random.Generator) -> AxisValue:
        """A random value, uniform in the number, or in its logarithm if `log`."""
        if self.log:
            value = math.exp(rng.uniform(math.log(self.low), math.log(self.high)))
            return round(value) if self.whole else float(f"{value:.4g}")
        return float(f"{rng.uniform(self.low, self.high):.4g}")


Axis: TypeAlias = Sequence[AxisValue] | Range


@dataclass(frozen=True)
class SearchSpace:
    """Axes with their values or a range each, by full name; checkpoint and technology may be axes, too."""

    axes: Mapping[str, Axis]
    setting: str = "axes"
    """Name of the setting in messages."""

    @classmethod
    def read(cls, given: Mapping[str, Any], setting: str = "search.space") -> "SearchSpace":
        """The space of a setting; groups of axes may be nested, and a range is a mapping of low, high, step and log."""
        axes: dict[str, Axis] = {}
        for name, values in _flat(setting, ((str(name), values) for name, values in given.items())):
            for other in axes:
                both = {other, name}  # static stands for all of its effects
                if len(both) == 1 or ("static" in both and all(each.split(".")[0] == "static" for each in both)):
                    raise ValueError(f"`{setting}` must name each axis once, got {other} and {name}")
            axes[name] = _values(setting, name, values)
        return cls(axes, setting)

    def count(self) -> int | None:
        """Number of points; None if it is infinite."""
        counts = [len(axis) for axis in self.axes.values() if not isinstance(axis, Range)]
        return prod(counts) if len(counts) == len(self.axes) else None

    def check_count(self) -> None:
        """Refuse a grid of more than `MOST_POINTS` points."""
        if (count := self.count() or 0) > MOST_POINTS:
            raise ValueError(f"`{self.setting}` must have at most {MOST_POINTS:,} points in a grid, got {count:,}")

    def values_of(self, name: str) -> Sequence[AxisValue]:
        """All values of an axis; a range with infinitely many is refused."""
        if isinstance(axis := self.axes[name], Range):
            raise ValueError(f"a grid needs a list, or a range with a step, for `{self.setting}.{name}`")
        return axis

    def grid(self) -> Iterator[dict[str, AxisValue]]:
        """Every combination, in order: at most `MOST_POINTS`."""
        self.check_count()
        for values in product(*map(self.values_of, self.axes)):
            yield dict(zip(self.axes, values, strict=True))

    def draw(self, rng: np.random.Generator) -> dict[str, AxisValue]:
        """A random point; each value of a list is as likely."""
        return {
            name: axis.draw(rng) if isinstance(axis, Range) else axis[int(rng.integers(len(axis)))]
            for name, axis in self.axes.items()
        }


def of_network(point: Mapping[str, AxisValue]) -> dict[str, AxisValue]:
    """The axes of a point that change the network's answers: all except technology and checkpoint."""
    return {name: value for name, value in point.items() if name != CHECKPOINT and not name.startswith(TECHNOLOGY)}


def checkpoint_of(point: Mapping[str, AxisValue]) -> str | None:
    """The checkpoint of a point; None: the network's own weights."""
    name = point.get(CHECKPOINT)
    return None if name is None else str(name)


def of_technology(point: Mapping[str, AxisValue]) -> dict[str, AxisValue]:
    """The axes of a point that change the technology."""
    return {name.removeprefix(TECHNOLOGY): value for name, value in point.items() if name.startswith(TECHNOLOGY)}


def _flat(setting: str, given: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Axes by full name, from groups that may be nested."""
    for name, values in given:
        is_mapping = isinstance(values, Mapping) and bool(values) and not {"low", "high"} <= set(values)
        if is_mapping and name.split(".")[0] in _GROUPS:
            yield from _flat(setting, ((f"{name}.{inner}", each) for inner, each in values.items()))
        elif name in _GROUPS and not (name == "static" and values):  # static may be a list of whole settings
            raise ValueError(f"`{setting}.{name}` must be a mapping such as {_GROUPS[name]}, got {values!r}")
        elif name.startswith(RULES) and not rule_of(name)[0]:
            raise ValueError(
                f"`{setting}.rules` must be a mapping such as {_GROUPS['rules']}, got {values!r} for a pattern"
            )
        else:
            yield name, values


def _values(setting: str, name: str, given: Any) -> Axis:
    if isinstance(given, Mapping) and {"low", "high"} & set(given):
        return _range(f"{setting}.{name}", given)
    values = [] if isinstance(given, (str, Mapping)) or not isinstance(given, Iterable) else list(given)
    if not values:
        allowed = "a list of one or more values"
        allowed += ", or a range such as {low: 0.02, high: 0.2}" * (setting == "search.space")
        raise ValueError(f"`{setting}.{name}` must be {allowed}, got {given!r}")
    if name.startswith(TECHNOLOGY):
        values = [_number(name.removeprefix(TECHNOLOGY), value) for value in values]
    if setting_of(name).has_units:
        values = [canonical_quantity(value) for value in values]
    return list({axis_text(value): value for value in values}.values())  # equal quantities count as one


def _number(field: str, value: Any) -> Any:
    """A value of a field of the technology; a text with a unit is converted to the field's unit."""
    if not isinstance(value, str):
        return value
    try:
        return getattr(Technology().with_fields(**{field: value}), field)
    except ValueError:
        return value  # refused later, with the name of the point


def _range(name: str, given: Mapping[str, Any]) -> Axis:
    said: dict[str, Any] = {**dict.fromkeys(_RANGE), **given}
    low, high, step, log = (said[key] for key in _RANGE)
    numbers = [low, high] if step is None else [low, high, step]
    if (
        not set(given) <= set(_RANGE)
        or not all(is_number(each) and math.isfinite(each) for each in numbers)
        or low >= high
        or (step is not None and step <= 0)
        or not isinstance(log, bool | None)
        or (log and (step is not None or low <= 0))
    ):
        allowed = "numbers low below high, and maybe step above 0, or log: true with low above 0"
        raise ValueError(f"`{name}` must be a range with {allowed}, got {dict(given)!r}")
    if not log and all(isinstance(each, int) for each in numbers):
        return range(low, high + 1, step or 1)
    if step is None:
        return Range(low, high, bool(log))
    count = math.floor((high - low) / step + 1e-9) + 1
    if count > MOST_POINTS:
        raise ValueError(f"`{name}` must have at most {MOST_POINTS:,} values, got {count:,}")
    return tuple(float(f"{low + step * place:.12g}") for place in range(count))
