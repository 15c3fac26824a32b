"""The grid of a sweep: values of macro fields, of such fields in some layers, and chips."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import product
from math import prod
from typing import Any

from asim_lightning.checks import check_names
from asim_lightning.circuit import MacroConfig
from asim_lightning.circuit.static import StaticEffects
from asim_lightning.circuit.units import canonical_quantity, quantity
from asim_lightning.evaluation import Condition
from asim_lightning.evaluation.canonical import canonical_json
from asim_lightning.evaluation.results import NOISE_AXES, AxisValue, axis_text

DEFAULT_AXES: Mapping[str, list[AxisValue]] = {"random_noise": [0.0, 0.05, 0.1, 0.2]}
"""The grid where no axis is given."""
MOST_POINTS = 1_000_000
"""Points of a grid, and values of an axis, at most."""
_RULES = "rules."
_QUANTITIES = (*NOISE_AXES, "offset", "gain", "inl", "cell_mismatch", "trim_step")
_IN_LSB = (*NOISE_AXES, "offset", "trim_step")
"""Fields of a macro and its static effects that may be in LSB."""
_LSB_CHANGES = {"adc_bits": "one more bit halves", "adc_step": "twice the step doubles"}
"""Fields that decide the voltage of an LSB, and how."""


@dataclass(frozen=True)
class SweepAxes:
    """Values of macro fields, and chips, to try; several axes give every combination.

    Raises:
        ValueError: An axis is empty, or a value is not allowed for its field.
    """

    weight_bits: list[int] | None = None
    """Bits of a weight: 2..16."""
    input_bits: list[int] | None = None
    """Bits of an input: 1..16."""
    rows: list[int] | None = None
    """Rows a column sums: 1 or more."""
    adc_bits: list[int | None] | None = None
    """ADC bits: 1..16, or null for an ideal converter."""
    adc_step: list[int | None] | None = None
    """Counts an LSB of the ADC: 1 or more, or null for full scale / largest code."""
    adc_low: list[int] | None = None
    """Count of code 0: 0 or more."""
    encoding_bits: list[int] | None = None
    """Input bits a cycle: 1..input_bits."""
    weight_parallel: list[bool] | None = None
    """One conversion for all bits."""
    random_noise: list[float | str] | None = None
    """Random noise: percent of full scale, or with a unit (0.5 lsb, 1.2 mV)."""
    nonlinear_noise: list[float | str] | None = None
    """Nonlinear noise: percent of full scale, or with a unit."""
    full_scale_mv: list[float] | None = None
    """Full scale of a column, mV."""
    unit_capacitor_ff: list[float] | None = None
    """Capacitor of a cell, fF; no accuracy depends on it."""
    digital_levels: list[int] | None = None
    """Digital anti-diagonals."""
    digital_adc: list[bool] | None = None
    """Whether digital cycles pass the ADC."""
    vote_levels: list[int] | None = None
    """Voted anti-diagonals."""
    votes: list[int] | None = None
    """Conversions of a voted cycle."""
    vote: list[str] | None = None
    """mode, median or mean."""
    column: list[str] | None = None
    """Column model."""
    column_args: list[dict[str, Any]] | None = None
    """Arguments of the column model."""
    static: dict[str, Any] | list[dict[str, Any]] | None = None
    """Values of static effects, as in macro.static: {offset: [0.1 lsb, 0.3 lsb]}; or whole settings, one by one:
    [{offset: 0.3 lsb}, {cell_mismatch: 3 %}]."""
    rules: dict[str, Any] | None = None
    """Values of macro fields in some layers alone, by glob, `re:` or kind: {layer1.*: {adc_bits: [6, 7, 8]}}."""
    chip: list[int] | None = None
    """Numbers of chips: 0..2^32-1."""

    def __post_init__(self) -> None:
        if self.rules is not None and not (
            isinstance(self.rules, Mapping) and all(isinstance(each, Mapping) and each for each in self.rules.values())
        ):
            allowed = "a mapping such as {layer1.*: {adc_bits: [6, 7, 8]}}"
            raise ValueError(f"`axes.rules` must be {allowed}, got {self.rules!r}")
        if self.static is not None:
            _check_static(self.static)
        for name, values in self.given().items():
            if not isinstance(values, (list, tuple)) or not values:
                raise ValueError(f"`axes.{name}` must be a list of one or more values, got {values!r}")
        check_count("`axes`", self.count())

    def given(self) -> dict[str, list[AxisValue]]:
        """Axes that have values, by name: a field, static or static.EFFECT, chip, or rules.PATTERN.FIELD."""
        found = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) is not None}
        ruled = found.pop("rules", {})
        if isinstance(self.static, Mapping):
            found |= {f"static.{name}": values for name, values in found.pop("static").items()}
        return found | {
            f"{_RULES}{pattern}.{name}": values for pattern, axes in ruled.items() for name, values in axes.items()
        }

    def points(self) -> Iterator[dict[str, AxisValue]]:
        """Every combination once, noise in one way of writing; the default noise levels where no axis is given."""
        axes = self._distinct()
        for values in product(*axes.values()):
            yield dict(zip(axes, values, strict=True))

    def count(self) -> int:
        """Number of points."""
        return prod(map(len, self._distinct().values()))

    def _distinct(self) -> dict[str, list[AxisValue]]:
        axes = self.given() or dict(DEFAULT_AXES)
        return {name: distinct(name, values) for name, values in axes.items()}


def check_count(name: str, count: int) -> None:
    """Refuse a grid of too many points.

    Raises:
        ValueError: There are more than `MOST_POINTS`.
    """
    if count > MOST_POINTS:
        raise ValueError(f"{name} must have at most {MOST_POINTS:,} points, got {count:,}")


def distinct(name: str, values: Sequence[AxisValue]) -> list[AxisValue]:
    """Each value of an axis once, quantities in one way of writing.

    Args:
        name: Name of the axis.
        values: Its values.
    """
    if name.split(".")[-1] in _QUANTITIES:
        values = [canonical_quantity(value) for value in values]  # type: ignore[arg-type]  # of noise
    return list({axis_text(value): value for value in values}.values())


def _check_static(static: object) -> None:
    settings: Sequence[Any] = static if isinstance(static, (list, tuple)) else [static]
    if not settings or not all(isinstance(each, Mapping) and each for each in settings):
        names = ", ".join(f.name for f in fields(StaticEffects))
        allowed = f"a mapping of {names} to lists of values, or a list of such settings with a value each"
        raise ValueError(f"`axes.static` must be {allowed}, got {static!r}")
    for each in settings:
        check_names(each, StaticEffects, "axes.static", "static effect")


def condition_at(point: Mapping[str, AxisValue], fidelity: str, trial: int | None = None) -> Condition:
    """The condition of a point.

    Args:
        point: Value of each axis, by name.
        fidelity: Fidelity of every layer.
        trial: Number of the read; None: the classifier's.

    Raises:
        ValueError: The chip is none.
    """
    macro = {name: value for name, value in point.items() if name != "chip" and not name.startswith(_RULES)}
    rules: dict[str, dict[str, AxisValue]] = {}
    for name, value in point.items():
        if name.startswith(_RULES):
            pattern, field = _rule(name)
            rules.setdefault(pattern, {})[field] = value
    chip: Any = point.get("chip")
    return Condition(fidelity, macro, trial=trial, chip=chip, rules=rules)


def patterns_of(names: Iterable[str]) -> list[str]:
    """Patterns of layers in names of axes, each once."""
    return list(dict.fromkeys(_rule(name)[0] for name in names if name.startswith(_RULES)))


def _rule(name: str) -> tuple[str, str]:
    """Pattern and field of an axis rules.PATTERN.FIELD or rules.PATTERN.static.EFFECT."""
    pattern, _, field = name.removeprefix(_RULES).rpartition(".")
    if pattern.endswith(".static"):
        return pattern.removesuffix(".static"), f"static.{field}"
    return pattern, field


def lsb_note(
    points: Iterable[Mapping[str, AxisValue]], macros_at: Callable[[Mapping[str, AxisValue]], Iterable[MacroConfig]]
) -> str | None:
    """A line on noise and offsets in LSB, if the points differ in the voltage of an LSB; None if not.

    Args:
        points: Axes of the points.
        macros_at: The macros of a point's layers.
    """
    deciding = {*_IN_LSB, *_LSB_CHANGES, "static"}
    first: dict[str, Mapping[str, AxisValue]] = {}  # of the points that differ in these fields
    for point in points:
        values = {name: value for name, value in point.items() if name.rpartition(".")[2] in deciding}
        first.setdefault(canonical_json(values), point)
    macros = {macro for point in first.values() for macro in macros_at(point)}
    swept = {name.rpartition(".")[2] for point in first.values() for name in point}
    lsb = {
        "adc_bits": {macro.adc_bits for macro in macros if macro.adc_step is None},
        "adc_step": {macro.adc_step for macro in macros},
    }
    changed = [name for name, values in lsb.items() if name in swept and len(values) > 1]
    given = _in_lsb(macros)
    if not changed or not given:
        return None
    follows, it = ("follows", "it") if len(given) == 1 else ("follow", "them")
    how = " and ".join(f"{_LSB_CHANGES[name]} {it}" for name in changed)
    line = f"{' and '.join(given)} {follows} the LSB of each {' and '.join(changed)}: {how} in volts"
    return f"{line}; give {it} in % or mV to hold the voltage"


def _in_lsb(macros: Iterable[MacroConfig]) -> list[str]:
    """Noise and offsets that macros have in LSB, such as "random_noise 0.3 lsb"."""
    found: dict[str, set[str]] = {}
    for macro in macros:
        for name in _IN_LSB:
            value = getattr(macro if name in NOISE_AXES else macro.static, name)
            number, unit = quantity(value) or (0.0, "")
            if number and unit == "lsb":
                found.setdefault(name, set()).add(str(canonical_quantity(value)))
    return [f"{name} {values.pop() if len(values) == 1 else 'in lsb'}" for name, values in found.items()]
