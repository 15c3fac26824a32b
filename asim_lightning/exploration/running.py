"""One call of a study: what is left to compute, and who computes it."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, compress

from asim_lightning.evaluation.evaluate import EvaluationBar
from asim_lightning.evaluation.results import Kind, Outcomes, Result
from asim_lightning.evaluation.worst_corner import decided_together, worst_result
from asim_lightning.exploration.methods import Answer, Method, Point
from asim_lightning.exploration.runner import Compute, Done, Runner, Steps, Trial
from asim_lightning.exploration.search_space import checkpoint_of
from asim_lightning.exploration.study import REFERENCES, Measured, Planned, Say, Study
from asim_lightning.exploration.trials import Trials
from asim_lightning.lightning_private import works_elsewhere
from asim_lightning.report.labels import duration

_OF_ALL_KINDS = 20
"""Trials that tell the time of the rest if points differ much."""
_LONG = 60.0
"""Seconds that are worth a message; a first trial of this length is used although kernels compile in it."""


def measure(
    study: Study,
    known: Sequence[Point],
    method: Method[Answer],
    most: int,
    progress: bool,
    say: Say,
    likely: bool = False,
) -> Measured[Answer]:
    """Evaluate the unfinished points of a study, and store the results.

    Args:
        study: The study.
        known: Points that are known from the start.
        method: Proposes other points.
        most: Most trials of these other points, at one corner.
        progress: Whether to show a progress bar.
        say: Takes a line on trials of an earlier run, and one on the remaining time.
        likely: Whether `most` is only a guess, and points take different times.
    """
    if study.work.trainer.is_global_zero and not study.settings.goes_on:
        study.folder.clear()
    batch = [*study.references(), *chain.from_iterable(map(study.planned, known))]
    most *= len(study.settings.corners) or 1
    return _Running(study, batch, most, progress, say, likely).run(method)


class _Running:
    """One call of a study: what is left to compute, and the results so far.

    Args:
        study: The study.
        batch: Points that are known from the start.
        most: Most trials of other points.
        progress: Whether to show a progress bar.
        say: Takes lines for the user.
        likely: Whether `most` is only a guess.
    """

    def __init__(
        self, study: Study, batch: Sequence[Planned], most: int, progress: bool, say: Say, likely: bool
    ) -> None:
        self._study, self._work, self._batch, self._say = study, study.work, batch, say
        self._likely = likely
        self._is_first = self._work.trainer.is_global_zero
        self._runner: Runner = self._work.runner or Runner(self._work.trainer, self._work.model, self._work.data)
        self._others = dict[Kind, tuple[Result, Outcomes]]()
        self._reused, self._new, self._learns = set[Trial](), set[Trial](), most > 0
        self._missing = self._missing_of(batch)
        self._left = sum(self._missing) + most
        self._seconds, self._is_time_said = list[float](), False
        loader, processes = self._work.data.test_dataloader(), self._work.trainer.world_size
        self._bar = EvaluationBar(self._left, loader, progress and self._is_first and self._left > 0, processes)

    def run(self, method: Method[Answer]) -> Measured[Answer]:
        """Compute what is missing, and give the results."""
        may_end = self._study.settings.until is not None
        if self._reused and not self._learns:
            self._say(_reused_line(len(self._reused), self._left, may_end))

        def work(run: Compute) -> Measured[Answer]:
            results = self._kept(self._evaluated(run, self._batch, self._missing))
            try:
                asked = next(method)
                while True:
                    planned = self._study.planned(asked)
                    corners = self._kept(self._evaluated(run, planned, self._looked_up(planned)))
                    results += corners
                    asked = method.send(worst_result(corners))
            except StopIteration as end:
                return Measured(results, end.value, self._others)

        trainer = self._work.trainer
        try:
            # processes of the same program meet here; forked ones start later, with the work
            others_wait = trainer.world_size > 1 and not works_elsewhere(trainer)
            if not (self._left or others_wait):
                return work(lambda trials: iter(()))
            return self._runner.work(work, self._bar.update)
        finally:
            self._bar.close()
            if self._is_first:
                self._study.folder.export()
            if self._learns and (reused := len(self._reused)):
                self._say(f"Reused {reused:,} stored result{'s' * (reused > 1)}; computed {len(self._new):,}.")

    def _kept(self, evaluated: Iterable[tuple[Planned, list[list[Outcomes]]]]) -> list[Result]:
        results, corners, count = list[Result](), list[Result](), len(self._study.settings.corners) or 1
        for planned, chips in evaluated:
            result, is_reference = self._study.result(planned, chips, self._others), planned.kind in REFERENCES
            if is_reference:
                self._others[planned.kind] = result, chips[0][0]
            corners.append(result)
            if not is_reference and len(corners) < count:
                continue  # the corners of a point may be decided together
            for each in decided_together(corners):
                if self._is_first and planned.kind != "estimated":
                    self._study.folder.keep(each)
                results.append(each)
            corners = []
        return results

    def _missing_of(self, batch: Sequence[Planned]) -> list[bool]:
        """Which of the `_distinct` trials of some points are to be computed; only known in the first process."""
        if not self._is_first:
            return []
        trials, by_network = _distinct(batch), dict[Trials, list[Trial]]()
        for trial, planned in trials.items():
            by_network.setdefault(planned.of, []).append(trial)
        there = {each for of, some in by_network.items() for each in of.finished(some)}
        self._reused |= there - self._new
        return [trial not in there for trial in trials]

    def _looked_up(self, batch: Sequence[Planned]) -> list[bool]:
        missing = self._missing_of(batch)
        self._leave_out(sum(len(reads) for each in batch for reads in each.trials) - sum(missing))
        return missing

    def _evaluated(
        self, run: Compute, batch: Sequence[Planned], missing: list[bool]
    ) -> Iterator[tuple[Planned, list[list[Outcomes]]]]:
        """The outcomes of points by chip and read, in the order of the points."""
        todo = dict(compress(_distinct(batch).items(), self._work.agreed(missing)))
        done, over = dict[Trial, Outcomes](), set[Planned]()
        steps = (self._steps(*each) for each in list(todo.items()) if each[1] not in over)
        finished = run(steps)
        for planned in batch:
            chips: list[list[Outcomes]] = []
            for reads in planned.trials:
                chips.append([])
                for trial in reads:
                    while trial in todo and trial not in done:
                        done.update([next(finished)])
                    if todo.pop(trial, None) is None:  # this run does not compute it, or did for a point before
                        stored = planned.of.outcomes(trial) if self._is_first else None
                        done[trial] = self._work.agreed(stored)  # type: ignore[assignment]  # of the first process
                    chips[-1].append(done.pop(trial))
                if self._study.is_over(chips):
                    break
            over.add(planned)
            yield planned, chips
        for _ in finished:  # trials in progress when their point ended are stored too
            pass

    def _steps(self, trial: Trial, planned: Planned) -> Steps[Done]:
        """Compute a trial, unless another command has done it meanwhile."""
        self._study.weights.switch(checkpoint_of(planned.point))
        self._bar.set_description(str(trial), refresh=False)
        outcomes = yield from planned.of.steps(trial)
        if trial not in planned.of.computed:
            self._leave_out(1)
            return trial, outcomes
        self._left -= 1
        self._new.add(trial)
        if trial.kind == "simulated" and not self._is_time_said:
            self._seconds.append(outcomes.seconds)
            fewest = _OF_ALL_KINDS if self._likely else 1
            # said once, when the first trials tell it
            if line := time_left(self._seconds, self._left, self._runner.workers, fewest):
                self._is_time_said = True
                self._bar.clear()  # the line stands above the bar
                may_end = self._study.settings.until is not None or self._learns
                bound = "likely " if self._likely else "at most "
                self._say(f"time     {bound * may_end}{line}")
        return trial, outcomes

    def _leave_out(self, trials: int) -> None:
        """Remove trials that need no work from what is left."""
        self._left -= trials
        self._bar.leave_out(trials)


def _distinct(batch: Iterable[Planned]) -> dict[Trial, Planned]:
    """The trials of some points in order; of points that compute the same, the first one's."""
    first = dict[Trial, Planned]()
    for planned in batch:
        for trial in chain.from_iterable(planned.trials):
            first.setdefault(trial, planned)
    return first


def _reused_line(reused: int, left: int, may_end: bool) -> str:
    """A line on trials that are read and not computed; the seconds in the table include their earlier time."""
    rest = f"{'at most ' * may_end}{left:,}" if left else "nothing"
    return f"Reusing {reused:,} stored result{'s' * (reused > 1)}; {rest} to compute."


def time_left(seconds: Sequence[float], left: int, workers: int = 1, fewest: int = 1) -> str:
    """About how long the remaining trials take, from the seconds of at least `fewest` simulated ones after the first.

    Empty if there are too few measured trials, or if the time is short.
    """
    left_each = left / workers
    told = seconds if seconds and seconds[0] >= _LONG else seconds[1:]  # kernels are compiled in the first
    if len(told) < fewest or left_each * told[-1] < _LONG:
        return ""
    mean = sum(told) / len(told)
    several = f", by {workers:,} workers" if workers > 1 else ""
    rest = f"{left:,} more trial{'s' * (left != 1)}{several}"
    return f"about {duration(left_each * mean, 0)} for {rest}, as the last took {told[-1]:.1f} s"
