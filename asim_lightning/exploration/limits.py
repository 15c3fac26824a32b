"""Properties of a macro, and how bad each may be: a bisection from a harmless value to a harmful one."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from asim_lightning.checks import check_choice
from asim_lightning.circuit import MacroConfig
from asim_lightning.circuit.fields import settings_of
from asim_lightning.circuit.units import canonical_quantity, quantity
from asim_lightning.evaluation.results import AxisValue, Decision
from asim_lightning.evaluation.target import TOGETHER, Limit
from asim_lightning.exploration.methods import Method, Point

_OF_DECADE = 20
"""Values in a factor of ten: each value is 12 % above the one before."""


@dataclass(frozen=True)
class Property:
    """A property of a macro, with the values to try."""

    name: str
    unit: str
    """Unit of the values; empty if they have none."""
    rungs: tuple[float, ...]
    """Values, from harmless to harmful."""
    axes: Callable[[float], Point]
    """Gives the axes of a macro with a value of the property."""

    @property
    def worst(self) -> Point:
        """The axes of a macro with the most harmful value."""
        return self.axes(self.rungs[-1])

    def allowed(self, takes: Callable[[Point], object]) -> "Property":
        """The property with the values that `takes` does not refuse."""
        rungs = []
        for value in self.rungs:
            with suppress(ValueError):
                takes(self.axes(value))
                rungs.append(value)
        return replace(self, rungs=tuple(rungs))


def bisection(
    properties: Sequence[Property], base: Point, together: Callable[[Sequence[Limit]], Property | None]
) -> Method[list[Limit]]:
    """Find the limit of each property, one after another; then the limit of all together, last.

    For each property it looks for two neighbouring pairs of rungs: one that keeps the target and the next that may
    miss; and one that may keep it and the next that misses. It assumes that more of a property is never better. Every
    point has the axes of `base` that its property does not set. `together` makes the joint property from the single
    limits; None if there is none.
    """
    found = []
    for each in properties:
        found.append((yield from _limit(each, base)))
    if (joint := together(found)) is not None:
        found.append((yield from _limit(joint, base)))
    return found


def _limit(given: Property, base: Point) -> Method[Limit]:
    verdicts: dict[int, Decision] = {}
    while (rung := _next(given, verdicts)) is not None:
        result = yield {**base, **given.axes(given.rungs[rung])}
        (verdicts[rung],) = result.decisions.values()
    kept, first, last, missed = _edges(len(given.rungs), verdicts)
    between = [verdicts[rung] for rung in range(first, last + 1) if rung in verdicts and kept < rung < missed]
    hardest = max(between, key=lambda each: (each.is_over, each.images or 0), default=Decision("kept"))
    return Limit(
        given.name,
        given.unit,
        given.rungs,
        given.rungs[kept] if kept >= 0 else None,
        given.rungs[missed] if missed < len(given.rungs) else None,
        hardest.images,
        hardest.is_over,
    )


def _edges(rungs: int, verdicts: Mapping[int, Decision]) -> tuple[int, int, int, int]:
    """The last kept rung, the first doubtful rung after it, the last doubtful rung, and the first missed one.

    -1 stands before the first rung, and `rungs` after the last.
    """
    missed = min((rung for rung, each in verdicts.items() if each.verdict == "missed"), default=rungs)
    kept = max((rung for rung, each in verdicts.items() if each.verdict == "kept" and rung < missed), default=-1)
    doubtful = [rung for rung in verdicts if kept < rung < missed]
    return kept, min(doubtful, default=missed), max(doubtful, default=kept), missed


def _next(given: Property, verdicts: Mapping[int, Decision]) -> int | None:
    if given.rungs[0] == 0 and 0 not in verdicts:  # if a macro misses without a spread, it misses with it
        return 0
    kept, first, last, missed = _edges(len(given.rungs), verdicts)
    for low, high in ((kept, first), (last, missed)):
        if high - low > 1:
            return (low + high) // 2
    return None


def spreads_of(macro: MacroConfig) -> Point:
    """Noise and spreads of a macro, by the name of their axis."""
    found: Point = {}
    for above, config in (("", macro), ("static.", macro.static)):
        for name, each in settings_of(type(config)).items():
            value = getattr(config, name)
            if each.harder == 1 and value != 0 and (not above or macro.static.is_set(name)):
                found[f"{above}{name}"] = value
    return found


def properties_of(macro: MacroConfig, names: Sequence[str] | None = None) -> list[Property]:
    """The named properties of a macro; None: all that it may have."""
    lsb = "lsb" if macro.codes_of_full_scale is not None else "%"
    percents, powers = _rungs(1e-3, 30.0), range(-5, 6)

    def spread(axis: str, unit: str = "%") -> Callable[[float], Point]:
        return lambda value: {axis: canonical_quantity(f"{value:g} {unit}") if value else 0}

    def stuck(value: float) -> Point:
        return {"static.stuck_at_0": value / 200.0, "static.stuck_at_1": value / 200.0}

    def number(axis: str) -> Callable[[float], Point]:
        return lambda value: {axis: int(value)}

    every = [
        Property("random_noise", lsb, _rungs(1e-2, 30.0), spread("random_noise", lsb)),
        Property("offset", lsb, _rungs(1e-2, 30.0), spread("static.offset", lsb)),
        Property("gain", "%", percents, spread("static.gain")),
        Property("inl", "%", tuple(each for each in percents if each <= largest_inl(macro)), spread("static.inl")),
        Property("cell_mismatch", "%", percents, spread("static.cell_mismatch")),
        Property("stuck_cells", "%", percents, stuck),
        Property("adc_bits", "bits", tuple(range(16, 0, -1)), number("adc_bits")),
        Property("rows", "", tuple(int(macro.rows * 2.0**power) for power in powers), number("rows")),
        Property("encoding_bits", "bits", tuple(range(1, 17)), number("encoding_bits")),
    ]
    allowed = {each.name: each.allowed(lambda axes: macro.with_fields(**axes)) for each in every}
    for name in names or ():
        check_choice("`properties`", name, list(allowed))
        if len(allowed[name].rungs) < 2:
            raise ValueError(f"`properties` has {name}, but this macro takes no other value of it")
    return [each for name, each in allowed.items() if len(each.rungs) > 1 and (names is None or name in names)]


def largest_inl(macro: MacroConfig) -> float:
    """The largest INL to try, percent: half an LSB of DNL at mid-code, ``50 / 2^(B / 2)``. The thresholds of about one
    converter in 40 are then out of order."""
    return 50.0 / 2.0 ** ((macro.adc_bits or 0) / 2)


def scaled(spreads: Mapping[str, AxisValue], macro: MacroConfig) -> Property:
    """Spreads and noise together, by the name of their axis, each multiplied by a factor.

    An INL in percent does not grow beyond the largest one to try.
    """

    def times(factor: float, name: str, value: AxisValue) -> AxisValue:
        if isinstance(value, (list, tuple)):  # an INL of all converters
            return [factor * each for each in value]  # type: ignore[return-value]
        number, unit = quantity(value) or (0.0, "")
        most = max(number, largest_inl(macro)) if name == "static.inl" else math.inf
        return 0 if factor == 0 else canonical_quantity(f"{min(most, factor * number):.4g} {unit}")

    def axes(factor: float) -> Point:
        return {name: times(factor, name, value) for name, value in spreads.items()}

    return Property(TOGETHER, "times", _rungs(1e-2, 10.0), axes)


def _rungs(low: float, high: float) -> tuple[float, ...]:
    """0, and values from the lowest to the highest, each 12 % above the one before."""
    first, last = (round(_OF_DECADE * math.log10(end)) for end in (low, high))
    return (0.0, *(float(f"{10 ** (step / _OF_DECADE):.3g}") for step in range(first, last + 1)))
