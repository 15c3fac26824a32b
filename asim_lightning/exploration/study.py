"""A study: points of a method, each evaluated under its conditions; no finished trial is lost or computed twice."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lightning.pytorch import LightningDataModule, Trainer

from asim_lightning.circuit import transfer
from asim_lightning.classifier.network import CimModule
from asim_lightning.evaluation.axis_settings import CHIP
from asim_lightning.evaluation.evaluate import EvaluationBar
from asim_lightning.evaluation.results import Decision, Kind, Outcomes, Result
from asim_lightning.evaluation.target import Target
from asim_lightning.exploration.estimate import time_left
from asim_lightning.exploration.methods import Method, Point
from asim_lightning.exploration.records import Records, paired_difference, trial_name
from asim_lightning.exploration.runner import Run, Runner, Steps, TrainerRunner
from asim_lightning.exploration.search_space import of_network
from asim_lightning.lightning_private import works_elsewhere
from asim_lightning.surgery import macro_layers

REFERENCES: tuple[Kind, ...] = ("float", "quantized")
"""The networks that simulated points are compared with."""
Place = tuple[int, int, int]
"""A trial: number of its point within a batch, of its chip, and of its read."""


@dataclass(frozen=True)
class Planned:
    """A point and its trials.

    Attributes:
        point: Value of each axis, as the method proposed it.
        kind: What computes the products.
        chips: The axes that decide outcomes, on each chip.
        reads: Reads of each chip.
        records: Records of its network.
    """

    point: Point
    kind: Kind
    chips: tuple[Point, ...]
    reads: int
    records: Records

    def key(self, chip: int) -> str:
        """Key of the trials of a chip."""
        return self.records.key(self.chips[chip], self.kind)


@dataclass(frozen=True)
class Work:
    """What a study works with.

    Attributes:
        trainer: Lightning trainer whose processes, device and precision are used.
        model: Converted classifier with its trained weights.
        data: Data module that is set up.
        runner: Who computes the trials.
        folder: Folder of the store.
        fresh: Whether trials of earlier commands do not count.
        load: Loads a checkpoint's weights into the model; None: there are no checkpoints.
    """

    trainer: Trainer
    model: CimModule
    data: LightningDataModule
    runner: Runner
    folder: Path
    fresh: bool = False
    load: Callable[[str], None] | None = None


class Study:
    """Evaluates points batch by batch: a grid is one batch, and a method that learns proposes one point after another.

    The work is the same on all processes of the trainer: rank 0 reads the store, and tells the others what is to be
    computed. A subclass says what the trials of a point are, and what comes of their outcomes.

    Args:
        trainer: Lightning trainer whose processes, device and precision are used.
        model: Converted classifier with its trained weights.
        data: Data module that is set up; the images of its test loader are evaluated.
        runner: Who computes the trials; None: the trainer's processes.

    Raises:
        ValueError: No layer is on a macro.
    """

    may_end = False
    """Whether outcomes decide how much is computed."""
    chips_may_end = False
    """Whether `is_over` may end the chips of a point."""
    records: Records
    """Records that have the table of the run."""

    def __init__(
        self, trainer: Trainer, model: CimModule, data: LightningDataModule, runner: Runner | None = None
    ) -> None:
        if not macro_layers(model.backbone):
            raise ValueError(
                "A sweep or search needs a network with layers on a macro, got one without; set `model.plan`, or call "
                "convert_ in Python"
            )
        self.trainer, self.model, self.data = trainer, model, data
        self.runner: Runner = runner or TrainerRunner(trainer, model, data)
        self.references: dict[Kind, tuple[Result, Outcomes]] = {}
        """The float and the quantised network, once they are evaluated."""

    def planned(self, point: Point) -> Planned:
        """The trials of a point that the method has proposed."""
        raise NotImplementedError

    def on_chips(self, point: Point, records: Records, chips: Sequence[int], reads: int) -> Planned:
        """The trials of a point, on each chip if chips differ; several reads if it is noisy.

        Args:
            point: The point, as the method proposed it.
            records: Records of its network.
            chips: Numbers of the chips.
            reads: Reads of each chip.
        """
        axes = of_network(point)
        is_noisy = records.points.add(axes, "simulated")
        places: tuple[Point, ...] = (axes,)
        if any(transfer(macro, False).differs_by_chip for macro in records.points.macros(axes)):
            places = tuple({**axes, CHIP: number} for number in chips)
            for each in places:
                records.points.add(each, "simulated")
        return Planned(point, "simulated", places, reads if is_noisy else 1, records)

    def told(self, planned: Planned, chips: list[list[Outcomes]]) -> list[Result]:
        """The results of a point from its outcomes by chip and read; called once a point, in order."""
        raise NotImplementedError

    def is_over(self, planned: Planned, chips: Sequence[Sequence[Outcomes]]) -> bool:
        """Whether the chips of a point so far, by chip and read, are enough."""
        return False

    def decision(
        self, target: Target, result: Result, chips: Sequence[Sequence[Outcomes]], most: int | None
    ) -> Decision:
        """Whether a point keeps a target, which may be a share of a network that is evaluated.

        Args:
            target: The target.
            result: The point.
            chips: Its outcomes by chip and read.
            most: Images that there are; None: more of them would not decide.
        """
        reference, outcomes = self.references[target.of] if target.of else (None, None)
        paired = None if outcomes is None else paired_difference(chips, outcomes)
        return target.decide(result, reference, most, paired)

    def load(self, planned: Planned) -> None:
        """Bring the weights of a point's network, if points have different ones."""

    def evaluate(
        self, first: Sequence[Planned], method: Method, most: int, progress: bool, say: Callable[[str], None]
    ) -> list[Result]:
        """Evaluate what is not finished yet, and keep the results.

        Args:
            first: Points that are evaluated first, and that the method does not know.
            method: Proposes the other points.
            most: Trials at most, if the method does not know its points.
            progress: Whether a progress bar is shown.
            say: Takes a line on trials of an earlier run, and one on the time that is left.

        Returns:
            The results, in order; in the first process only.
        """
        is_first = self.trainer.is_global_zero
        batch = [*first, *map(self.planned, method.known or ())]
        self._asked: set[tuple[str, int]] = set()
        self._read = self._computed = 0
        todo = self._missing(batch) if is_first else set()
        self._learns = method.known is None
        self._left = len(todo) + (most if self._learns else 0)
        self._bar = EvaluationBar(
            self._left, self.data.test_dataloader(), progress and is_first and self._left > 0, self.trainer.world_size
        )
        self._say = self._bar.above(say)
        self._seconds, self._is_time_said = list[float](), False
        if self._read and not self._learns:
            say(_record_line(self._read, self._left, self.may_end))

        def work(run: Run) -> list[Result]:
            results = self._kept(self._evaluated(run, batch, todo))
            while self._learns and (point := method.ask()) is not None:
                results += self._kept(self._evaluated(run, [self.planned(point)]))
            return results

        try:
            if not (todo or self._learns or self._others_wait()):
                return work(lambda trials: iter(()))
            return self.runner.work(work, self._bar.advance)
        finally:
            self._bar.close()
            if is_first:
                self.records.export()
            if self._learns and self._read:
                asked = self._read + self._computed
                say(f"record   {self._read:,} of {asked:,} trials are of an earlier run, seconds too")

    def _kept(self, evaluated: Iterable[tuple[Planned, list[list[Outcomes]]]]) -> list[Result]:
        found = list[Result]()
        for planned, chips in evaluated:
            results = self.told(planned, chips)
            if planned.kind != "simulated":
                self.references[planned.kind] = results[0], chips[0][0]
            if self.trainer.is_global_zero:
                for each in results:
                    self.records.keep(each)
            found += results
        return found

    def _others_wait(self) -> bool:
        """Whether other processes run the same program and meet this one here; forked ones begin with the work."""
        return self.trainer.world_size > 1 and not works_elsewhere(self.trainer)

    def _missing(self, batch: Sequence[Planned]) -> set[Place]:
        """Trials to compute: of points that compute the same, those of the first only. The others are counted."""
        keys: dict[tuple[int, Kind], list[str]] = {}
        for planned in batch:
            keys.setdefault((id(planned.records), planned.kind), []).extend(map(planned.key, range(len(planned.chips))))
        records = {id(planned.records): planned.records for planned in batch}
        there: set[tuple[str, int]] = set()
        for (which, kind), some in keys.items():
            there |= records[which].finished(some, kind)
        missing = set()
        for number, planned in enumerate(batch):
            for chip in range(len(planned.chips)):
                for read in range(planned.reads):
                    trial = planned.key(chip), read
                    if trial not in there:
                        there.add(trial)
                        missing.add((number, chip, read))
                    elif trial not in self._asked:  # else it is of this run
                        self._read += 1
                    self._asked.add(trial)
        return missing

    def _evaluated(
        self, run: Run, batch: Sequence[Planned], todo: set[Place] | None = None
    ) -> Iterator[tuple[Planned, list[list[Outcomes]]]]:
        """The outcomes of points by chip and read, in the order of the points."""
        if todo is None:
            todo = self._missing(batch) if self.trainer.is_global_zero else set()
            for _ in range(sum(len(each.chips) * each.reads for each in batch) - len(todo)):
                self._left -= 1
                self._bar.leave_out()
        if self.trainer.world_size > 1:
            todo = self.trainer.strategy.broadcast(todo)
        found: dict[Place, Outcomes] = {}
        over: set[int] = set()
        finished = self._computed_by(run, batch, todo, over)

        def outcomes_of(place: Place) -> Outcomes:
            while place in todo and place not in found:
                other, outcomes = next(finished)
                found[other] = outcomes
            return found.pop(place) if place in found else self._known(batch[place[0]], place)

        for number, planned in enumerate(batch):
            chips: list[list[Outcomes]] = []
            for chip in range(len(planned.chips)):
                chips.append([outcomes_of((number, chip, read)) for read in range(planned.reads)])
                if self.is_over(planned, chips):
                    break
            over.add(number)
            yield planned, chips
        for _ in finished:  # trials that were under way when their point ended are kept too
            pass

    def _computed_by(
        self, run: Run, batch: Sequence[Planned], todo: set[Place], over: set[int]
    ) -> Iterator[tuple[Place, Outcomes]]:
        """The outcomes of the missing trials, as soon as each is there, without those of points that are over."""
        later: list[Place] = []
        yield from run(self._trials(batch, todo, over, later))
        for place in later:  # one at a time: a command that waits for another one holds no trial itself
            if place[0] not in over:
                yield from run(self._claimed(batch[place[0]], place, wait=True))

    def _trials(
        self, batch: Sequence[Planned], todo: set[Place], over: set[int], later: list[Place]
    ) -> Iterator[tuple[Place, Steps]]:
        """The trials to compute; those that another command has go to `later`."""
        for place in sorted(todo):
            if place[0] in over:
                continue
            planned = batch[place[0]]
            claimed = list(self._claimed(planned, place, wait=False))
            if not claimed:
                later.append(place)
            yield from claimed

    def _claimed(self, planned: Planned, place: Place, wait: bool) -> Iterable[tuple[Place, Steps]]:
        """A trial that no other command computes; none if one does."""
        _, chip, read = place
        key, records = planned.key(chip), planned.records
        # chips are decided on in their order, so that none of them is left for later
        is_claimed = records.claim(key, read, wait or (self.chips_may_end and self.runner.workers == 1))
        if not is_claimed and not self.chips_may_end:
            return
        self.load(planned)
        self._bar.describe(trial_name(planned.chips[chip], planned.kind, read))

        def steps() -> Steps:
            try:
                known = records.known(key, planned.kind, read) if self.trainer.world_size == 1 else None
                if known is not None:  # another command has computed it
                    self._bar.leave_out()
                found = (yield from records.trial(planned.chips[chip], planned.kind, read)) if known is None else known
                self._count(planned, found, known is None)
                return found
            finally:
                if is_claimed:
                    records.release(key, read)

        yield place, steps()

    def _count(self, planned: Planned, found: Outcomes, is_new: bool) -> None:
        self._left -= 1
        self._computed += is_new
        if planned.kind != "simulated" or not is_new or self._is_time_said:
            return
        self._seconds.append(found.seconds)
        if line := time_left(self._seconds, self._left, self.runner.workers):  # once the first trials tell it
            self._is_time_said = True
            self._say(f"time     {'at most ' * (self.may_end or self._learns)}{line}")

    def _known(self, planned: Planned, place: Place) -> Outcomes:
        """A trial that is there already, the same on all processes."""
        _, chip, read = place
        found = None
        if self.trainer.is_global_zero:
            found = planned.records.outcomes(planned.chips[chip], planned.kind, read)
        if self.trainer.world_size > 1:
            found = self.trainer.strategy.broadcast(found)
        if found is None:
            raise RuntimeError(f"rank 0 sent no outcomes of {trial_name(planned.chips[chip], planned.kind, read)}")
        return found


def _record_line(read: int, left: int, may_end: bool) -> str:
    """That trials are read and not computed, as their time in the table is not spent here."""
    if left:
        computed = f"{'at most ' * may_end}{left:,} are computed"
        return f"record   {read:,} of {read + left:,} trials are of an earlier run, seconds too; {computed}"
    return f"record   all {read:,} trials are of an earlier run, seconds too; nothing is computed"
