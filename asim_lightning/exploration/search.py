"""A search over macros, chips, checkpoints and technologies for the best trade-offs of accuracy, energy and time."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from math import inf
from typing import Any

from asim_lightning.circuit import MacroConfig
from asim_lightning.cost import Technology
from asim_lightning.evaluation.axis_settings import CHECKPOINT, TECHNOLOGY
from asim_lightning.evaluation.condition import EQUAL_CHIPS
from asim_lightning.evaluation.results import AxisValue, Result, axes_text
from asim_lightning.evaluation.run import TRADED, Run
from asim_lightning.evaluation.target import costs
from asim_lightning.exploration.figures import CostFigures, write_layers
from asim_lightning.exploration.methods import LEARNING, Point, no_points, random_points
from asim_lightning.exploration.records import Records
from asim_lightning.exploration.runner import Work
from asim_lightning.exploration.search_settings import MACRO_FIGURES, SearchSettings
from asim_lightning.exploration.search_space import Range, SearchSpace, checkpoint_of, of_network
from asim_lightning.exploration.study import Study


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
        self._checkpoints: list[str | None] = [str(each) for each in axis] if isinstance(axis, list) else [None]
        self.owner = {} if axis is None else {CHECKPOINT: self._checkpoints[0]}
        if settings.chips is not None and "chip" in self.space.axes:
            raise ValueError("`search.chips` takes chips 0, 1, 2, ...; leave out `search.space.chip`")
        names = [*self.space.names, *(["chip"] if settings.chips is not None else [])]
        self._names = [name for name in names if name in of_network({name: None})]
        self.figures = CostFigures(work.model, technology)
        self.listed = self._checked()
        """The points that are known from the start; a method does not learn from them."""
        for checkpoint in self._checkpoints:
            self._of(checkpoint).open(has_table=checkpoint == self._checkpoints[0])  # the key includes its weights
        self.records, self.may_end = self._of(self._checkpoints[0]), settings.ends is not None

    def run(self, say: Callable[[str], None] = lambda line: None, progress: bool = True) -> Run:
        """Evaluate the unfinished points; `say` and the results are as for `Study.evaluate`."""
        settings = self.settings
        traded: dict[str, Any] = {"objectives": tuple(settings.objectives), "targets": tuple(map(str, self.targets))}
        if self.trainer.is_global_zero:
            self.records.store.write(self.folder.name, TRADED, traded)
        method, most = no_points(), 0
        if settings.method in LEARNING:
            learning = LEARNING[settings.method]
            method = learning(self.space, settings.most, settings.seed, len(settings.objectives), self._worth)
            most = settings.most * settings.reads * (settings.chips or 1)
        results, _ = self.evaluate([self.planned(each) for each in self.listed], method, most, progress, say)
        if self.trainer.is_global_zero:
            write_layers(self.figures, self.records)
        return Run(self.folder, tuple(results), self.records.settings, **traded)

    @property
    def most_images(self) -> int | None:
        """None if images end early, because the images that answer one target decide no other target."""
        return super().most_images if self.settings.ends is None else None

    def figures_at(self, point: Point) -> dict[str, float]:
        """The cost of a point, and the traded numbers of its macro."""
        return super().figures_at(point) | self._numbers(point)

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
        return self.by_checkpoint[checkpoint_of(point)].points.macros(of_network(point))

    def _worth(self, result: Result) -> tuple[tuple[float, ...], dict[str, float]]:
        """Objectives of a result, less is better, and its distance from each target."""
        references = self.references
        excesses = {str(each): -each.margin(result, references[each.of] if each.of else None) for each in self.targets}
        return costs(result, self.settings.objectives), excesses

    def _checked(self) -> list[Point]:
        """Work out and check all known points; return the points of a method that knows them from the start."""
        settings, space = self.settings, self.space
        known, checked = list[Point](), list[Point]()
        if settings.method in LEARNING:
            LEARNING[settings.method](space, 1, 0, 1, self._worth)  # refuses a missing package
            checked = list(_one_at_a_time(space))
        elif settings.method == "random":
            known = checked = random_points(space, settings.most, settings.seed)
        else:
            given: Iterator[Any] = iter(settings.points) if settings.method == "list" else space.grid()
            known = checked = [dict(point) for _, point in zip(range(settings.most), given, strict=False)]
        differ = settings.chips is None
        for point in checked:
            try:
                points, axes = self._of(checkpoint_of(point)).points, of_network(point)
                points.add(axes, "simulated")
                differ = differ or points.chips_differ(axes)
                self.figures.at({name: point[name] for name in point if name.startswith(TECHNOLOGY)})
                self._numbers(point)
            except ValueError as error:
                raise ValueError(f"{error}, at the point {axes_text(point)} of `search.space`") from None
        if not differ:
            raise ValueError(EQUAL_CHIPS)
        return known

    def _of(self, checkpoint: str | None) -> Records:
        """The records of the network with a checkpoint's weights, which are loaded."""
        self.switch(checkpoint)
        if checkpoint not in self.by_checkpoint:
            # the settings of a run; more trials continue the same run
            described = {"search": {**asdict(self.settings), "trials": None}, "technology": asdict(self.technology)}
            self.by_checkpoint[checkpoint] = Records(self.work, self._names, "search", self.settings.ends, described)
        return self.by_checkpoint[checkpoint]


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
            values[name] = [axis[0], axis[-1]] if isinstance(axis, range) else axis
    base = {name: each[0] for name, each in values.items()}
    for name, each in values.items():
        for value in each:
            yield {**base, name: value}
