"""One checkpoint over a grid of macros: float, quantised and simulated accuracy with error bars."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

from lightning.pytorch import LightningDataModule, Trainer
from tqdm import tqdm

from asim_lightning.classifier import CimClassifier
from asim_lightning.evaluation.accuracy_question import AccuracyQuestion
from asim_lightning.evaluation.chip_yield import YieldQuestion
from asim_lightning.evaluation.progress import EvaluationBar
from asim_lightning.evaluation.results import AxisValue, Kind, Outcomes, PointResult, axes_text
from asim_lightning.exploration.axes import SweepAxes
from asim_lightning.exploration.estimate import TimeLeft
from asim_lightning.exploration.recorded import RecordedPoints, trial_name
from asim_lightning.exploration.runner import Run, Runner, Steps, TrainerRunner, nothing
from asim_lightning.exploration.yields import CHIP, Answers
from asim_lightning.surgery import macro_layers

Task = tuple[dict[str, AxisValue], Kind, int]
"""Axis values of a point, its kind, and its number of trials."""
Place: TypeAlias = tuple[int, int]
"""Place of a trial's task, and its number."""
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
        until: A question on the yield, which ends the chips of each combination of the other axes when it is answered,
            or on the accuracy, which ends the images of each point.

    Raises:
        ValueError: No layer is on a macro, there is no trial, or several where the question takes one, or a point is
            not allowed.
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
        until: YieldQuestion | AccuracyQuestion | None = None,
    ) -> None:
        self.layers = macro_layers(model.backbone)
        if not self.layers:
            raise ValueError("A sweep needs a network with layers on a macro, got one without; set `model.plan`")
        if trials < 1 or trials > 65535:
            raise ValueError(f"`trials` must be 1..65535, got {trials}")
        of_images = until if isinstance(until, AccuracyQuestion) else None
        if of_images is not None and trials > 1:
            raise ValueError(f"`trials` must be 1 with `until` '{until}', which counts an image once, got {trials}")
        self.trainer, self.model, self.data, self.progress = trainer, model, data, progress
        self.until = until
        self.runner: Runner = TrainerRunner(trainer, model, data)
        """Who computes the trials; another may take its place before `run`."""
        self.of_chips = until if isinstance(until, YieldQuestion) else None
        """The question on the yield, if any."""
        # that of the plan, as long as no layer was given another by hand
        self.macro = next(iter(self.layers.values())).assignment.base
        names = list(next(iter(axes.points())))
        self.recorded = RecordedPoints(trainer, model, data, names, folder, "sweep", of_images)
        self.tasks = self._tasks(axes, trials)  # all points first: a wrong one is refused
        self.recorded.open()
        self.record, self.notes = self.recorded.record, self.recorded.notes
        self._computed: dict[tuple[str, int], Outcomes] = {}

    @property
    def may_stop(self) -> bool:
        """Whether outcomes decide how much is computed."""
        return self.until is not None

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
        shown = self.progress and left > 0 and first
        bar = EvaluationBar(left, self.data.test_dataloader(), shown, self.trainer.world_size)
        if read:
            say(_record_line(read, left, self.may_stop))

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
        if self.trainer.world_size > 1:  # another command may have stored trials after some of them looked
            todo = self.trainer.strategy.broadcast(todo)
        results: dict[int, PointResult] = {}
        later: list[Place] = []  # trials that another command computes
        left, answers = sum(map(len, todo)), Answers(self.of_chips)
        time_left = TimeLeft(bar.above(say), self.may_stop)
        missing = [set(trials) for trials in todo]
        finished = run(self._trials(missing, later, answers, bar))
        for place, (axes, kind, trials) in enumerate(self.tasks):
            while missing[place] and not self._is_answered(answers, place):
                if (found := next(finished, None)) is None:
                    break
                (where, trial), outcomes = found
                if trial in missing[where]:  # else its question was answered meanwhile
                    missing[where].remove(trial)
                    left -= 1
                if self.of_chips is not None:
                    self._computed[self.record.key(*self.tasks[where][:2]), trial] = outcomes
                if self.tasks[where][1] == "simulated":
                    time_left.add(outcomes.seconds, left, self.runner.workers)
            if self._is_answered(answers, place):
                left -= len(missing[place])
                missing[place].clear()
                continue
            if self.of_chips is not None and kind == "simulated":
                answers.add(axes, [self._outcomes(axes, kind, trial) for trial in range(trials)])
            self._finish(results, place, not later)
        for _ in finished:  # trials that were under way when a question was answered are kept too
            pass
        for place, trial in later:  # one at a time, as a command that waits for another holds no trial itself
            waited = self._claimed(place, trial, wait=True)
            for _ in run([waited] if waited is not None else []):
                pass
        for place in range(len(self.tasks)) if later else ():
            self._finish(results, place, True)
        return tuple(results[place] for place in sorted(results))

    def _is_answered(self, answers: Answers, place: int) -> bool:
        axes, kind, _ = self.tasks[place]
        return kind == "simulated" and answers.is_answered(axes)

    def _trials(
        self, missing: list[set[int]], later: list[Place], answers: Answers, bar: EvaluationBar
    ) -> Iterator[tuple[Place, Steps]]:
        """The trials to compute, without chips after an answer that is there; those of other commands go to `later`."""
        for place, (axes, kind, _) in enumerate(self.tasks):
            for trial in sorted(missing[place]):
                if self._is_answered(answers, place):
                    break
                bar.describe(trial_name(axes, kind, trial))
                steps = self._claimed(place, trial, wait=self.of_chips is not None and self.runner.workers == 1)
                if steps is not None:
                    yield steps
                else:
                    missing[place].remove(trial)
                    later.append((place, trial))

    def _finish(self, results: dict[int, PointResult], place: int, is_whole: bool) -> None:
        """Finish a point, where the first process has all its trials."""
        axes, kind, trials = self.tasks[place]
        if not self.trainer.is_global_zero or place in results:
            return
        if is_whole or set(range(trials)) <= set(self.record.trials(axes, kind)):
            results[place] = self.record.finish(axes, kind, trials)

    def _outcomes(self, axes: dict[str, AxisValue], kind: Kind, trial: int) -> Outcomes:
        computed = self._computed.get((self.record.key(axes, kind), trial))
        return self.record.outcomes(axes, kind, trial) if computed is None else computed

    def _tasks(self, axes: SweepAxes, trials: int) -> list[Task]:
        self.recorded.points.add({}, "float")
        self.recorded.points.add({}, "quantized")
        tasks: list[Task] = [({}, "float", 1), ({}, "quantized", 1)]
        shown = self.progress and self.trainer.is_global_zero and sys.stderr.isatty()
        for point in tqdm(
            axes.points(), "points", axes.count(), leave=False, disable=not shown, delay=_SILENT, dynamic_ncols=True
        ):
            try:
                noisy = self.recorded.points.add(point, "simulated")
            except ValueError as error:
                # chips may be no axis that was given
                where = "" if set(point) == {CHIP} else f", at the point {axes_text(point)} of `axes`"
                raise ValueError(f"{error}{where}") from None
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

    def _claimed(self, place: int, trial: int, wait: bool) -> tuple[Place, Steps] | None:
        """A trial that no other command computes; None where one does."""
        axes, kind, _ = self.tasks[place]
        is_claimed = self.recorded.claim(axes, kind, trial, wait)
        if not is_claimed and self.of_chips is None:
            return None  # chips are decided on in their order, and cannot wait for it

        def steps() -> Steps:
            try:
                if self.recorded.is_finished(axes, kind, trial):
                    return self.record.outcomes(axes, kind, trial)
                return (yield from self._evaluate(axes, kind, trial))
            finally:
                if is_claimed:
                    self.recorded.release(axes, kind, trial)

        return (place, trial), steps()

    def _evaluate(self, axes: dict[str, AxisValue], kind: Kind, trial: int) -> Steps:
        """Compute and store a trial."""
        return self.recorded.trial(axes, kind, trial)


def _record_line(read: int, left: int, may_stop: bool) -> str:
    """That trials are read and not computed, as their time in the table is not spent here."""
    if left:
        computed = f"{'at most ' * may_stop}{left:,} are computed"
        return f"record   {read:,} of {read + left:,} trials are of an earlier run, seconds too; {computed}"
    return f"record   all {read:,} trials are of an earlier run, seconds too; nothing is computed"
