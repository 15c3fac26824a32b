"""Finished trials of one network: any command finds them again by what they compute."""

from collections.abc import Iterable, Mapping
from copy import copy

import numpy as np
from numpy.typing import NDArray

from asim_lightning.evaluation.results import AxisValue, Kind, Outcomes, digest_of
from asim_lightning.evaluation.store import Store
from asim_lightning.exploration.axes import condition_at
from asim_lightning.exploration.fingerprint import Fingerprint
from asim_lightning.exploration.needed_images import Images
from asim_lightning.exploration.point import Points
from asim_lightning.exploration.runner import Evaluation, Steps, Trial, Work

Axes = Mapping[str, AxisValue]


class Trials:
    """The trials of a network with its weights, in the store or to be computed.

    Only the process of rank 0 reads and writes the store. Two commands at once may compute the same trial; the store
    keeps the first.

    Args:
        work: Network, data and trainer.
        store: The store.
        points: What each point computes.
        images: The images of each trial.
        made: The fingerprint of the network.
        token: A random text of this study, in the keys of trials that no other study may use.
    """

    def __init__(self, work: Work, store: Store, points: Points, images: Images, made: Fingerprint, token: str) -> None:
        self._work, self._store, self._points, self.images = work, store, points, images
        self._shared = digest_of([made.shared, token if made.never_again else ""])
        self.computed: dict[Trial, NDArray[np.int64]] = {}
        """The trials that this command computed, in whole or in part, each with the indices of its images."""

    def on(self, images: Images) -> "Trials":
        """The same trials on some images."""
        if images is self.images:
            return self
        other = copy(self)
        other.images = images
        return other

    def key(self, axes: Axes, kind: Kind) -> str:
        """Key of a point's trials, equal for points that compute the same."""
        return digest_of([self._shared, self._points.digest(axes, kind)])[:32]

    def of(self, axes: Axes, kind: Kind, reads: int = 1) -> list[Trial]:
        """The reads of a point on one chip."""
        key = self.key(axes, kind)
        return [Trial(key, read, axes, kind) for read in range(reads)]

    def finished(self, trials: Iterable[Trial]) -> set[Trial]:
        """The complete ones of some trials."""
        asked = {(each.key, each.read): each for each in trials}
        complete: dict[bytes, bool] = {}  # many trials have the same samples
        finished = set[Trial]()
        for key, read, samples in self._store.samples(key for key, _ in asked):
            trial = asked.get((key, read))
            if trial is None:
                continue
            if samples not in complete:
                complete[samples] = self.images.has_all(samples)
            may_count = complete[samples] or self.images.may_end(trial.kind)
            is_whole = complete[samples] and not self._work.fresh
            if is_whole or (may_count and self.images.asked(self._known(trial), trial.kind) is not None):
                finished.add(trial)
        return finished

    def outcomes(self, trial: Trial) -> Outcomes:
        """A finished trial on the needed images, also if a forked process computed it."""
        stored = self.images.asked(self._store.trial(trial.key, trial.read), trial.kind)
        if stored is None:
            raise ValueError(f"{trial} is not in {self._store.path}")
        return stored

    def steps(self, trial: Trial) -> Steps[Outcomes]:
        """Compute the missing part of a trial, and store it; its outcomes are the same on all processes."""
        axes = self._work.corners.network_at(trial.axes)
        condition = condition_at(axes, trial.kind, trial.read, self._work.noise_in)
        is_first = self._work.trainer.is_global_zero
        known = self._work.agreed(self._known(trial) if is_first else None)
        while (asked := self.images.asked(known, trial.kind)) is None:
            new = yield Evaluation(str(trial), condition, self.images.lacking(known, trial.kind))
            before = self.computed.get(trial, new.sample_index)
            self.computed[trial] = np.union1d(before, new.sample_index)
            if is_first:
                self._store.add(trial.key, trial.read, new, str(trial), replaces=self._work.fresh)
            known = new if known is None else new.joined(known)
        return asked

    def _known(self, trial: Trial) -> Outcomes | None:
        """The stored part of a trial that counts: without earlier commands' images if the work is fresh."""
        stored = self._store.trial(trial.key, trial.read)
        if not self._work.fresh or stored is None:
            return stored
        mine = self.computed.get(trial)
        return None if mine is None else stored.part(mine)
