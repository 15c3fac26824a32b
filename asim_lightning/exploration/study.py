"""A study: points of a method, each evaluated under its conditions; no trial is lost or computed twice."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningDataModule
from torch import Tensor

from asim_lightning.data.given import GivenData
from asim_lightning.data.image_data_module import ImageDataModule
from asim_lightning.evaluation.axis_settings import CHIP
from asim_lightning.evaluation.chip_yield import yield_figures
from asim_lightning.evaluation.evaluate import EvaluationBar
from asim_lightning.evaluation.layer_inputs import needed_layers
from asim_lightning.evaluation.results import Decision, Kind, Outcomes, Result
from asim_lightning.evaluation.target import Target
from asim_lightning.exploration.figures import CostFigures
from asim_lightning.exploration.methods import Found, Method, Point
from asim_lightning.exploration.records import REFERENCES, Records, paired_difference, trial_name
from asim_lightning.exploration.runner import Place, Run, Runner, Steps, Work
from asim_lightning.exploration.search_space import checkpoint_of, of_network
from asim_lightning.lightning_private import works_elsewhere
from asim_lightning.nn.calibration import quantized_layers
from asim_lightning.report.labels import duration

_LONG = 60.0
"""Seconds that are worth a message; a first trial of this length is used although kernels compile in it."""


@dataclass(frozen=True)
class Planned:
    """A point as the method proposed it, and its trials: `reads` of each chip."""

    point: Point
    kind: Kind
    chips: tuple[Point, ...]
    """The axes that decide outcomes, on each chip."""
    reads: int
    records: Records
    """Records of its network."""

    def key(self, chip: int) -> str:
        """Key of the trials of a chip."""
        return self.records.key(self.chips[chip], self.kind)


class Study:
    """Evaluates known points, and then the points that a method proposes one after another.

    The work is the same on all processes of the trainer: rank 0 reads the store, and tells the others what to compute.
    A subclass says what the trials of a point are, and makes results of their outcomes. It raises a ValueError if no
    layer is on a macro.
    """

    may_end = False
    """Whether outcomes decide how much is computed."""
    chips_may_end = False
    """Whether `is_over` may end the chips of a point."""
    goes_on = False
    """Whether the run also has points of earlier calls that this call may not ask for."""
    figures: CostFigures | None = None
    targets: Sequence[Target] = ()
    """Targets of each simulated point."""
    records: Records
    """The records that write the table of the run."""
    chips: Sequence[int] = ()
    """Numbers of the chips of a proposed point whose chips differ; empty: only the model's chip."""
    reads = 1
    """Reads of each chip of a proposed point that is noisy."""

    def __init__(self, work: Work) -> None:
        self.layers = needed_layers(work.model, "A sweep or search")
        self.work, self.trainer, self.model, self.data = work, work.trainer, work.model, work.data
        self.runner: Runner = work.runner or Runner(work.trainer, work.model, work.data)
        self.references: dict[Kind, Result] = {}
        self.outcomes: dict[Kind, Outcomes] = {}
        """Outcomes of the references."""
        self.owner: Point = {}
        """Axes of the references; with several checkpoints, they belong to the first."""
        self.by_checkpoint: dict[str | None, Records] = {}
        """Records of other weights, and of the network's own."""
        self._own_weights: dict[str, Tensor] = {}
        self._loaded: str | None = None

    @property
    def folder(self) -> Path:
        """Folder of the run."""
        return self.records.folder

    @property
    def notes(self) -> list[str]:
        """Messages for the user before the points are evaluated, a line each."""
        return self.records.notes

    @cached_property
    def most_images(self) -> int | None:
        """Number of all images if more images may decide a point of one chip; None if they may not."""
        return all_images(self.data)

    def switch(self, checkpoint: str | None) -> None:
        """Give the network a checkpoint's weights, with input ranges that fit them; None: its own."""
        if checkpoint == self._loaded:
            return
        if self.work.load is None or not self.runner.follows_network:
            raise ValueError(
                f"other weights need a way to load them, and a runner that sees them, which `runner: ray` does not, "
                f"got the checkpoint {checkpoint}"
            )
        if self._loaded is None:
            self._own_weights = {name: value.clone() for name, value in self.model.state_dict().items()}
        if checkpoint is None:
            self.model.load_state_dict(self._own_weights)
        else:
            for layer in quantized_layers(self.model.backbone).values():
                if layer.input_range == "calibrated":
                    layer.clear_range(self.model.device)  # else others' ranges would stay for weights without ranges
            self.work.load(checkpoint)
            self.model.calibrate_where_missing(self.data)
        self._loaded = checkpoint

    def planned(self, point: Point) -> Planned:
        """The trials of a proposed point."""
        axes, records = of_network(point), self.by_checkpoint.get(checkpoint_of(point), self.records)
        is_noisy = records.points.add(axes, "simulated")
        places: tuple[Point, ...] = (axes,)
        if self.chips and records.points.chips_differ(axes):
            places = tuple({**axes, CHIP: number} for number in self.chips)
            for each in places:
                records.points.add(each, "simulated")
        return Planned(point, "simulated", places, self.reads if is_noisy else 1, records)

    def reference(self, planned: Planned, outcomes: Outcomes) -> Result:
        """The result of the float or the quantised network."""
        result = planned.records.result({}, planned.kind, [[outcomes]])
        return replace(result, axes=planned.point)

    def told(self, planned: Planned, chips: list[list[Outcomes]]) -> list[Result]:
        """The results of a simulated point from its outcomes by chip and read; called once a point, in order."""
        axes, quantized = of_network(planned.point), self.outcomes["quantized"]
        result = planned.records.result(axes, planned.kind, chips, quantized)
        figures = self.figures_at(planned.point)
        for target in self.targets:
            if target.form == "yield":
                figures |= yield_figures(chips, target.accuracy)
        result = replace(result, axes=planned.point, figures=figures)
        decisions = {str(each): self.decision(each, result, chips) for each in self.targets}
        return [replace(result, decisions=decisions)]

    def figures_at(self, point: Point) -> dict[str, float]:
        """Costs and other numbers of a simulated point, next to its outcomes."""
        return {} if self.figures is None else self.figures.at(point)

    def is_over(self, planned: Planned, chips: Sequence[Sequence[Outcomes]]) -> bool:
        """Whether the chips of a point so far, by chip and read, are enough."""
        return False

    def decision(self, target: Target, result: Result, chips: Sequence[Sequence[Outcomes]]) -> Decision:
        """Whether a point keeps a target; the target may be a share of a reference, see `Target.decide`."""
        most = self.most_images if len(chips) == 1 else None
        if target.of is None:
            return target.decide(result, None, most)
        paired = paired_difference(chips, self.outcomes[target.of])
        return target.decide(result, self.references[target.of], most, paired)

    def evaluate(
        self,
        points: Sequence[Planned],
        method: Method[Found],
        most: int,
        progress: bool,
        say: Callable[[str], None],
    ) -> tuple[list[Result], Found]:
        """Evaluate the unfinished points, and store the results.

        Args:
            points: Points that are known from the start.
            method: Proposes other points.
            most: Most trials of these other points.
            progress: Whether to show a progress bar.
            say: Takes a line on trials of an earlier run, and one on the remaining time.

        Returns:
            The results in order, references first, and what the method finds; in the first process only.
        """
        is_first = self.trainer.is_global_zero
        if is_first and not self.goes_on:
            self.records.store.clear_points(self.folder.name)
        batch = [*(Planned(self.owner, kind, ({},), 1, self.records) for kind in REFERENCES), *points]
        self._asked = set[tuple[str, int]]()
        self._read, self._new, self._learns = 0, 0, most > 0
        todo = self._missing(batch)
        self._left = len(todo) + most
        self._bar = EvaluationBar(
            self._left, self.data.test_dataloader(), progress and is_first and self._left > 0, self.trainer.world_size
        )
        self._say = say
        self._seconds, self._is_time_said = list[float](), False
        if self._read and not self._learns:
            say(_record_line(self._read, self._left, self.may_end))

        def work(run: Run) -> tuple[list[Result], Found]:
            results = self._kept(self._evaluated(run, batch, todo))
            try:
                point = next(method)
                while True:
                    results += self._kept(self._evaluated(run, [self.planned(point)]))
                    point = method.send(results[-1])
            except StopIteration as end:
                return results, end.value

        try:
            # processes of the same program meet here; forked ones start later, with the work
            others_wait = self.trainer.world_size > 1 and not works_elsewhere(self.trainer)
            if not (todo or self._learns or others_wait):
                return work(lambda trials: iter(()))
            results, found = self.runner.work(work, self._bar.update)
            self.references |= {each.kind: each for each in results if each.kind in REFERENCES}  # forked processes copy
            return results, found
        finally:
            self._bar.close()
            if is_first:
                self.records.export()
            if self._learns and self._read:
                say(f"record   {self._read:,} of {self._read + self._new:,} trials are of an earlier run, seconds too")

    def _kept(self, evaluated: Iterable[tuple[Planned, list[list[Outcomes]]]]) -> list[Result]:
        found = list[Result]()
        for planned, chips in evaluated:
            if planned.kind == "simulated":
                results = self.told(planned, chips)
            else:
                results = [self.reference(planned, chips[0][0])]
                self.references[planned.kind], self.outcomes[planned.kind] = results[0], chips[0][0]
            if self.trainer.is_global_zero:
                for each in results:
                    self.records.keep(each)
            found += results
        return found

    def _missing(self, batch: Sequence[Planned]) -> dict[Place, None]:
        """Trials to compute, in order, in the first process; of points that compute the same, the first one's."""
        if not self.trainer.is_global_zero:
            return {}
        first = dict[tuple[str, int], Place]()
        keys = dict[tuple[Records, Kind], list[str]]()
        for number, planned in enumerate(batch):
            for chip in range(len(planned.chips)):
                key = planned.key(chip)
                keys.setdefault((planned.records, planned.kind), []).append(key)
                for read in range(planned.reads):
                    first.setdefault((key, read), (number, chip, read))
        there = {each for (records, kind), some in keys.items() for each in records.finished(some, kind)}
        self._read += len((first.keys() & there) - self._asked)  # else this run computed them
        self._asked |= first.keys()
        return {place: None for trial, place in first.items() if trial not in there}

    def _evaluated(
        self, run: Run, batch: Sequence[Planned], todo: Mapping[Place, None] | None = None
    ) -> Iterator[tuple[Planned, list[list[Outcomes]]]]:
        """The outcomes of points by chip and read, in the order of the points."""
        if todo is None:
            todo = self._missing(batch)
            for _ in range(sum(len(each.chips) * each.reads for each in batch) - len(todo)):
                self._left -= 1
                self._bar.leave_out()
        todo = self.work.agreed(todo)
        found, over = dict[Place, Outcomes](), set[int]()
        finished = self._computed(run, batch, todo, over)
        for number, planned in enumerate(batch):
            chips: list[list[Outcomes]] = []
            for chip, axes in enumerate(planned.chips):
                chips.append([])
                for read in range(planned.reads):
                    place = number, chip, read
                    while place in todo and place not in found:
                        found.update([next(finished)])
                    if place not in found:
                        is_first, records = self.trainer.is_global_zero, planned.records
                        stored = records.outcomes(axes, planned.kind, read) if is_first else None
                        found[place] = self.work.agreed(stored)  # type: ignore[assignment]  # of the first process
                    chips[-1].append(found.pop(place))
                if self.is_over(planned, chips):
                    break
            over.add(number)
            yield planned, chips
        for _ in finished:  # trials in progress when their point ended are stored too
            pass

    def _computed(
        self, run: Run, batch: Sequence[Planned], todo: Iterable[Place], over: set[int]
    ) -> Iterator[tuple[Place, Outcomes]]:
        """The outcomes of the missing trials, each when it is ready, without trials of points that are over."""
        later: list[Place] = []
        # chips are decided in order, so none may be left for later
        waits = self.chips_may_end and self.runner.workers == 1

        def claimed(places: Iterable[Place], waits: bool) -> Iterator[tuple[Place, Steps]]:
            for place in places:
                planned, (number, chip, read) = batch[place[0]], place
                if number in over:
                    continue
                if planned.records.claim(planned.key(chip), read, waits) or self.chips_may_end:
                    yield place, self._steps(planned, chip, read)
                else:
                    later.append(place)  # another command computes it

        yield from run(claimed(todo, waits))
        for place in later:  # one at a time: a waiting command must have no claim, or two could wait for each other
            yield from run(claimed([place], True))

    def _steps(self, planned: Planned, chip: int, read: int) -> Steps:
        """Compute a claimed trial, unless another command has done it meanwhile."""
        records, axes, kind, key = planned.records, planned.chips[chip], planned.kind, planned.key(chip)
        try:
            self.switch(checkpoint_of(planned.point))
            self._bar.set_description(trial_name(axes, kind, read), refresh=False)
            found = yield from records.trial(axes, kind, read)
        finally:
            records.release(key, read)
        self._left -= 1
        if (key, read) not in records.computed:
            self._bar.leave_out()
            return found
        self._new += 1
        if kind == "simulated" and not self._is_time_said:
            self._seconds.append(found.seconds)
            if line := time_left(self._seconds, self._left, self.runner.workers):  # once the first trials tell it
                self._is_time_said = True
                self._bar.clear()  # the line stands above the bar
                self._say(f"time     {'at most ' * (self.may_end or self._learns)}{line}")
        return found


def _record_line(read: int, left: int, may_end: bool) -> str:
    """A line on trials that are read and not computed; the seconds in the table include their earlier time."""
    if left:
        computed = f"{'at most ' * may_end}{left:,} are computed"
        return f"record   {read:,} of {read + left:,} trials are of an earlier run, seconds too; {computed}"
    return f"record   all {read:,} trials are of an earlier run, seconds too; nothing is computed"


def time_left(seconds: Sequence[float], left: int, workers: int = 1) -> str:
    """About how long the remaining trials take, from the seconds of the first simulated ones.

    Empty if there are too few measured trials, or if the time is short.
    """
    left_each = left / workers
    told = seconds if seconds and seconds[0] >= _LONG else seconds[1:]  # kernels are compiled in the first
    if not told or left_each * told[-1] < _LONG:
        return ""
    mean = sum(told) / len(told)
    several = f", by {workers:,} workers" if workers > 1 else ""
    rest = f"{left:,} more trial{'s' * (left != 1)}{several}"
    return f"about {duration(left_each * mean, 0)} for {rest}, as the last took {told[-1]:.1f} s"


def all_images(data: LightningDataModule) -> int:
    """Number of test images, which may exceed `test_images`; of a user's data module, those of its loader."""
    return data.all_test_images if isinstance(data, (ImageDataModule, GivenData)) else loaded_images(data)


def loaded_images(data: LightningDataModule) -> int:
    """Number of test images that the loader of a data module gives."""
    loader: Any = data.test_dataloader()
    return len(loader.dataset)
