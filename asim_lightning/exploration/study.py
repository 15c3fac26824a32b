"""A study: points of a method, each evaluated under its conditions; no trial is lost or computed twice."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, compress
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningDataModule
from torch import Tensor

from asim_lightning.data.given import GivenData
from asim_lightning.data.image_data_module import ImageDataModule
from asim_lightning.evaluation.axis_settings import CHIP, TECHNOLOGY
from asim_lightning.evaluation.chip_yield import good_chips, yield_figures
from asim_lightning.evaluation.evaluate import EvaluationBar
from asim_lightning.evaluation.layer_inputs import needed_layers
from asim_lightning.evaluation.results import AxisValue, Decision, Kind, Outcomes, Result, axes_text
from asim_lightning.evaluation.run import Run, read_run
from asim_lightning.evaluation.target import Target
from asim_lightning.exploration.figures import CostFigures, write_layers
from asim_lightning.exploration.methods import Found, Method, Point
from asim_lightning.exploration.records import REFERENCES, Records, paired_difference
from asim_lightning.exploration.runner import Compute, Done, Runner, Steps, Trial, Work
from asim_lightning.exploration.search_space import checkpoint_of, of_network
from asim_lightning.lightning_private import works_elsewhere
from asim_lightning.nn.calibration import quantized_layers
from asim_lightning.report.labels import duration

_LONG = 60.0
"""Seconds that are worth a message; a first trial of this length is used although kernels compile in it."""


@dataclass(frozen=True, eq=False)
class Planned:
    """A point as the method proposed it, and its trials."""

    point: Point
    kind: Kind
    trials: list[list[Trial]]
    """Its trials by chip and read."""
    records: Records
    """Records of its network."""


class Study:
    """Evaluates known points, and then the points that a method proposes one after another.

    The work is the same on all processes of the trainer: rank 0 reads the store, and tells the others what to compute.
    A subclass says what the trials of a point are, and makes results of their outcomes. It raises a ValueError if no
    layer is on a macro.
    """

    until: Target | None = None
    """The target that ends the images or the chips of each point when it is answered."""
    goes_on = False
    """Whether the run also has points of earlier calls that this call may not ask for."""
    figures: CostFigures | None = None
    targets: Sequence[Target] = ()
    """Targets of each simulated point."""
    records: Records
    """The records that write the table of the run."""
    chips: Sequence[AxisValue] = ()
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

    def check(self, point: Point) -> None:
        """Refuse a point that cannot be measured or priced."""
        self.records_of(point).points.add(of_network(point), "simulated")
        if self.figures is not None:
            self.figures.at({name: value for name, value in point.items() if name.startswith(TECHNOLOGY)})

    def check_all(self, points: Iterable[Point], setting: str) -> None:
        """Refuse points of a setting before the work, by name."""
        for point in points:
            try:
                self.check(point)
            except ValueError as error:
                given = {name: value for name, value in point.items() if name != CHIP or not self.chips}
                raise ValueError(f"{error}, at the point {axes_text(given)} of `{setting}`") from None

    def planned(self, point: Point) -> Planned:
        """The trials of a proposed point."""
        records, (places, is_noisy) = self.records_of(point), self._on_chips(point)
        reads = self.reads if is_noisy else 1
        return Planned(point, "simulated", [records.trials(each, "simulated", reads) for each in places], records)

    def records_of(self, point: Point) -> Records:
        """The records of the network at a point."""
        return self.by_checkpoint.get(checkpoint_of(point), self.records)

    def _on_chips(self, point: Point) -> tuple[list[Point], bool]:
        """The axes of a point that decide outcomes, for each of its chips, and whether it is noisy."""
        axes, points = of_network(point), self.records_of(point).points
        is_noisy = points.add(axes, "simulated")
        if not self.chips or not (CHIP in axes or points.chips_differ(axes)):
            return [axes], is_noisy
        places = [{**axes, CHIP: number} for number in self.chips]
        for each in places:
            points.add(each, "simulated")
        return places, is_noisy

    def told(self, planned: Planned, chips: list[list[Outcomes]]) -> list[Result]:
        """The results of a point from its outcomes by chip and read; called once a point, in order."""
        axes = of_network(planned.point) if planned.kind == "simulated" else {}
        result = planned.records.result(axes, planned.kind, chips, self.outcomes.get("quantized"))
        result = replace(result, axes=planned.point)
        if planned.kind != "simulated":
            return [result]
        figures = self.figures_at(planned.point)
        for target in self.targets:
            if target.form == "yield":
                figures |= yield_figures(chips, target.accuracy, self.chips_may_end)
        result = replace(result, figures=figures)
        decisions = {str(each): self.decision(each, result, chips) for each in self.targets}
        return [replace(result, decisions=decisions)]

    def figures_at(self, point: Point) -> dict[str, float]:
        """Costs and other numbers of a simulated point, next to its outcomes."""
        return {} if self.figures is None else self.figures.at(point)

    @property
    def chips_may_end(self) -> bool:
        """Whether `is_over` may end the chips of a point."""
        return self.until is not None and self.until.form == "yield"

    def is_over(self, chips: Sequence[Sequence[Outcomes]]) -> bool:
        """Whether the chips of a point so far, by chip and read, answer the target on the yield."""
        if self.until is None or not self.chips_may_end or len(chips) < 2:
            return False
        return self.until.answer_of_chips(good_chips(chips, self.until.accuracy), len(chips)) is not None

    def decision(self, target: Target, result: Result, chips: Sequence[Sequence[Outcomes]]) -> Decision:
        """Whether a point keeps a target; the target may be a share of a reference, see `Target.decide`."""
        most = self.most_images if len(chips) == 1 else None
        paired = paired_difference(chips, self.outcomes["float"], result.measure) if target.of == "float" else None
        return target.decide(result, target.of and self.references[target.of], most, paired)

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
        references = (Planned(self.owner, kind, [self.records.trials({}, kind)], self.records) for kind in REFERENCES)
        batch = [*references, *points]
        self._read, self._new, self._learns = set[Trial](), set[Trial](), most > 0
        missing = self._missing(batch)
        self._left = sum(missing) + most
        self._bar = EvaluationBar(
            self._left, self.data.test_dataloader(), progress and is_first and self._left > 0, self.trainer.world_size
        )
        self._say = say
        self._seconds, self._is_time_said = list[float](), False
        if self._read and not self._learns:
            say(_record_line(len(self._read), self._left, self.until is not None))

        def work(run: Compute) -> tuple[list[Result], Found]:
            results = self._kept(self._evaluated(run, batch, missing))
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
            if not (self._left or others_wait):
                return work(lambda trials: iter(()))
            results, found = self.runner.work(work, self._bar.update)
            self.references |= {each.kind: each for each in results if each.kind in REFERENCES}  # forked processes copy
            return results, found
        finally:
            self._bar.close()
            if is_first:
                self.records.export()
            if self._learns and (read := len(self._read)):
                say(f"record   {read:,} of {read + len(self._new):,} trials are of an earlier run, seconds too")

    def run_of(self, results: Sequence[Result]) -> Run:
        """The run with the results of this call; the first process prices its layers, and adds all data of the run."""
        if not self.trainer.is_global_zero:
            return Run(self.folder, tuple(results))
        if self.figures is not None:
            write_layers(self.figures, self.records)
        return replace(read_run(self.folder), results=tuple(results))

    def _kept(self, evaluated: Iterable[tuple[Planned, list[list[Outcomes]]]]) -> list[Result]:
        found = list[Result]()
        for planned, chips in evaluated:
            results = self.told(planned, chips)
            if planned.kind != "simulated":
                self.references[planned.kind], self.outcomes[planned.kind] = results[0], chips[0][0]
            if self.trainer.is_global_zero:
                for each in results:
                    self.records.keep(each)
            found += results
        return found

    def _missing(self, batch: Sequence[Planned]) -> list[bool]:
        """Which of the `_distinct` trials of some points are to be computed; only known in the first process."""
        if not self.trainer.is_global_zero:
            return []
        trials, of_records = _distinct(batch), dict[Records, list[Trial]]()
        for trial, planned in trials.items():
            of_records.setdefault(planned.records, []).append(trial)
        there = {each for records, some in of_records.items() for each in records.finished(some)}
        self._read |= there - self._new
        return [trial not in there for trial in trials]

    def _evaluated(
        self, run: Compute, batch: Sequence[Planned], missing: list[bool] | None = None
    ) -> Iterator[tuple[Planned, list[list[Outcomes]]]]:
        """The outcomes of points by chip and read, in the order of the points."""
        if missing is None:
            missing = self._missing(batch)
            self._leave_out(sum(len(reads) for each in batch for reads in each.trials) - sum(missing))
        todo = dict(compress(_distinct(batch).items(), self.work.agreed(missing)))
        found, over = dict[Trial, Outcomes](), set[Planned]()
        finished = self._computed(run, list(todo.items()), over)
        for planned in batch:
            chips: list[list[Outcomes]] = []
            for reads in planned.trials:
                chips.append([])
                for trial in reads:
                    while trial in todo and trial not in found:
                        found.update([next(finished)])
                    if todo.pop(trial, None) is None:  # this run does not compute it, or did for a point before
                        stored = planned.records.outcomes(trial) if self.trainer.is_global_zero else None
                        found[trial] = self.work.agreed(stored)  # type: ignore[assignment]  # of the first process
                    chips[-1].append(found.pop(trial))
                if self.is_over(chips):
                    break
            over.add(planned)
            yield planned, chips
        for _ in finished:  # trials in progress when their point ended are stored too
            pass

    def _computed(self, run: Compute, todo: Iterable[tuple[Trial, Planned]], over: set[Planned]) -> Iterator[Done]:
        """The outcomes of the missing trials, each when it is ready, without trials of points that are over."""
        later: list[tuple[Trial, Planned]] = []
        # chips are decided in order, so none may be left for later
        waits = self.chips_may_end and self.runner.workers == 1

        def claimed(todo: Iterable[tuple[Trial, Planned]], waits: bool) -> Iterator[Steps[Done]]:
            for trial, planned in todo:
                if planned in over:
                    continue
                if planned.records.claim(trial, waits) or self.chips_may_end:
                    yield self._steps(trial, planned)
                else:
                    later.append((trial, planned))  # another command computes it

        yield from run(claimed(todo, waits))
        for each in later:  # one at a time: a waiting command must have no claim, or two could wait for each other
            yield from run(claimed([each], True))

    def _steps(self, trial: Trial, planned: Planned) -> Steps[Done]:
        """Compute a claimed trial, unless another command has done it meanwhile."""
        records = planned.records
        try:
            self.switch(checkpoint_of(planned.point))
            self._bar.set_description(str(trial), refresh=False)
            found = yield from records.steps(trial)
        finally:
            records.release(trial)
        if trial not in records.computed:
            self._leave_out(1)
            return trial, found
        self._left -= 1
        self._new.add(trial)
        if trial.kind == "simulated" and not self._is_time_said:
            self._seconds.append(found.seconds)
            if line := time_left(self._seconds, self._left, self.runner.workers):  # once the first trials tell it
                self._is_time_said = True
                self._bar.clear()  # the line stands above the bar
                self._say(f"time     {'at most ' * (self.until is not None or self._learns)}{line}")
        return trial, found

    def _leave_out(self, trials: int) -> None:
        """Remove trials that need no work from what is left."""
        self._left -= trials
        self._bar.leave_out(trials)


def _distinct(batch: Iterable[Planned]) -> dict[Trial, Planned]:
    """The trials of some points in order; of points that compute the same, the first one's."""
    found = dict[Trial, Planned]()
    for planned in batch:
        for trial in chain.from_iterable(planned.trials):
            found.setdefault(trial, planned)
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
