"""A search over macros, chips, checkpoints and technologies for what trades accuracy, energy and time best."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from lightning.pytorch import LightningDataModule, Trainer

from asim_lightning.circuit import MacroConfig
from asim_lightning.classifier import CimClassifier
from asim_lightning.cost import Technology
from asim_lightning.evaluation.binomial import clopper_pearson
from asim_lightning.evaluation.chip_yield import chip_yield, crossed_difference
from asim_lightning.evaluation.interval import Interval
from asim_lightning.evaluation.progress import EvaluationBar
from asim_lightning.evaluation.results import AxisValue, Kind, Outcomes, PointResult, axes_text, point_result
from asim_lightning.evaluation.targets import REFERENCES, Decision, Target, decide
from asim_lightning.evaluation.trade_off import SearchPoint, SearchResult, costs
from asim_lightning.exploration.axes import condition_at
from asim_lightning.exploration.estimate import TimeLeft, all_images
from asim_lightning.exploration.figures import CostFigures
from asim_lightning.exploration.methods import Listed, Method, Optuna, random_points
from asim_lightning.exploration.recorded import RecordedPoints
from asim_lightning.exploration.runner import Run, Runner, Steps, TrainerRunner
from asim_lightning.exploration.search_settings import MACRO_FIGURES, SearchSettings
from asim_lightning.exploration.search_space import CHECKPOINT, SearchSpace, of_network, of_technology
from asim_lightning.surgery import macro_layers

Point = dict[str, AxisValue]
Load = Callable[[str], None]
Place = tuple[int, int, int]
"""Number of a trial's point, of its chip, and of its read."""
Recorded: TypeAlias = tuple[Path, str, int]
"""Folder of a trial's record, key of its point, and its number."""


class Search:
    """Evaluates points of a space, one after another, and keeps each finished trial on disk.

    A search that was stopped and starts again finds its trials and proposes the same points.

    Args:
        trainer: Lightning trainer whose processes, device and precision are used.
        model: Converted classifier with its trained weights.
        data: Data module that is set up; the images of its test loader are evaluated.
        settings: What is searched.
        technology: What energy and latency are computed from.
        folder: Folder below which the search's own is made.
        load: Loads a checkpoint's weights into the model, where the space has checkpoints.
        runner: Who computes the trials; None: the trainer's processes.

    Raises:
        ValueError: No layer is on a macro, or a setting or point is not allowed.
    """

    def __init__(
        self,
        trainer: Trainer,
        model: CimClassifier,
        data: LightningDataModule,
        settings: SearchSettings,
        technology: Technology,
        folder: str | Path,
        load: Load | None = None,
        runner: Runner | None = None,
    ) -> None:
        layers = macro_layers(model.backbone)
        if not layers:
            raise ValueError("A search needs a network with layers on a macro, got one without; set `model.plan`")
        self.trainer, self.model, self.data, self.settings = trainer, model, data, settings
        self.technology, self._load, self._folder = technology, load, Path(folder)
        self.space = _space(settings)
        self.runner = runner or TrainerRunner(trainer, model, data)
        if CHECKPOINT in self.space.axes and not self.runner.follows_network:
            raise ValueError(
                "`search.space.checkpoint` must be absent with `runner: ray`, whose workers keep the weights that they "
                "started with; a search for each checkpoint, by `ckpt_path`, takes it"
            )
        self._targets = settings.targets
        names = [*self.space.names, "chip"] if settings.chips is not None else self.space.names
        if settings.chips is not None and "chip" in self.space.axes:
            raise ValueError("`search.chips` takes chips 0, 1, 2, ..., so that `search.space.chip` must be absent")
        self._names = [name for name in dict.fromkeys(names) if name in of_network({name: None})]
        self.figures = CostFigures(model, technology)
        self._by_checkpoint: dict[str | None, RecordedPoints] = {}
        self._loaded: str | None = None
        self._known = self._checked()
        for checkpoint, each in self._by_checkpoint.items():
            self._switch(checkpoint)  # its weights are part of the fingerprint
            each.open()
        first = self._records(self._checkpoints()[0])
        self.folder, self.notes = first.record.folder, first.notes

    def run(self, say: Callable[[str], None] = lambda line: None, progress: bool = True) -> SearchResult:
        """Evaluate what is not finished yet.

        Args:
            say: Takes a line about the time that is left, once the first simulated trials tell it, and one on what is
                of an earlier run, once all points are evaluated.
            progress: Whether a progress bar is shown.

        Returns:
            All points, in the order in which they were asked for; the same on all processes.
        """
        count = len(self._known) if self._known is not None else self.settings.most
        most = self.settings.reads * (self.settings.chips or 1)
        self._lacking = self._missing()
        self._left = len(self._lacking) if self._known is not None else count * most + 2
        shown = progress and self._left > 0 and self.trainer.is_global_zero
        self._bar = bar = EvaluationBar(self._left, self.data.test_dataloader(), shown, self.trainer.world_size)
        self._earlier, self._computed = set[Recorded](), set[Recorded]()
        self._time_left = TimeLeft(bar.above(say), self._known is None or self.settings.ends is not None)
        method = self._method()

        def work(run: Run) -> SearchResult:
            points: list[SearchPoint] = []
            first = self._records(self._checkpoints()[0])
            references = dict(run((kind, self._trial(first, {}, kind, 0)) for kind in REFERENCES))
            first_of = {CHECKPOINT: self._checkpoints()[0]} if CHECKPOINT in self.space.axes else {}
            results = [point_result(first_of, kind, [references[kind]]) for kind in REFERENCES]
            finished, outcomes = run(self._trials(self._known or ())), dict[Place, Outcomes]()
            while (point := method.ask()) is not None:
                bar.describe(f"point {len(points) + 1} of {count}")
                if self._known is None:
                    self._left = (count - len(points)) * most
                    finished = run(self._trials([point], len(points)))
                _, chips, reads = self._plan(point)
                places = [[(len(points), chip, read) for read in range(reads)] for chip in range(len(chips))]
                while not all(place in outcomes for chip in places for place in chip):
                    place, found = next(finished)
                    outcomes[place] = found
                of_chips = [[outcomes.pop(place) for place in chip] for chip in places]
                points.append(self._evaluated(point, of_chips, references))
                excesses = {str(t): self._excess(points[-1], t, results) for t in self._targets}
                method.tell(point, costs(points[-1], self.settings.objectives), excesses)
            objectives, targets = tuple(self.settings.objectives), tuple(map(str, self._targets))
            macro = asdict(next(iter(macro_layers(self.model.backbone).values())).assignment.base)
            return SearchResult(tuple(points), tuple(results), objectives, targets, macro)

        try:
            found = self.runner.work(work, bar.advance)
        finally:
            bar.close()
        if earlier := len(self._earlier):
            say(f"record   {earlier:,} of {earlier + len(self._computed):,} trials are of an earlier run, seconds too")
        return found

    def macros(self, point: Mapping[str, AxisValue]) -> set[MacroConfig]:
        """The macros of all layers on one, at a point."""
        return self._by_checkpoint[_checkpoint_of(point)].points.macros(of_network(point))

    def _checked(self) -> list[Point] | None:
        """The points of a method that knows them before, each worked out; None where it does not."""
        settings, space = self.settings, self.space
        if settings.method == "optuna":
            Optuna(space, 1, 0, 1)  # that it is installed
            known, checked = None, [dict(point) for point in _one_at_a_time(space)]
        elif settings.method == "random":
            known = checked = random_points(space, settings.most, settings.seed)
        else:
            given: Iterator[Any] = iter(settings.points) if settings.method == "list" else space.grid()
            known = checked = [dict(point) for _, point in zip(range(settings.most), given, strict=False)]
        for checkpoint in self._checkpoints():
            self._records(checkpoint).points.add({}, "float")
            self._records(checkpoint).points.add({}, "quantized")
        priced = list[Point]()
        for point in checked:
            try:
                self._records(point.get(CHECKPOINT)).points.add(self._of_chip(of_network(point)), "simulated")  # type: ignore[arg-type]
                if of_technology(point) not in priced:  # refuses before the work
                    priced.append(of_technology(point))
                    self.figures.at(condition_at({}, "simulated", 0), priced[-1])
                self._check_numbers(point)
            except ValueError as error:
                raise ValueError(f"{error}, at the point {axes_text(point)} of `search.space`") from None
        return known

    def _check_numbers(self, point: Point) -> None:
        """Refuse a number of the macro as an objective where rules give layers different ones."""
        names = [name for name in self.settings.objectives if name in MACRO_FIGURES]
        macros = self.macros(point) if names else ()
        for name in names:
            values = {str(getattr(macro, name)) for macro in macros}
            if len(values) > 1:
                raise ValueError(
                    f"`search.objectives` takes {name} where all layers on a macro have the same, got "
                    f"{' and '.join(sorted(values))} by rules"
                )

    def _of_chip(self, axes: Point) -> Point:
        """A point as it is checked: on a chip that is not the model's where the search is over chips."""
        own = self.model.chip
        return axes if self.settings.chips is None else {**axes, "chip": 1 if own == 0 else 0}

    def _checkpoints(self) -> list[str | None]:
        axis = self.space.axes.get(CHECKPOINT)
        return [str(name) for name in axis] if isinstance(axis, list) else [None]

    def _records(self, checkpoint: str | None) -> RecordedPoints:
        """The records of the network with a checkpoint's weights, which it has then."""
        self._switch(checkpoint)
        if checkpoint not in self._by_checkpoint:
            made = RecordedPoints(
                self.trainer, self.model, self.data, self._names, self._folder, "search", self.settings.ends,
                self._described(),
            )  # fmt: skip
            self._by_checkpoint[checkpoint] = made
        return self._by_checkpoint[checkpoint]

    def _described(self) -> dict[str, object]:
        """What a table of the search depends on; more trials go on in the same."""
        return {"search": {**asdict(self.settings), "trials": None}, "technology": asdict(self.technology)}

    def _switch(self, checkpoint: str | None) -> None:
        if checkpoint is not None and checkpoint != self._loaded:
            if self._load is None:
                raise ValueError("`search.space.checkpoint` needs a way to load checkpoints, got none")
            self._load(checkpoint)
            self._loaded = checkpoint

    def _method(self) -> Method:
        if self._known is not None:
            return Listed(iter(self._known))
        settings = self.settings
        return Optuna(self.space, settings.most, settings.seed, len(settings.objectives))

    def _plan(self, point: Point) -> tuple[RecordedPoints, list[Point], int]:
        """The records of a point, its axes on each chip, and its reads."""
        axes, records = of_network(point), self._by_checkpoint[_checkpoint_of(point)]
        chips: list[Point] = [axes]
        if self.settings.chips is not None:
            chips = [{**axes, "chip": number} for number in range(self.settings.chips)]
        return records, chips, self.settings.reads if records.points.add(chips[0], "simulated") else 1

    def _trials(self, points: Iterable[Point], start: int = 0) -> Iterator[tuple[Place, Steps]]:
        """The trials of points, whose numbers begin at one."""
        for number, point in enumerate(points, start):
            records, chips, reads = self._plan(point)
            self._switch(_checkpoint_of(point))
            for chip, axes in enumerate(chips):
                for read in range(reads):
                    yield (number, chip, read), self._trial(records, axes, "simulated", read)

    def _missing(self) -> set[Recorded]:
        """Trials to compute: of points and checkpoints that compute the same, of the first alone."""
        first = self._by_checkpoint[self._checkpoints()[0]]
        lacking = {_recorded(first, {}, kind, 0) for kind in REFERENCES if 0 not in first.record.trials({}, kind)}
        for point in self._known or ():
            records, chips, reads = self._plan(point)
            for axes in chips:
                finished = records.record.trials(axes, "simulated")
                missing = (read for read in range(reads) if read not in finished)
                lacking.update(_recorded(records, axes, "simulated", read) for read in missing)
        return lacking

    def _evaluated(
        self, point: Point, of_chips: list[list[Outcomes]], references: Mapping[Kind, Outcomes]
    ) -> SearchPoint:
        records, chips, _ = self._plan(point)
        outcomes = [read for each in of_chips for read in each]
        result = records.record.bounded(point_result(point, "simulated", outcomes))
        condition = condition_at(chips[0], "simulated", 0)
        figures = {"accuracy": result.accuracy, **self.figures.at(condition, of_technology(point))}
        macros = self.macros(point)
        for name in MACRO_FIGURES:
            values = {getattr(macro, name) for macro in macros}
            if len(values) == 1:  # else rules give layers numbers of their own
                value = values.pop()
                figures[name] = float("inf") if value is None else float(value)
        share: Interval | None = None
        if self.settings.chips is not None:
            found = chip_yield(of_network(point), dict(enumerate(of_chips)))
            result = replace(
                result, low=min(found.mean.low, result.accuracy), high=max(found.mean.high, result.accuracy)
            )
            if self.settings.question is not None:
                good = found.good(self.settings.question.accuracy)
                low, high = clopper_pearson(good, len(chips))
                share = Interval(good / len(chips), low, high)
                figures["yield"] = share.mean
        decisions = tuple(self._decision(each, result, of_chips, figures, references, share) for each in self._targets)
        return SearchPoint(point, result, figures, decisions)

    def _decision(
        self,
        target: Target,
        result: PointResult,
        of_chips: list[list[Outcomes]],
        figures: Mapping[str, float],
        references: Mapping[Kind, Outcomes],
        share: Interval | None,
    ) -> Decision:
        if target.question is not None and share is not None:
            return decide(share, target.value)
        # images decide on one chip, but not on all chips, nor where they ended as they decide another question
        most = all_images(self.data) if len(of_chips) == 1 and self.settings.ends is None else None
        if target.reference is not None:
            reference = references[target.reference].correct
            found = crossed_difference([np.stack([read.correct for read in reads], 1) for reads in of_chips], reference)
            return decide(found, (target.value - 1) * float(reference.mean()), result.images, most)
        if target.name == "accuracy":
            return decide(Interval(result.accuracy, result.low, result.high), target.value, result.images, most)
        return Decision("kept" if figures[target.name] <= target.value else "missed")

    @staticmethod
    def _excess(point: SearchPoint, target: Target, references: list[PointResult]) -> float:
        """How far a point is from keeping a target, by its means; 0 or less where it keeps it."""
        if target.reference is not None:
            of_kind = {each.kind: each.accuracy for each in references}
            return target.value * of_kind[target.reference] - point.figures["accuracy"]  # type: ignore[index]
        if target.name in ("accuracy", "yield"):
            return target.value - point.figures[target.name]
        return point.figures[target.name] / target.value - 1.0

    def _trial(self, records: RecordedPoints, axes: Point, kind: Kind, trial: int) -> Steps:
        # of several trials at a time none waits for another command, which may wait for one of them
        is_claimed = records.claim(axes, kind, trial, wait=self.runner.workers == 1)
        try:
            is_known = trial in records.record.trials(axes, kind) or records.is_finished(axes, kind, trial)
            here = _recorded(records, axes, kind, trial)
            if not is_known:
                self._computed.add(here)
            elif here not in self._computed:
                self._earlier.add(here)
            found = yield from records.trial(axes, kind, trial)
            if is_known and here in self._lacking:
                self._bar.leave_out()  # another command has computed it
            self._lacking.discard(here)
            self._left = len(self._lacking) if self._known is not None else self._left - 1
            if kind == "simulated" and not is_known:
                self._time_left.add(found.seconds, self._left, self.runner.workers)
            return found
        finally:
            if is_claimed:
                records.release(axes, kind, trial)


def _recorded(records: RecordedPoints, axes: Point, kind: Kind, trial: int) -> Recorded:
    return records.record.store_of_trials.folder, records.record.key(axes, kind), trial


def _checkpoint_of(point: Mapping[str, AxisValue]) -> str | None:
    name = point.get(CHECKPOINT)
    return None if name is None else str(name)


def _space(settings: SearchSettings) -> SearchSpace:
    """The space of a search; that of a list is the values that its points have."""
    if settings.method != "list":
        return SearchSpace(settings.space)
    if settings.space:
        raise ValueError("`search.space` must be absent with the method list, whose `search.points` have their axes")
    names = settings.points[0]
    return SearchSpace({name: [point[name] for point in settings.points] for name in names})


def _one_at_a_time(space: SearchSpace) -> Iterator[Point]:
    """Points that have each value of a list, and both ends of a range, once."""
    values = {name: axis if isinstance(axis, list) else [axis.low, axis.high] for name, axis in space.axes.items()}
    base = {name: each[0] for name, each in values.items()}
    for name, each in values.items():
        for value in each:
            yield {**base, name: value}
