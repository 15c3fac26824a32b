"""A search over macros, chips, checkpoints and technologies for the best trade-offs of accuracy, energy and time."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from math import inf
from typing import Any, get_type_hints

from asim_lightning.checks import check_choice, check_whole
from asim_lightning.circuit import MacroConfig
from asim_lightning.cost import Technology
from asim_lightning.evaluation.axis_settings import CHECKPOINT, CHIP
from asim_lightning.evaluation.condition import EQUAL_CHIPS
from asim_lightning.evaluation.results import AxisValue, Result
from asim_lightning.evaluation.run import TRADED, Run
from asim_lightning.evaluation.target import ENDS_IMAGES, OF_A_POINT, Target, costs
from asim_lightning.exploration.figures import FIGURES, CostFigures
from asim_lightning.exploration.methods import LEARNING, METHODS, Point, no_points, random_points
from asim_lightning.exploration.records import Records
from asim_lightning.exploration.runner import Work
from asim_lightning.exploration.search_space import MOST_POINTS, Range, SearchSpace, of_network
from asim_lightning.exploration.study import Study

MACRO_FIGURES = tuple(name for name, kind in get_type_hints(MacroConfig).items() if kind in (int, int | None))
"""Fields of the macro that are numbers of bits, rows or reads."""
OBJECTIVES = ("accuracy", "yield", *FIGURES, *MACRO_FIGURES)


@dataclass(frozen=True)
class SearchSettings:
    """A search."""

    space: dict[str, Any] = field(default_factory=dict)
    """Values of each axis, by name as in a sweep's axes, and of checkpoint and technology: lists, or ranges such as
    {low: 0.02, high: 0.2}, with step or log."""
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
    """Targets to keep, as bounds: "accuracy 99 % of quantized", "accuracy 88 %", "energy 2 uJ", "latency 5 ms"."""
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


class Search(Study):
    """Evaluates points of a space, one after another, and stores each finished trial.

    If you stop a search, the next run finds its trials and proposes the same points. Settings and points that are not
    allowed are refused before the work.
    """

    figures: CostFigures

    def __init__(self, work: Work, settings: SearchSettings, technology: Technology) -> None:
        super().__init__(work)
        self.settings, self.technology, self.targets = settings, technology, settings.targets
        self.chips, self.reads = range(settings.chips or 0), settings.reads
        self.space = _space(settings)
        axis = self.space.axes.get(CHECKPOINT)
        checkpoints: list[str | None] = [str(each) for each in axis] if isinstance(axis, list) else [None]
        self.owner = {} if axis is None else {CHECKPOINT: checkpoints[0]}
        if self.chips and CHIP in self.space.axes:
            raise ValueError("`search.chips` takes chips 0, 1, 2, ...; leave out `search.space.chip`")
        names = list(of_network({**dict.fromkeys(self.space.axes), **({CHIP: None} if self.chips else {})}))
        self.figures = CostFigures(work.model, technology, work.noise_in)
        # the settings of a run; more trials continue the same run
        described = {"search": {**asdict(settings), "trials": None}, "technology": asdict(technology)}
        self.by_checkpoint = {each: Records(work, names, "search", settings.ends, described) for each in checkpoints}
        self.records, self.until = self.by_checkpoint[checkpoints[0]], settings.ends
        self.listed = self._known()
        """The points that are known from the start; a method does not learn from them."""
        for checkpoint, records in self.by_checkpoint.items():
            self.switch(checkpoint)
            records.open(has_table=records is self.records)  # the key includes its weights
        if self.until is not None:
            self.most_images = None  # the images that answer one target decide no other target

    def run(self, say: Callable[[str], None] = lambda line: None, progress: bool = True) -> Run:
        """Evaluate the unfinished points; `say` and the results are as for `Study.evaluate`."""
        settings = self.settings
        if self.trainer.is_global_zero:
            traded = {"objectives": settings.objectives, "targets": list(map(str, self.targets))}
            self.records.store.write(self.folder.name, TRADED, traded)
        method, most = no_points(), 0
        if settings.method in LEARNING:
            learning = LEARNING[settings.method]
            method = learning(self.space, settings.most, settings.seed, len(settings.objectives), self._worth)
            most = settings.most * settings.reads * (settings.chips or 1)
        results, _ = self.evaluate([self.planned(each) for each in self.listed], method, most, progress, say)
        return self.run_of(results)

    def figures_at(self, point: Point) -> dict[str, float]:
        """The cost of a point, its size, and the traded numbers of its macro."""
        return super().figures_at(point) | self.figures.sizes_at(point) | self._numbers(point)

    def check(self, point: Point) -> None:
        """Refuse a point that cannot be measured or priced, or has no single number to trade."""
        super().check(point)
        self._numbers(point)

    def _numbers(self, point: Point) -> dict[str, float]:
        """The traded numbers of a point's macro; refuses a number that differs by layer, because of rules."""
        found = {}
        for name in [each for each in MACRO_FIGURES if each in self.settings.objectives]:
            values = {getattr(macro, name) for macro in self.macros(point)}
            if len(values) > 1:
                raise ValueError(
                    f"`search.objectives` takes {name} if all layers on a macro have the same, got "
                    f"{' and '.join(sorted(map(str, values)))} by rules"
                )
            (value,) = values
            found[name] = inf if value is None else float(value)
        return found

    def macros(self, point: Mapping[str, AxisValue]) -> set[MacroConfig]:
        """The macros of all layers on macros, at a point."""
        return self.records_of(dict(point)).points.macros(of_network(point))

    def _worth(self, result: Result) -> tuple[tuple[float, ...], dict[str, float]]:
        """Objectives of a result, less is better, and its distance from each target."""
        excesses = {name: -each.margin for name, each in result.decisions.items()}
        return costs(result, self.settings.objectives), excesses

    def _known(self) -> list[Point]:
        """The points of a method that knows them from the start; refuses points and values that are not allowed."""
        settings, space = self.settings, self.space
        known, checked = list[Point](), list[Point]()
        if settings.method in LEARNING:
            LEARNING[settings.method](space, 1, 0, 1, self._worth)  # refuses a missing package
            checked = list(_one_at_a_time(space))
        elif settings.method == "random":
            known = checked = random_points(space, settings.most, settings.seed)
        else:
            given: Iterator[Any] = iter(settings.points) if settings.method == "list" else space.grid()
            known = checked = [dict(point) for point in islice(given, settings.most)]
        self.check_all(checked, "search.space")
        if self.chips and not any(self.records_of(each).points.chips_differ(of_network(each)) for each in checked):
            raise ValueError(EQUAL_CHIPS)
        return known


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
