"""One checkpoint over a grid of macros: float, quantised and simulated accuracy with error bars."""

from collections.abc import Callable, Iterator
from pathlib import Path

from lightning.pytorch import LightningDataModule, Trainer
from tqdm import tqdm

from asim_lightning.classifier import CimClassifier
from asim_lightning.evaluation.chip_yield import YieldQuestion
from asim_lightning.evaluation.progress import EvaluationBar
from asim_lightning.evaluation.record import SweepRecord, sweep_folder
from asim_lightning.evaluation.results import AxisValue, Kind, Outcomes, PointResult, axes_text
from asim_lightning.exploration.axes import SweepAxes, condition_at
from asim_lightning.exploration.contents import Contents
from asim_lightning.exploration.estimate import time_left
from asim_lightning.exploration.fingerprint import fingerprint, idle_callbacks
from asim_lightning.exploration.point import Points
from asim_lightning.exploration.runner import Evaluation, Run, Runner, Steps, TrainerRunner, nothing
from asim_lightning.exploration.yields import Answers
from asim_lightning.surgery import macro_layers

Task = tuple[dict[str, AxisValue], Kind, int]
"""Axis values of a point, its kind, and its number of trials."""
_SILENT = 2.0
"""Seconds of work on the points before a bar shows it."""


class Sweep:
    """Evaluates every point of a grid, and keeps each finished trial on disk.

    Args:
        trainer: Lightning trainer whose processes, device and precision are used.
        model: Converted classifier with its trained weights.
        data: Data module; the images of its test loader are evaluated.
        axes: The grid.
        trials: Reads of the chip for each noisy point.
        folder: Folder below which the sweep's own is made.
        progress: Whether a progress bar with the time left is shown.
        until: A question on the yield, which ends the chips of each combination of the other axes when it is answered.
        runner: Who computes the trials; None: the trainer's processes.

    Raises:
        ValueError: No layer is on a macro, there is no trial, or a point is not allowed.
    """

    def __init__(
        self,
        trainer: Trainer,
        model: CimClassifier,
        data: LightningDataModule,
        axes: SweepAxes,
        trials: int,
        folder: str | Path,
        progress: bool = True,
        until: YieldQuestion | None = None,
        runner: Runner | None = None,
    ) -> None:
        self.layers = macro_layers(model.backbone)
        if not self.layers:
            raise ValueError("A sweep needs a network with layers on a macro, got one without; set `model.plan`")
        if trials < 1 or trials > 65535:
            raise ValueError(f"`trials` must be 1..65535, got {trials}")
        self.trainer, self.model, self.data, self.progress = trainer, model, data, progress
        self.until = until
        self.runner = runner or TrainerRunner(trainer, model, data)
        # that of the plan, as long as no layer was given another by hand
        self.macro = next(iter(self.layers.values())).assignment.base
        names, columns = list(next(iter(axes.points()))), Contents(leave_out=folder)
        points = Points(model, columns, axes.rules or ())
        # all points first: a wrong one is refused, and what has no fingerprint decides whether anything is reused
        self.tasks = self._tasks(points, axes, trials)
        found = fingerprint(model, data, trainer, names, Contents(leave_out=folder), columns)
        # a folder for each set of axes: its results.csv has a column for each
        settings = {**found.settings, "axes": sorted(names)}
        reuse = not found.unknown
        self.record = SweepRecord(sweep_folder(folder, settings), settings, names, points.digest, reuse)
        idle = [f"a sweep calls no hook of {name} for a test; asim test does" for name in idle_callbacks(trainer)]
        self.notes = (*self.record.notes, *idle)
        """What a user should know before the sweep runs, a line each."""
        if found.unknown:
            why = "; ".join(found.unknown)
            self.notes = (f"no outcome of an earlier run is used, as this has no fingerprint: {why}", *self.notes)

    @property
    def folder(self) -> Path:
        """Folder of the sweep's files."""
        return self.record.folder

    def run(self, say: Callable[[str], None] = lambda line: None) -> tuple[PointResult, ...]:
        """Evaluate what is not finished yet.

        Args:
            say: Takes a line about trials of an earlier run, if any, and one about the time that is left, once the
                first simulated trials tell it.

        Returns:
            One result a point, float and quantised first, then in the order of the grid, without chips after an answer
            to `until`; in the first process alone.
        """
        read, todo = self._missing()
        first = self.trainer.is_global_zero  # the process that keeps the record; what is to do is the same in all
        left = sum(map(len, todo))
        bar = EvaluationBar(left, self.data.test_dataloader(), self.progress and left > 0 and first)
        if read:
            say(_record_line(read, left, self.until is not None))

        def work(run: Run) -> tuple[PointResult, ...]:
            return self._run(run, todo, bar, say)

        try:
            if not left:  # then no process is needed
                return self._run(nothing, todo, bar, say) if first else ()
            results = self.runner.work(work, bar.advance)
            for result in results:
                self.record.add(result)  # where processes are forked, it was one of them that kept the record
            return results
        finally:
            if first:
                self.record.write_results()
            bar.close()

    def _run(
        self, run: Run, todo: list[list[int]], bar: EvaluationBar, say: Callable[[str], None]
    ) -> tuple[PointResult, ...]:
        """Compute trials, which may be finished in any order, and decide on the points in theirs."""
        results = []
        left, simulated, is_said = sum(map(len, todo)), list[float](), False
        answers, limit = Answers(self.until), "at most, " * (self.until is not None)
        computed: dict[tuple[str, int], Outcomes] = {}  # other processes than the first keep no record
        missing = [set(trials) for trials in todo]
        finished = run(self._trials(todo, answers, bar))
        for place, (axes, kind, trials) in enumerate(self.tasks):
            while missing[place] and not (kind == "simulated" and answers.is_answered(axes)):
                (where, trial), outcomes = next(finished)
                if trial in missing[where]:  # else its question was answered meanwhile
                    missing[where].remove(trial)
                    left -= 1
                if self.until is not None:
                    computed[self.record.key(*self.tasks[where][:2]), trial] = outcomes
                simulated += [outcomes.seconds] * (self.tasks[where][1] == "simulated")
                if not is_said and (line := time_left(simulated, left, self.runner.workers)):
                    is_said = True
                    bar.clear()
                    say(f"time     {limit}{line}")
            if kind == "simulated" and answers.is_answered(axes):
                left -= len(missing[place])
                missing[place].clear()
                continue
            if self.until is not None and kind == "simulated":
                key = self.record.key(axes, kind)
                answers.add(
                    axes,
                    [computed.get((key, trial)) or self.record.outcomes(axes, kind, trial) for trial in range(trials)],
                )
            if self.trainer.is_global_zero:
                results.append(self.record.finish(axes, kind, trials))
        for _ in finished:  # trials that were under way when a question was answered are kept too
            pass
        return tuple(results)

    def _trials(
        self, todo: list[list[int]], answers: Answers, bar: EvaluationBar
    ) -> Iterator[tuple[tuple[int, int], Steps]]:
        """The trials to compute, by place of their task and number, without chips after an answer that is there."""
        for place, (axes, kind, _) in enumerate(self.tasks):
            for trial in todo[place]:
                if kind == "simulated" and answers.is_answered(axes):
                    break
                bar.describe(_name(axes, kind, trial))
                yield (place, trial), self._evaluate(axes, kind, trial)

    def _tasks(self, points: Points, axes: SweepAxes, trials: int) -> list[Task]:
        points.add({}, "float")
        points.add({}, "quantized")
        tasks: list[Task] = [({}, "float", 1), ({}, "quantized", 1)]
        shown = self.progress and self.trainer.is_global_zero
        for point in tqdm(
            axes.points(), "points", axes.count(), leave=False, disable=not shown, delay=_SILENT, dynamic_ncols=True
        ):
            try:
                noisy = points.add(point, "simulated")
            except ValueError as error:
                raise ValueError(f"{error}, at the point {axes_text(point)} of `axes`") from None
            tasks.append((point, "simulated", trials if noisy else 1))
        return tasks

    def _missing(self) -> tuple[int, list[list[int]]]:
        """How many trials are there from before, and those to compute for each task: of points that compute the same,
        for the first alone.
        """
        planned: dict[str, set[int]] = {}
        read: set[tuple[str, int]] = set()
        missing = []
        for axes, kind, trials in self.tasks:
            key = self.record.key(axes, kind)
            finished = self.record.trials(axes, kind)
            known = planned.setdefault(key, set(finished))
            missing.append(sorted(set(range(trials)) - known))
            known.update(missing[-1])
            read.update((key, trial) for trial in finished if trial < trials)
        return len(read), missing

    def _evaluate(self, axes: dict[str, AxisValue], kind: Kind, trial: int) -> Steps:
        """Compute and store a trial."""
        outcomes = yield Evaluation(_name(axes, kind, trial), condition_at(axes, kind, trial))
        if self.trainer.is_global_zero:
            self.record.store(axes, kind, trial, outcomes)
        return outcomes


def _name(axes: dict[str, AxisValue], kind: Kind, trial: int) -> str:
    return f"{kind} {axes_text(axes)} trial {trial}" if axes else kind


def _record_line(read: int, left: int, may_stop: bool) -> str:
    """That trials are read and not computed, as their time in the table is not spent here."""
    if left:
        computed = f"{'at most ' * may_stop}{left:,} are computed"
        return f"record   {read:,} of {read + left:,} trials are of an earlier run, seconds too; {computed}"
    return f"record   all {read:,} trials are of an earlier run, seconds too; nothing is computed"
