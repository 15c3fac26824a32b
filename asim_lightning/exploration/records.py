"""The trials of one network on one set of data: stored ones, missing ones, and the table of the run."""

import json
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asim_lightning.classifier.outcome import right
from asim_lightning.data.given import GivenData
from asim_lightning.data.image_data_module import ImageDataModule
from asim_lightning.evaluation.binomial import hypergeometric_interval
from asim_lightning.evaluation.chip_yield import chip_yield, crossed_difference
from asim_lightning.evaluation.interval import Interval
from asim_lightning.evaluation.results import (
    AxisValue,
    Kind,
    Measure,
    Outcomes,
    Result,
    axes_text,
    canonical_json,
    digest_of,
    joined,
    part_of,
    result_of,
)
from asim_lightning.evaluation.run import RESULTS, SETTINGS, TRADED, Run, result_rows
from asim_lightning.evaluation.store import FileLocks, Store, unpacked
from asim_lightning.evaluation.target import Target
from asim_lightning.evaluation.whole_file import write_lines, write_whole
from asim_lightning.exploration.axes import condition_at, patterns_of
from asim_lightning.exploration.described_values import Contents
from asim_lightning.exploration.point import Points
from asim_lightning.exploration.runner import Evaluation, Steps, Work
from asim_lightning.exploration.trial_keys import fingerprint, idle_callbacks, images_are_apart

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
        self._trainer, self._model, self._data, self._fresh = work.trainer, work.model, work.data, work.fresh
        self.names, self._parent, self._what, self._until = list(names), Path(work.folder), what, until
        self._described, self._places = described, places
        self._columns = Contents()
        self.points = Points(work.model, self._columns, patterns_of(names))
        for kind in REFERENCES:
            self.points.add({}, kind)

    def open(self, has_table: bool = True) -> None:
        """Name the run, once the known points were worked out; `has_table`: these records write the run's table."""
        trainer, model, data, until = self._trainer, self._model, self._data, self._until
        settings, shared = fingerprint(model, data, trainer, self.names, self._columns)
        unknown = settings.get("without_fingerprint", ())
        images: NDArray[np.int64] | None = None
        if isinstance(data, (ImageDataModule, GivenData)) and images_are_apart(model, data, trainer):
            images = data.test_indices().numpy()
        if until is not None and model.outcome.number is not right:
            raise ValueError(f"'{until}' counts right answers, got the outcome {model.outcome.name}")
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
        self.settings: dict[str, Any] = {**settings, "axes": sorted(self.names), **self._described}
        if until is not None:
            self.settings["until"] = str(until)
        # without a complete fingerprint, trials must never be found again
        self._shared = digest_of([shared, secrets.token_hex() if unknown else ""])
        self.folder = self._parent / f"{self._what}-{digest_of(self.settings)[:8]}"
        self._keys: dict[str, str] = {}
        self._mine: set[tuple[str, int]] = set()  # stored by this command
        self._complete: dict[bytes, bool] = {}
        self._next_export = 0.0
        self.notes = list[str]()
        """Messages for the user before the points are evaluated, a line each."""
        if unknown:
            why = "; ".join(unknown)
            self.notes.append(f"no outcome of an earlier run is used, as this has no fingerprint: {why}")
        for name in idle_callbacks(trainer):
            self.notes.append(f"a {self._what} calls no hook of {name} for a test; asim test does")
        if trainer.is_global_zero:
            self.store, self._locks = Store(self._parent), FileLocks(self._parent / "runs.locks")
            if not has_table:
                return
            self.notes += self._of_other_versions()
            self.store.write(self.folder.name, SETTINGS, self.settings)
            text = json.dumps(self.settings, indent=2, sort_keys=True, default=str) + "\n"
            write_whole(self.folder / SETTINGS, lambda file: file.write(text.encode()))

    def key(self, axes: Axes, kind: Kind) -> str:
        """Key of a point's trials, equal for points that compute the same."""
        name = f"{kind} {canonical_json(axes)}"
        if name not in self._keys:
            self._keys[name] = digest_of([self._shared, self.points.digest(axes, kind)])[:32]
        return self._keys[name]

    def finished(self, keys: Iterable[str], kind: Kind) -> set[tuple[str, int]]:
        """Key and number of the complete trials of some keys."""
        return {
            (key, trial)
            for key, trial, samples in self.store.samples(keys)
            if self._counts(key, trial) and self._is_complete(key, trial, kind, samples)
        }

    def known(self, key: str, kind: Kind, trial: int) -> Outcomes | None:
        """A finished trial on the needed images; None if it is not finished."""
        return self._whole(self._stored(key, trial), kind)

    def outcomes(self, axes: Axes, kind: Kind, trial: int) -> Outcomes:
        """A finished trial on the needed images, also if a forked process computed it."""
        found = self._whole(self.store.trial(self.key(axes, kind), trial), kind)
        if found is None:
            raise ValueError(f"trial {trial} of {kind} at {axes_text(axes) or 'no axis'} is not in {self.store.path}")
        return found

    def reads(self, result: Result) -> list[Outcomes]:
        """The finished trials of a point on one chip."""
        return [self.outcomes(result.axes, result.kind, trial) for trial in range(result.trials)]

    def trial(self, axes: Axes, kind: Kind, trial: int) -> Steps:
        """Compute the missing part of a trial, and store it; its outcomes are the same on all processes."""
        key, name = self.key(axes, kind), trial_name(axes, kind, trial)
        condition = condition_at(axes, kind, trial)
        found = self._stored(key, trial) if self._trainer.is_global_zero else None
        if self._trainer.world_size > 1:
            found = self._trainer.strategy.broadcast(found)
        while found is None or self._lacking(found, kind).size:
            places: tuple[int, ...] | None = None
            is_part = self._places is not None or self._may_stop(kind)
            if self._needed is not None and (found is not None or is_part):
                lacking = np.arange(len(self._needed)) if found is None else self._lacking(found, kind)
                most = max(_LEAST, len(self._needed) // _PARTS) if self._may_stop(kind) else None
                places = tuple(self._order[lacking[:most]].tolist())
            new = yield Evaluation(name, condition, places)
            if self._trainer.is_global_zero:
                self.store.add(key, trial, new, name)
            found = new if found is None else joined(new, found)
        self._mine.add((key, trial))
        return self._asked(found, kind)

    def claim(self, key: str, trial: int, wait: bool) -> bool:
        """Lock a trial for this command, or wait for it; False if another command has it."""
        alone = self._trainer.world_size == 1  # processes of one command work on the same trial
        return not alone or self._locks.take(f"{key}-{trial}", wait)

    def release(self, key: str, trial: int) -> None:
        """Unlock a claimed trial."""
        if self._trainer.world_size == 1:
            self._locks.give(f"{key}-{trial}")

    def result(
        self, axes: Axes, kind: Kind, chips: Sequence[Sequence[Outcomes]], reference: Outcomes | None = None
    ) -> Result:
        """The result of a point from the reads of each chip, with its paired difference to the quantised network.

        The interval of the accuracy is over images, or over chips and images if there are several chips. If a target
        ended the images, it is the interval of the target's sequential test.
        """
        measure = Measure.of(self._model.outcome)
        found = result_of(axes, kind, [read for reads in chips for read in reads], measure)
        found = replace(found, point=self.key(axes, kind)[:12])
        if self._may_stop(kind) and self._needed is not None:
            sequence = hypergeometric_interval(sum(found.right), found.images, len(self._needed))
            found = replace(found, low=sequence.low, high=sequence.high)
        if len(chips) > 1:
            mean = chip_yield(axes, dict(enumerate(chips))).mean
            found = replace(found, low=min(mean.low, found.accuracy), high=max(mean.high, found.accuracy))
        if kind == "simulated" and reference is not None:
            found = replace(found, difference=paired_difference(chips, reference))
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
        return tuple(map(Result.of_json, self.store.points(self.folder.name)))

    def export(self) -> None:
        """Write results.csv: one row for each finished point of the run."""
        traded: dict[str, Any] = self.store.read(self.folder.name, TRADED) or {}
        traded = {name: tuple(values) for name, values in traded.items()}
        run = Run(self.folder, self.results(), **traded)
        write_lines(self.folder / RESULTS, result_rows(run, list(dict.fromkeys([*self.names, *run.axes]))), "\n")

    def _counts(self, key: str, trial: int) -> bool:
        return not self._fresh or (key, trial) in self._mine

    def _stored(self, key: str, trial: int) -> Outcomes | None:
        return self.store.trial(key, trial) if self._counts(key, trial) else None

    def _whole(self, found: Outcomes | None, kind: Kind) -> Outcomes | None:
        """A trial on the needed images; None if one is missing."""
        return None if found is None or self._lacking(found, kind).size else self._asked(found, kind)

    def _may_stop(self, kind: Kind) -> bool:
        return self._until is not None and kind == "simulated"

    def _is_complete(self, key: str, trial: int, kind: Kind, samples: bytes) -> bool:
        if self._may_stop(kind):
            return self.known(key, kind, trial) is not None
        if samples not in self._complete:
            self._complete[samples] = self._needed is None or bool(np.isin(self._needed, unpacked(samples)).all())
        return self._complete[samples]

    def _lacking(self, found: Outcomes, kind: Kind) -> NDArray[np.int64]:
        """Indices of needed images that a trial lacks; none once its target is answered."""
        return np.flatnonzero(~np.isin(self._wanted(found, kind), found.sample_index))

    def _asked(self, found: Outcomes, kind: Kind) -> Outcomes:
        return part_of(found, self._wanted(found, kind))

    def _wanted(self, found: Outcomes, kind: Kind) -> NDArray[np.int64]:
        """The images that a trial needs: all, or those after which the target is answered, if the known ones decide."""
        if self._needed is None:
            return found.sample_index
        if self._until is None or not self._may_stop(kind):
            return self._needed
        known = np.isin(self._needed, found.sample_index)
        seen = len(known) if known.all() else int(known.argmin())  # images in order, before the first gap
        first = np.searchsorted(found.sample_index, self._needed[:seen])
        return self._needed[: self._until.images(found.correct[first], len(self._needed))]

    def _of_other_versions(self) -> list[str]:
        """A line if the store has the same run by other versions; its trials are not used."""
        if list(self._parent.glob("records-*/trials")):
            return [f"trials of an earlier version in {self._parent}/records-* are not read; delete them to free space"]
        here, mine = self.settings["versions"], digest_of({**self.settings, "versions": None})
        for run, other in self.store.documents(SETTINGS).items():
            if run != self.folder.name and digest_of({**other, "versions": None}) == mine:
                there = other["versions"]
                changed = [each for each in {**here, **there} if here.get(each) != there.get(each)]
                return [f"{run} is the same {self._what} by another {', '.join(changed)}, whose trials are not used"]
        return []


def paired_difference(chips: Sequence[Sequence[Outcomes]], reference: Outcomes) -> Interval:
    """Accuracy of all reads of all chips minus a reference's on the same images; the reference may have more images."""
    same = part_of(reference, chips[0][0].sample_index).numbers
    return crossed_difference([np.stack([read.numbers for read in reads], axis=1) for reads in chips], same)


def trial_name(axes: Axes, kind: Kind, trial: int) -> str:
    """The name of a trial in messages, such as "simulated random_noise 0.3 trial 1"."""
    return f"{kind} {axes_text(axes)} trial {trial}" if axes else kind
