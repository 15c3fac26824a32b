"""A search over macros, chips, checkpoints and technologies for the best trade-offs of accuracy, energy and time."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from math import inf
from pathlib import Path
from typing import Any, get_type_hints

from asim_lightning.checks import check_choice, check_whole
from asim_lightning.circuit import MacroConfig
from asim_lightning.circuit.units import supply_share
from asim_lightning.cost import Technology
from asim_lightning.evaluation.axis_settings import CHECKPOINT, CHIP, CORNER, TECHNOLOGY
from asim_lightning.evaluation.condition import EQUAL_CHIPS
from asim_lightning.evaluation.layer_inputs import needed_layers
from asim_lightning.evaluation.results import AxisValue, Kind, Result
from asim_lightning.evaluation.run import TRADED, Run
from asim_lightning.evaluation.target import ENDS_IMAGES, OF_A_POINT, Target, costs
from asim_lightning.exploration.axes import base_macro
from asim_lightning.exploration.methods import LEARNING, METHODS, Point, no_points, random_points
from asim_lightning.exploration.point import Points, check_points
from asim_lightning.exploration.point_costs import FIGURES, CostFigures
from asim_lightning.exploration.runner import Work
from asim_lightning.exploration.running import measure
from asim_lightning.exploration.search_space import MOST_POINTS, Range, SearchSpace, of_network
from asim_lightning.exploration.study import Say, Study, StudySettings, all_images, silent

MACRO_FIGURES = tuple(name for name, kind in get_type_hints(MacroConfig).items() if kind in (int, int | None))
"""Fields of the macro that are numbers of bits, rows or reads."""
OBJECTIVES = ("accuracy", "yield", *FIGURES, *MACRO_FIGURES)


@dataclass(frozen=True)
class SearchSettings:
    """A search."""

    space: dict[str, Any] = field(default_factory=dict)
    """Values of each axis, by name as in a sweep's axes, and of checkpoint and technology: lists, or ranges such as
    {low: 0.02, high: 0.2}, with step or log. A list of corners is evaluated at each point."""
    method: str = "grid"
    """grid (every combination), list (`points`), random, or optuna."""
    trials: int | None = None
    """Most points: 1..100000; null: all of a grid (at most 1,000,000) or list, 60 of the others."""
    seed: int = 0
    """Seed of random and optuna: 0..2^32-1."""
    objectives: list[str] = field(default_factory=lambda: ["accuracy", "energy"])
    """Objectives: accuracy, yield (at the accuracy of a constraint such as "yield 0.9 at 85 %"), energy (uJ an image),
    latency (ms), tops_per_watt, or a number of the macro such as adc_bits."""
    constraints: list[str] = field(default_factory=list)
    """Targets to keep, as bounds: "accuracy 99 % of quantized", "accuracy 88 %", "energy 2 uJ", "latency 5 ms"; with
    corners also "accuracy 99 % of quantized at every corner"."""
    points: list[dict[str, Any]] = field(default_factory=list)
    """Points of the method list, such as {adc_bits: 7, rows: 64}."""
    reads: int = 1
    """Reads of the chip for each noisy point: 1..65535."""
    chips: int | None = None
    """Chips of each point: 2..10000; null: only the model's."""
    until: str | None = None
    """A target that ends the images of each point early: "accuracy 88 %", or "accuracy within 4 %" for the width of
    its interval; null: all images are evaluated."""

    def __post_init__(self) -> None:
        check_choice("`search.method`", self.method, METHODS)
        if self.trials is not None:
            check_whole("`search.trials`", self.trials, 1, 100_000)
        check_whole("`search.seed`", self.seed, 0, 2**32 - 1)
        check_whole("`search.reads`", self.reads, 1, 65535)
        if self.chips is not None:
            check_whole("`search.chips`", self.chips, 2, 10000)
        if not isinstance(self.objectives, list) or not self.objectives:
            raise ValueError(f"`search.objectives` must be a list of one or more, got {self.objectives!r}")
        for name in self.objectives:
            check_choice("`search.objectives`", name, OBJECTIVES)
        if self.method == "list":
            are_points = all(isinstance(point, Mapping) and point for point in self.points)
            if not are_points or len({tuple(sorted(point)) for point in self.points}) != 1:
                raise ValueError(
                    "`search.points` must be a list of one or more mappings of the same axes, such as [{adc_bits: 7, "
                    f"rows: 64}}], with the method list, got {self.points!r}"
                )
        if self.ends and (self.reads > 1 or self.chips is not None or any(each.of for each in self.targets)):
            raise ValueError(
                f"`search.until` '{self.until}' ends the images of one read of one chip, which decide no difference to "
                "another network, so it needs `search.reads` 1, `search.chips` null, and `search.constraints` as "
                f"'accuracy 88 %', got {self.reads}, {self.chips} and {self.constraints}"
            )
        yields = [each for each in self.targets if each.form == "yield"]
        if len(yields) > 1:
            raise ValueError(f"`search.constraints` may have one yield, got {self.constraints}")
        if ("yield" in self.objectives or yields) and self.chips is None:
            raise ValueError("`search.chips` must say how many chips a yield is of, such as 20, got null")
        if "yield" in self.objectives and not yields:
            raise ValueError(
                "`search.objectives` has yield, so `search.constraints` must say from which accuracy a chip is "
                f"good, as in 'yield 0.9 at 85 %', got {self.constraints}"
            )

    @property
    def targets(self) -> list[Target]:
        """The constraints."""
        return [Target.read(text, "`search.constraints`", OF_A_POINT) for text in self.constraints]

    @property
    def ends(self) -> Target | None:
        """The target that ends the images of each point; None if there is none."""
        return None if self.until is None else Target.read(self.until, "`search.until`", ENDS_IMAGES)

    @property
    def most(self) -> int:
        """Most points."""
        default = MOST_POINTS if self.method in ("grid", "list") else 60
        return default if self.trials is None else self.trials


@dataclass(frozen=True, eq=False)
class SearchStudy(Study):
    """A study whose points have the sizes of a macro and the traded numbers of its fields."""

    objectives: Sequence[str] = ()

    def figures_at(self, point: Point, kind: Kind) -> Mapping[str, float]:
        """The cost of a point, its size, and the traded numbers of its macro."""
        if kind != "simulated" or self.costs is None:
            return {}
        return {**self.costs.at(point), **self.costs.sizes_at(point), **_numbers(self.points, self.objectives, point)}


@dataclass(frozen=True, eq=False)
class Search:
    """A search that is ready to run.

    If you stop a search, the next run finds its trials and proposes the same points.
    """

    study: SearchStudy
    settings: SearchSettings
    technology: Technology
    space: SearchSpace
    costs: CostFigures
    listed: Sequence[Point]
    """The points that are known from the start; a method does not learn from them."""
    notes: tuple[str, ...]
    """Messages for the user before the points are evaluated, a line each."""

    @property
    def folder(self) -> Path:
        """Folder of the run."""
        return self.study.folder.path

    def run(self, say: Say = silent, progress: bool = True) -> Run:
        """Evaluate the unfinished points; `say` and the results are as for `measure`."""
        settings, study = self.settings, self.study
        if study.work.trainer.is_global_zero:
            traded = {"objectives": settings.objectives, "targets": list(map(str, study.settings.targets))}
            study.folder.write(TRADED, traded)
        method, most = no_points(), 0
        if settings.method in LEARNING:
            learning = LEARNING[settings.method]
            method = learning(self.space, settings.most, settings.seed, len(settings.objectives), self._worth)
            most = settings.most * settings.reads * (settings.chips or 1)
        return study.run_of(measure(study, self.listed, method, most, progress, say).results)

    def macros(self, point: Mapping[str, AxisValue]) -> set[MacroConfig]:
        """The macros of all layers on macros, at a point."""
        return self.study.points.macros(of_network(point))

    def _worth(self, result: Result) -> tuple[tuple[float, ...], dict[str, float]]:
        """Objectives of a result, less is better, and its distance from each target."""
        excesses = {name: -each.margin for name, each in result.decisions.items()}
        return costs(result, self.settings.objectives), excesses


def open_search(work: Work, settings: SearchSettings, technology: Technology = Technology()) -> Search:
    """Make a search ready; a wrong setting or point is refused before the work.

    Raises:
        ValueError: A setting or point is not allowed, or no layer is on a macro.
    """
    needed_layers(work.model, "A sweep or search")
    space, corners = _space(settings), work.corners
    asked = space.values_of(CORNER) if CORNER in space.axes else None
    used = corners.used(asked, f"{space.setting}.corner", base_macro(work.model), technology)
    corners.check_targets(settings.targets, settings.ends)
    if f"{TECHNOLOGY}supply" in space.axes and supply_share(base_macro(work.model).full_scale_mv):
        raise ValueError(
            f"`{space.setting}.technology.supply` must be left out because `macro.full_scale_mv` is a share of the "
            "supply, which only `corners` change, such as {low: {technology.supply: 0.8}}"
        )
    space = replace(space, axes={name: axis for name, axis in space.axes.items() if name != CORNER})
    axis, chips = space.axes.get(CHECKPOINT), range(settings.chips or 0)
    checkpoints: list[str | None] = [str(each) for each in axis] if isinstance(axis, list) else [None]
    if chips and CHIP in space.axes:
        raise ValueError("`search.chips` takes chips 0, 1, 2, ...; leave out `search.space.chip`")
    inside: Point = {CORNER: None} if used else {}
    names = list(of_network({**inside, **dict.fromkeys(space.axes), **({CHIP: None} if chips else {})}))
    figures, points = CostFigures(work.model, technology, work.noise_in, corners), Points.of(work, names)
    listed, checked = _known(settings, space)
    at_corners = [each for point in checked for each in corners.points(point, used)]

    def check(point: Point) -> None:
        points.is_noisy(of_network(point))
        figures.at({name: value for name, value in point.items() if name == CORNER or name.startswith(TECHNOLOGY)})
        _numbers(points, settings.objectives, point)

    check_points(at_corners, "search.space", check)
    if chips and not any(points.chips_differ(of_network(each)) for each in at_corners):
        raise ValueError(EQUAL_CHIPS)
    # the settings of a run; more trials continue the same run
    described = {"search": {**asdict(settings), "trials": None}, "technology": asdict(technology)}
    study = SearchStudy.open(
        work,
        StudySettings(
            "search", names, settings.targets, settings.ends, chips, settings.reads, checkpoints, described=described,
            # the images that answer one target decide no other target
            most_images=None if settings.until is not None else all_images(work.data), corners=used,
        ),
        points,
        figures,
    )  # fmt: skip
    study = replace(study, objectives=tuple(settings.objectives))
    notes = (*study.folder.notes, *corners.notes(used, space.axes))
    return Search(study, settings, technology, space, figures, listed, notes)


def _numbers(points: Points, objectives: Sequence[str], point: Point) -> dict[str, float]:
    """The traded numbers of a point's macro; refuses a number that differs by layer, because of rules."""
    numbers = {}
    for name in [each for each in MACRO_FIGURES if each in objectives]:
        values = {getattr(macro, name) for macro in points.macros(of_network(point))}
        if len(values) > 1:
            raise ValueError(
                f"`search.objectives` takes {name} if all layers on a macro have the same, got "
                f"{' and '.join(sorted(map(str, values)))} by rules"
            )
        (value,) = values
        numbers[name] = inf if value is None else float(value)
    return numbers


def _known(settings: SearchSettings, space: SearchSpace) -> tuple[list[Point], list[Point]]:
    """The points of a method that knows them from the start, and the points to check."""
    if settings.method in LEARNING:
        LEARNING[settings.method](space, 1, 0, 1, lambda result: ((), {}))  # refuses a missing package
        return [], list(_one_at_a_time(space))
    if settings.method == "random":
        known = random_points(space, settings.most, settings.seed)
    else:
        given: Iterator[Any] = iter(settings.points) if settings.method == "list" else space.grid()
        known = [dict(point) for point in islice(given, settings.most)]
    return known, known


def _space(settings: SearchSettings) -> SearchSpace:
    """The space of a search; for the method list, the values of its points."""
    if settings.method != "list":
        if not settings.space:
            raise ValueError(
                "`search.space` must be a mapping of axes to values or ranges, such as {adc_bits: [6, 7, 8], "
                "random_noise: {low: 0.02, high: 0.2}}, got none"
            )
        return SearchSpace.read(settings.space)
    if settings.space:
        raise ValueError("`search.space` must be absent with the method list, because `search.points` have their axes")
    names = settings.points[0]
    if CORNER in names:
        raise ValueError(f"`search.points` are evaluated at each corner; leave out `corner`, got {settings.points[0]}")
    return SearchSpace.read({name: [point[name] for point in settings.points] for name in names})


def _one_at_a_time(space: SearchSpace) -> Iterator[Point]:
    """Points that have each value of a list, and both ends of a range, once."""
    values = dict[str, Sequence[AxisValue]]()
    for name, axis in space.axes.items():
        if isinstance(axis, Range):
            values[name] = [axis.low, axis.high]
        else:
            values[name] = axis if isinstance(axis, list) else [axis[0], axis[-1]]
    base = {name: each[0] for name, each in values.items()}
    for name, each in values.items():
        for value in each:
            yield {**base, name: value}
