"""How good a macro must be: the limit of each property up to which a network keeps a target."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from asim_lightning.checks import check_choice, check_whole
from asim_lightning.circuit import MacroConfig, StaticEffects
from asim_lightning.circuit.fields import settings_of
from asim_lightning.circuit.units import canonical_quantity, quantity
from asim_lightning.cost import Technology
from asim_lightning.evaluation.axis_settings import CHIP, CORNER
from asim_lightning.evaluation.binomial import clopper_pearson
from asim_lightning.evaluation.layer_inputs import needed_layers
from asim_lightning.evaluation.measure import Measure
from asim_lightning.evaluation.notes import interval_notes, near_notes
from asim_lightning.evaluation.results import AxisValue, canonical_json
from asim_lightning.evaluation.run import DOCUMENT
from asim_lightning.evaluation.target import TOGETHER, Limit, Target, measured_target
from asim_lightning.exploration.axes import base_macro, flat, lsb_notes, nested
from asim_lightning.exploration.corners import Corners
from asim_lightning.exploration.limit_search import ALL, EARLY, ESTIMATES, Property, limit_of, moved
from asim_lightning.exploration.methods import Look, Method, Point
from asim_lightning.exploration.point import Points
from asim_lightning.exploration.runner import Work
from asim_lightning.exploration.running import measure
from asim_lightning.exploration.search_space import of_network
from asim_lightning.exploration.study import Say, Study, StudySettings, all_images, silent
from asim_lightning.report.draw import figure_of
from asim_lightning.report.labels import legend_text
from asim_lightning.report.picture import WIDTH
from asim_lightning.report.spec_doctor import limits_pictures, limits_table
from asim_lightning.table import Table

_OF_DECADE = 20
"""Values in a factor of ten: each value is 12 % above the one before."""


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
    percents = _rungs(1e-3, 30.0)

    def spread(axis: str, unit: str = "%") -> Callable[[float], Point]:
        return lambda value: {axis: canonical_quantity(f"{value:g} {unit}") if value and unit else value or 0}

    every = [
        Property("random_noise", lsb, _rungs(1e-2, 30.0), spread("random_noise", lsb)),
        Property("offset", lsb, _rungs(1e-2, 30.0), spread("static.offset", lsb)),
        Property("gain", "%", percents, spread("static.gain")),
        Property("inl", "%", tuple(each for each in percents if each <= largest_inl(macro)), spread("static.inl")),
        Property("cell_mismatch", "%", percents, spread("static.cell_mismatch")),
        Property("stuck_cells", "%", percents, lambda x: {f"static.stuck_at_{bit}": x / 200.0 for bit in (0, 1)}),
        Property("adc_bits", "bits", tuple(range(16, 0, -1)), lambda x: {"adc_bits": int(x)}),
        Property("rows", "", tuple(int(macro.rows * 2.0**power) for power in range(-5, 6)), lambda x: {"rows": int(x)}),
        Property("encoding_bits", "bits", tuple(range(1, 17)), lambda x: {"encoding_bits": int(x)}),
    ]
    known, refused = {axis for each in every for axis in each.worst}, {}
    for above, kind in (("", type(macro)), ("static.", StaticEffects)):
        for name, each in settings_of(kind).items():
            if each.harder != 1 or (axis := f"{above}{name}") in known:
                continue
            if each.no_limit:
                refused[name] = each.no_limit
                continue
            rungs = _rungs(1e-4 * each.within[1], each.within[1]) if each.within else percents
            every.append(Property(name, "%" if each.has_units else each.unit, rungs, spread(axis, "")))
    if names is None:
        return [each for each in every if len(each.allowed(lambda axes: macro.with_fields(**axes)).rungs) > 1]
    for name in names:
        if name in refused:
            raise ValueError(f"`properties` has no {name}: {refused[name]}")
        check_choice("`properties`", name, [each.name for each in every])
    return [each for each in every if each.name in names]


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

    rungs = _rungs(1e-2, 10.0)
    return Property(TOGETHER, "times", rungs, lambda x: {name: times(x, name, each) for name, each in spreads.items()})


def _rungs(low: float, high: float) -> tuple[float, ...]:
    """0, and values from the lowest to the highest, each 12 % above the one before."""
    first, last = (round(_OF_DECADE * math.log10(end)) for end in (low, high))
    return (0.0, *(float(f"{10 ** (step / _OF_DECADE):.3g}") for step in range(first, last + 1)))


_ESTIMATES, _SIMULATED = 10, 5
"""About how many points of a property are estimated, and simulated with all chips and images."""


@dataclass(frozen=True, repr=False)
class Spec:
    """How bad each property of a macro may be for a network that keeps a target.

    Attributes:
        target: The target.
        limits: The limit of each property, with no other noise and spreads; all together last.
        macro: The macro, without its noise and spreads.
        keeps: Fields of a macro that surely keeps the target with all noise and spreads together; None if none does.
        corners: The corners of that macro, as a recipe has them.
        notes: What a reader should know, a line each.
        measure: The measure of the outcome.
    """

    target: Target
    limits: tuple[Limit, ...]
    macro: MacroConfig
    keeps: Mapping[str, Any] | None
    corners: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    measure: Measure = field(default_factory=Measure)

    @property
    def table(self) -> Table[Limit]:
        """A row a property."""
        table = limits_table(self.limits, self.macro.codes_of_full_scale, self.macro.swing_mv)
        return table.in_words(self.measure.words)

    def __str__(self) -> str:
        return "\n".join([str(self.table), *map(self.measure.words, self.notes)])

    __repr__ = __str__

    def plot(self, title: str = "", width: float = WIDTH) -> Axes:
        """A row of points a property, `width` inches wide, as matplotlib's axes."""
        usual = f"how bad a macro may be that keeps {self.target}"
        return figure_of(*limits_pictures(self.limits, ""), title=title or usual, width=width).axes[0]

    def to_json(self) -> dict[str, Any]:
        """Plain values, as in spec.json."""
        limits = [each.to_json() for each in self.limits]
        joint = next((each for each in limits if each["property"] == TOGETHER), None)
        scale = {"codes": self.macro.codes_of_full_scale, "mv": self.macro.swing_mv}
        known = {"target": str(self.target), "limits": limits, "joint": joint, "are_images": self.measure.are_images}
        return {**known, "full_scale": scale, "notes": list(self.notes)}


@dataclass(frozen=True)
class SpecSettings:
    """The target, the properties to limit, and the samples that measure them."""

    target: str = "accuracy 99 % of quantized"
    """Target to keep, such as "accuracy 99 % of quantized", "accuracy 88 %", "yield 0.9 at 85 %", or for the outcome
    loss "loss within 5 % of quantized" or "loss 0.3"."""
    properties: list[str] | None = None
    """Properties to find limits for, such as [random_noise, offset, adc_bits]; null: all."""
    given: dict[str, Any] = field(default_factory=dict)
    """Fields of every macro, such as {random_noise: 0.3 lsb, static.gain: 1}; other noise and spreads are 0."""
    chips: int = 10
    """Chips of each macro with spreads: 2..10000."""
    trials: int = 1
    """Reads of each chip of a macro with noise: 1..65535."""
    corner: list[str] | None = None
    """Names of `corners` at which the target must be kept; null: all."""

    def __post_init__(self) -> None:
        check_whole("`chips`", self.chips, 2, 10000)
        check_whole("`trials`", self.trials, 1, 65535)
        measured_target(self.target)


@dataclass(frozen=True, eq=False)
class SpecStudy:
    """A spec that is ready to run: the limit of each property by bisection, with the same random numbers everywhere.

    Attributes:
        study: The study.
        target: The target.
        macro: The macro, without its noise and spreads.
        base: Axes of every point.
        own: Noise and spreads of the recipe at each corner, by the name of their axis; without corners, at the name "".
        given: Fields of every macro.
        properties: Properties, each with the values that the macros of all layers take.
        notes: Messages for the user before the points are evaluated, a line each.
    """

    study: Study
    target: Target
    macro: MacroConfig
    base: Point
    own: Mapping[str, Point]
    given: Point
    properties: Sequence[Property]
    notes: tuple[str, ...]

    @property
    def folder(self) -> Path:
        """Folder of the run."""
        return self.study.folder.path

    def run(self, say: Say = silent, progress: bool = True) -> Spec:
        """Find the limits; `say` takes a line on trials of an earlier run, and one on the remaining time."""
        planned = [self.study.planned({**self.base, **each.worst}) for each in self.properties]
        trials = [sum(map(len, each[0].trials)) for each in planned]  # trials of a point
        likely = _SIMULATED * (sum(trials) + max(trials)) + _ESTIMATES * len(trials)  # the maximum: all together
        measured = measure(self.study, [], self._method(), likely, progress, say, likely=True)
        limits, kept, joint = measured.answer
        last = {canonical_json([each.kind, each.axes]): each for each in measured.results}  # after earlier looks
        results = [each for each in last.values() if each.kind != "estimated"]
        near = near_notes([self.target], [each for each in results if each.kind == "quantized"])
        notes = (*self.notes, *joint, *interval_notes(results), *near)
        keeps = None if kept is None else nested({**self.base, **kept[""]})
        corners = {} if kept is None else self.study.work.corners.recipe(self.base, kept, self.study.settings.corners)
        outcome = Measure.of_module(self.study.work.model)
        spec = Spec(self.target, tuple(limits), self.macro, keeps, corners, notes, outcome)
        if self.study.work.trainer.is_global_zero:
            self.study.folder.write(DOCUMENT, spec.to_json())
        return spec

    def _method(self) -> Method[tuple[list[Limit], Mapping[str, Point] | None, list[str]]]:
        """Find the limit of each property, then of all together; the axes at each corner that keep the target with all;
        and notes.

        All together are noise and spreads of the recipe, or of each of its corners, times a factor; if none has any,
        the single limits times one.
        """
        limits, moves = list[Limit](), dict[str, int]()
        for each in self.properties:
            limits.append((yield from self._limit(each, moves)))
        used = self.study.settings.corners or [""]
        has_own = any(self.own[corner] for corner in used)
        singles: Point = {}
        for each, limit in zip(self.properties, limits, strict=True):
            if each.rungs[0] == 0 and limit.kept:
                singles |= each.axes(limit.kept)
        spreads = {
            corner: {name: value for name, value in own.items() if name not in self.given} if has_own else singles
            for corner, own in self.own.items()
        }
        if max(len(spreads[corner]) for corner in used) < (1 if has_own else 2):
            return limits, None, _moved_note(moves)
        every = {corner: scaled(each, self.macro) for corner, each in spreads.items()}
        joint = every[""]
        if self.study.settings.corners:  # each corner has numbers of its own
            joint = replace(
                joint, axes=lambda x: {}, at_corners=lambda x: {name: of.axes(x) for name, of in every.items()}
            )
        joint = joint.allowed(self._takes)
        note = f"{TOGETHER}: {_spreads_text({name: every[name].axes(1.0) for name in used})} of the "
        note += f"{'recipe' if has_own else 'limits above'}, each times one factor; no other noise or spread"
        limits.append((yield from self._limit(joint, moves)))
        kept = limits[-1].kept
        found = None if kept is None else {corner: each.axes(kept) for corner, each in every.items()}
        return limits, found, [*_moved_note(moves), note]

    def _takes(self, fields: Point) -> None:
        """Refuse fields that a macro does not take at a corner."""
        for each in self.study.at_corners({**self.base, **fields}):
            self.study.points.macros(each)

    def _limit(self, given: Property, moves: dict[str, int]) -> Method[Limit]:
        """Find the limit of a property, and add by how many rungs it is more harmful than estimated.

        Where to look first is estimated if a simulation costs more, which one without noise and spreads does not.
        """
        is_share = Measure.of(self.study.work.model.outcome).is_share
        # other numbers and yields are decided by all chips and images
        looks, points = EARLY if is_share and self.target.form != "yield" else ALL, self.study.points
        worst = Look({**self.base, **given.worst}, at_corners=given.at_corners(given.rungs[-1]))
        places = [of_network(each.point) for each in self.study.planned(worst)]
        if not any(points.is_noisy(each) or points.chips_differ(each) for each in places):
            return (yield from limit_of(given, self.base, looks))
        expected = yield from limit_of(given, self.base, ESTIMATES)
        limit = yield from limit_of(given, self.base, looks, expected)
        moves[given.name] = moved(limit, expected)
        return limit


def _spreads_text(spreads: Mapping[str, Point]) -> str:
    """Noise and spreads at each corner; once if they are the same at all."""
    texts = {corner: legend_text(each) or "nothing" for corner, each in spreads.items()}
    if len({*texts.values()}) == 1:
        return next(iter(texts.values()))
    return "; ".join(f"at {corner} {text}" for corner, text in texts.items())


def _own_spreads(macro: MacroConfig, ruled: Sequence[frozenset[str]]) -> Point:
    """Noise and spreads of a macro that rules do not decide for every layer."""
    own = spreads_of(macro).items()
    return {name: value for name, value in own if not all({name, name.partition(".")[0]} & each for each in ruled)}


def _moved_note(moves: Mapping[str, int]) -> list[str]:
    """The note on limits that differ from their estimate; empty if none does."""
    found = [f"{name.replace('_', ' ')} {rungs:+d}" for name, rungs in moves.items() if rungs]
    words = "limits are by so many values more harmful (+) or more harmless (-) than estimated"
    return [f"{words}: {', '.join(found)}"] if found else []


def _corner_notes(
    corners: Corners, used: Sequence[str], target: Target, macro: MacroConfig, given: Point
) -> Iterator[str]:
    """Lines on the corners of a spec."""
    if not used:
        return
    worst = f"{target} ({', '.join(used)}): the worst corner decides"
    yield f"{worst}; noise and spreads of corners count only in '{TOGETHER}'"
    scales = "codes_of_full_scale", "swing_mv"
    fields: list[dict[str, Any]] = [corners.network_at({CORNER: name, **given}) for name in used]
    macros = [macro, *(macro.with_fields(**each) for each in fields)]
    if any(len({getattr(each, name) for each in macros}) > 1 for name in scales):
        yield "limits in other units are for the full scale of the recipe's macro, which corners change"
    yield from corners.notes(used, given, "`given` wins")


def open_spec(work: Work, settings: SpecSettings) -> SpecStudy:
    """Make a spec ready; properties or axes that are not allowed are refused before the work.

    Raises:
        ValueError: A setting is not allowed, or no layer is on a macro.
    """
    layers = needed_layers(work.model, "A spec").values()
    target, chips = measured_target(settings.target), settings.chips
    if target.form == "yield" and clopper_pearson(chips, chips)[0] < target.value:
        least = next(n for n in count(chips) if clopper_pearson(n, n)[0] >= target.value)
        raise ValueError(f"`chips` must be at least {least} to keep '{target}' surely, got {chips}")
    plain_macro, ruled = base_macro(work.model), [layer.assignment.ruled for layer in layers]
    corners = work.corners
    used = corners.used(settings.corner, "corner", plain_macro, Technology())
    target = replace(target, every_corner=target.every_corner or bool(used))
    corners.check_targets([target])
    own = {"": _own_spreads(plain_macro, ruled)}
    own |= {name: _own_spreads(plain_macro.with_fields(**corners.of_macro(name)), ruled) for name in used}
    given: Point = flat(settings.given)
    base: Point = {**{name: 0 for each in own.values() for name in each}, **given}
    macro = plain_macro.with_fields(**base)
    offered = [each for each in properties_of(macro, settings.properties) if not each.worst.keys() & given.keys()]
    of_corners = [CORNER] if used else []
    axes = list(dict.fromkeys([*of_corners, *base, *(name for each in offered for name in each.worst), CHIP]))
    points = Points.of(work, axes)
    for at_corner in corners.points(base, used):
        points.is_noisy(at_corner)

    def macros(fields: Point) -> set[MacroConfig]:  # a rule or a signed input may refuse them
        return set[MacroConfig]().union(*map(points.macros, corners.points({**base, **fields}, used)))

    properties = []
    for each in offered:
        if len((taken := each.allowed(macros)).rungs) > 1:
            properties.append(taken)
        elif settings.properties:
            for value in each.rungs:
                macros(each.axes(value))  # its error has the reason
    if not properties:
        raise ValueError("`properties` leaves nothing to vary: `given` or rules of the plan decide all of them")
    described = {"spec": {"target": str(target), "base": base, "chips": chips}}
    study = Study.open(
        work,
        StudySettings(
            "spec", axes, [target], chips=range(chips), reads=settings.trials, most_images=all_images(work.data),
            described=described, corners=used, knows_exact=False,  # an exact point proves nothing for its neighbours
        ),
        points,
    )  # fmt: skip
    notes = [*study.folder.notes, *_corner_notes(corners, used, target, macro, given)]
    if of_rules := sorted(frozenset().union(*ruled)):
        notes.append(f"rules of the plan decide {', '.join(of_rules)} of some layers at every point")
    bits = [each.axes(rung) for each in properties if each.name == "adc_bits" for rung in each.rungs]
    notes += lsb_notes(bits, [each for fields in bits for each in macros(fields)])
    return SpecStudy(study, target, macro, base, own, given, properties, tuple(notes))
