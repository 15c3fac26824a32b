"""The trials of one network on one set of data: stored ones, missing ones, and the table of the run."""

import json
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asim_lightning.classifier.outcome import right
from asim_lightning.data.given import GivenData
from asim_lightning.data.image_data_module import ImageDataModule
from asim_lightning.evaluation.binomial import hypergeometric_interval
from asim_lightning.evaluation.chip_yield import crossed_difference, crossed_interval
from asim_lightning.evaluation.interval import NO_DIFFERENCE, Interval
from asim_lightning.evaluation.results import (
    AxisValue,
    Kind,
    Measure,
    Outcomes,
    Result,
    canonical_json,
    digest_of,
    stacked,
)
from asim_lightning.evaluation.run import RESULTS, SETTINGS, TRADED, Run, result_rows
from asim_lightning.evaluation.store import FileLocks, Store, unpacked
from asim_lightning.evaluation.target import Target
from asim_lightning.exploration.axes import condition_at, patterns_of
from asim_lightning.exploration.fingerprint import Fingerprint, fingerprint, idle_callbacks, images_are_apart
from asim_lightning.exploration.point import Points
from asim_lightning.exploration.runner import Evaluation, Steps, Trial, Work
from asim_lightning.whole_file import write_lines, write_whole

ANSWERS = "answers"
"""Name of the documents with the answers of networks to their probes."""
REFERENCES: tuple[Kind, ...] = ("float", "quantized")
_ORDER = 0
"""Seed of the order of images that may end early."""
_LEAST, _PARTS = 25, 20
"""Least images of a part, and parts of a trial that may stop early."""
_PAUSE, _SHARE = 5.0, 20
"""Pause between two exports of the table: at least so many seconds, and so many times the last export."""

Axes = Mapping[str, AxisValue]


class Records:
    """Finished trials of one network; any command finds them again by what they computed.

    Only the process of rank 0 reads and writes the store.

    Args:
        work: Network, data and trainer, and the folder of the store.
        names: Names of the axes.
        what: Kind of the run, such as sweep or search.
        until: A target that ends the images of each simulated point when it is answered.
        described: Other settings that name the run's folder, and decide no outcome.
        places: Indices of the images to evaluate in the test loader; None: all.
    """

    def __init__(
        self,
        work: Work,
        names: Sequence[str],
        what: str,
        until: Target | None = None,
        described: Mapping[str, object] = {},
        places: range | None = None,
    ) -> None:
        if until is not None and work.model.outcome.number is not right:
            raise ValueError(
                f"'{until}' ends images early, which only right or wrong answers can; leave it out for the outcome "
                f"{work.model.outcome.name}, whose targets are decided on all samples"
            )
        self._work, self._fresh = work, work.fresh
        self.names, self._parent, self._what, self._until = list(names), Path(work.folder), what, until
        self._described, self._places = described, places
        self.points = Points(work.model, patterns_of(names), work.noise_in)
        for kind in REFERENCES:
            self.points.add({}, kind)

    def open(self, has_table: bool = True, knows_exact: bool = True) -> None:
        """Name the run, once the known points were worked out.

        Args:
            has_table: Whether these records write the run's table, and the run's references have their weights.
            knows_exact: Whether a point that surely equals the quantised network differs from it by exactly 0.
        """
        self._knows_exact = has_table and knows_exact
        trainer, model, data, until = self._work.trainer, self._work.model, self._work.data, self._until
        made = fingerprint(model, data, trainer, self.names)
        images: NDArray[np.int64] | None = None
        if isinstance(data, (ImageDataModule, GivenData)) and images_are_apart(model, data, trainer):
            images = data.test_indices().numpy()
        if until is not None and images is None:
            raise ValueError(
                f"'{until}' ends images early only with a data module of asim_lightning.data and all its test images, "
                f"got {type(data).__name__}"
            )
        count = 0 if images is None else len(images)
        if self._places is not None and count < self._places.stop:
            raise ValueError(
                f"a study of the images {self._places.start} to {self._places.stop - 1} needs a data module of "
                f"asim_lightning.data, or samples, of as many test images, got {count}"
            )
        self._order = np.arange(count) if until is None else np.random.default_rng(_ORDER).permutation(count)
        self._order = self._order if self._places is None else np.arange(count)[self._places]
        self._needed = None if images is None else images[self._order]
        self.settings: dict[str, Any] = {**made.settings, "axes": sorted(self.names), **self._described}
        if until is not None:
            self.settings["until"] = str(until)
        if self._work.noise_in != "written":
            self.settings["noise_in"] = self._work.noise_in
        # if the network answers otherwise each time, trials must never be found again
        repeats = made.answers is None or made.answers.repeat
        self._shared = digest_of([made.shared, "" if repeats else secrets.token_hex()])
        self.folder = self._parent / f"{self._what}-{digest_of(self.settings)[:8]}"
        self.computed = set[Trial]()
        """The trials that this command computed, in whole or in part."""
        self._next_export = 0.0
        self.notes = list[str]()
        """Messages for the user before the points are evaluated, a line each."""
        if not repeats:
            self.notes.append(
                "store    the float network gives other answers at a second call, so no trial of another run is used"
            )
        for name in idle_callbacks(trainer):
            self.notes.append(f"a {self._what} calls no hook of {name} for a test; asim test does")
        if trainer.is_global_zero:
            self.store, self._locks = Store(self._parent), FileLocks(self._parent / "runs.locks")
            if not has_table:
                return
            self.notes += self._changes(made)
            self.store.write(self.folder.name, SETTINGS, self.settings)
            text = json.dumps(self.settings, indent=2, sort_keys=True, default=str) + "\n"
            write_whole(self.folder / SETTINGS, lambda file: file.write(text.encode()))

    def _changes(self, made: Fingerprint) -> Iterator[str]:
        """A line if the trials of earlier commands have other keys only because of a version, processor or object."""
        if (earlier := self.store.earlier_version) is not None:
            yield f"store    trials of version {earlier} stay in {self.store.path}, and are not read"
        now, last = made.answers, self.store.read(ANSWERS, made.by_values)
        if now is None or not now.repeat:
            return
        if last is not None and last["digest"] != now.digest:
            why = "an object, file or variable that it uses has changed"
            if last["processor"] != now.processor:
                why = f"{now.processor} rounds in another way than {last['processor']}"
            yield f"store    the network answers otherwise than in its last run, so all is computed again: {why}"
        self.store.write(ANSWERS, made.by_values, asdict(now))

    def key(self, axes: Axes, kind: Kind) -> str:
        """Key of a point's trials, equal for points that compute the same."""
        return digest_of([self._shared, self.points.digest(axes, kind)])[:32]

    def trials(self, axes: Axes, kind: Kind, reads: int = 1) -> list[Trial]:
        """The reads of a point on one chip."""
        key = self.key(axes, kind)
        return [Trial(key, read, axes, kind) for read in range(reads)]

    def finished(self, trials: Iterable[Trial]) -> set[Trial]:
        """The complete ones of some trials."""
        asked = {(each.key, each.read): each for each in trials}
        complete: dict[bytes, bool] = {}  # many trials have the same samples
        found = set()
        for key, read, samples in self.store.samples(key for key, _ in asked):
            trial = asked.get((key, read))
            if trial is None or not self._may_use(trial):
                continue
            if samples not in complete:
                complete[samples] = self._needed is None or bool(np.isin(self._needed, unpacked(samples)).all())
            if complete[samples] or (
                self._may_stop(trial.kind) and self._asked(self.store.trial(key, read), trial.kind)
            ):
                found.add(trial)
        return found

    def outcomes(self, trial: Trial) -> Outcomes:
        """A finished trial on the needed images, also if a forked process computed it."""
        found = self._asked(self.store.trial(trial.key, trial.read), trial.kind)
        if found is None:
            raise ValueError(f"{trial} is not in {self.store.path}")
        return found

    def reads(self, result: Result) -> list[Outcomes]:
        """The finished trials of a point on one chip."""
        return [self.outcomes(trial) for trial in self.trials(result.axes, result.kind, result.trials)]

    def steps(self, trial: Trial) -> Steps[Outcomes]:
        """Compute the missing part of a trial, and store it; its outcomes are the same on all processes."""
        condition = condition_at(trial.axes, trial.kind, trial.read, self._work.noise_in)
        is_first = self._work.trainer.is_global_zero
        is_known = is_first and self._may_use(trial)
        found = self._work.agreed(self.store.trial(trial.key, trial.read) if is_known else None)
        while (asked := self._asked(found, trial.kind)) is None:
            new = yield Evaluation(str(trial), condition, self._lacking(found, trial.kind))
            self.computed.add(trial)
            if is_first:
                self.store.add(trial.key, trial.read, new, str(trial))
            found = new if found is None else new.joined(found)
        return asked

    def claim(self, trial: Trial, wait: bool) -> bool:
        """Lock a trial for this command, or wait for it; False if another command has it."""
        alone = self._work.trainer.world_size == 1  # processes of one command work on the same trial
        return not alone or self._locks.take(f"{trial.key}-{trial.read}", wait)

    def release(self, trial: Trial) -> None:
        """Unlock a claimed trial."""
        if self._work.trainer.world_size == 1:
            self._locks.give(f"{trial.key}-{trial.read}")

    def result(
        self, axes: Axes, kind: Kind, chips: Sequence[Sequence[Outcomes]], reference: Outcomes | None = None
    ) -> Result:
        """The result of a point from the reads of each chip, with its paired difference to the quantised network.

        The interval of the accuracy is over images, or over chips and images if there are several chips. If a target
        ended the images, it is the interval of the target's sequential test.
        """
        measure = Measure.of(self._work.model.outcome)
        found = Result.of(axes, kind, [read for reads in chips for read in reads], measure)
        found = replace(found, point=self.key(axes, kind)[:12])
        if self._may_stop(kind) and self._needed is not None:
            sequence = hypergeometric_interval(sum(found.right), found.images, len(self._needed))
            found = replace(found, low=sequence.low, high=sequence.high, differing=None)
        if len(chips) > 1:
            mean = crossed_interval(list(map(stacked, chips)), measure.is_share)
            ends = min(mean.low, found.accuracy), max(mean.high, found.accuracy)
            found = replace(found, low=ends[0], high=ends[1], differing=mean.differing)
        if kind == "simulated" and reference is not None:
            same = reference.part(chips[0][0].sample_index).value
            is_equal = all(np.array_equal(read.value, same) for reads in chips for read in reads)
            # numbers without bounds have no other interval if none differs
            is_exact = is_equal and (self._knows_exact or not measure.is_share) and self.points.is_quantized(axes)
            difference = NO_DIFFERENCE if is_exact else paired_difference(chips, reference, measure)
            found = replace(found, difference=difference)
        return found

    def keep(self, result: Result) -> None:
        """Store the result of a point, and write the run's table now and then; on rank 0."""
        point = canonical_json({"axes": result.axes, "kind": result.kind})
        self.store.keep_point(self.folder.name, point, result.trials, asdict(result))
        if (start := time.monotonic()) >= self._next_export:
            self.export()
            end = time.monotonic()
            self._next_export = end + max(_PAUSE, _SHARE * (end - start))

    def results(self) -> tuple[Result, ...]:
        """The finished points of the run, in the order in which they were first finished."""
        try:
            return tuple(map(Result.of_json, self.store.points(self.folder.name)))
        except (LookupError, TypeError, AttributeError) as error:
            raise self.store.set_aside(error) from error

    def export(self) -> None:
        """Write results.csv: one row for each finished point of the run."""
        traded: dict[str, Any] = self.store.read(self.folder.name, TRADED) or {}
        traded = {name: tuple(values) for name, values in traded.items()}
        run = Run(self.folder, self.results(), **traded)
        write_lines(self.folder / RESULTS, result_rows(run, list(dict.fromkeys([*self.names, *run.axes]))), "\n")

    def _may_use(self, trial: Trial) -> bool:
        """Whether the stored part of a trial counts."""
        return not self._fresh or trial in self.computed

    def _may_stop(self, kind: Kind) -> bool:
        return self._until is not None and kind == "simulated"

    def _asked(self, found: Outcomes | None, kind: Kind) -> Outcomes | None:
        """A trial on the needed images; None if it lacks one."""
        if found is None:
            return None
        wanted = self._wanted(found, kind)
        return found.part(wanted) if np.isin(wanted, found.sample_index).all() else None

    def _wanted(self, found: Outcomes, kind: Kind) -> NDArray[np.int64]:
        """The images that a trial needs: all, or those after which the target is answered, if the known ones decide."""
        if self._needed is None:
            return found.sample_index
        if self._until is None or not self._may_stop(kind):
            return self._needed
        known = np.isin(self._needed, found.sample_index)
        seen = len(known) if known.all() else int(known.argmin())  # images in order, before the first gap
        first = np.searchsorted(found.sample_index, self._needed[:seen])
        return self._needed[: self._until.images(found.numbers[first], len(self._needed))]

    def _lacking(self, found: Outcomes | None, kind: Kind) -> tuple[int, ...] | None:
        """Places of the next images that a trial lacks in the test loader; None: all images of the loader."""
        may_stop = self._may_stop(kind)
        if self._needed is None or (found is None and self._places is None and not may_stop):
            return None
        known = () if found is None else found.sample_index
        most = max(_LEAST, len(self._needed) // _PARTS) if may_stop else None
        return tuple(self._order[~np.isin(self._needed, known)][:most].tolist())


def paired_difference(chips: Sequence[Sequence[Outcomes]], reference: Outcomes, measure: Measure) -> Interval:
    """Mean of all reads of all chips minus a reference's on the same images; the reference may have more images."""
    same = reference.part(chips[0][0].sample_index).numbers
    return crossed_difference(list(map(stacked, chips)), same, measure.is_share)
