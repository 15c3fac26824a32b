"""The images of a study: which ones a trial needs, and which it lacks; a target may end them early."""

from dataclasses import dataclass, replace
from math import ceil

import numpy as np
from numpy.typing import NDArray

from asim_lightning.classifier.outcome import right
from asim_lightning.data.given import GivenData, groups_of
from asim_lightning.data.image_data_module import ImageDataModule
from asim_lightning.evaluation.results import Kind, Outcomes
from asim_lightning.evaluation.stored_rows import unpacked
from asim_lightning.evaluation.target import Target
from asim_lightning.exploration.fingerprint import images_are_apart
from asim_lightning.exploration.runner import Work

_ORDER = 0
"""Seed of the order of images that may end early."""
_LEAST, _PARTS = 25, 20
"""Least images of a part, and parts of a trial that may stop early."""
_FEWEST = 50
"""Least images of a share of them: intervals of fewer are too coarse."""


@dataclass(frozen=True, eq=False)
class Images:
    """The images that the trials of a study need.

    Attributes:
        needed: Index of each image, in the order in which trials take them; None: all images of the loader, whose
            answers may depend on each other.
        order: Place of each image in the loader, in the same order.
        is_part: Whether they are a part of the loader's images.
        until: A target that ends the images of each simulated trial when it is answered.
        groups: Group of each image by its index: images of a group belong together; None: each stands alone.
    """

    needed: NDArray[np.int64] | None
    order: NDArray[np.int64]
    is_part: bool = False
    until: Target | None = None
    groups: NDArray[np.int64] | None = None

    @classmethod
    def of(cls, work: Work, until: Target | None = None, places: range | None = None) -> "Images":
        """The images of a study at some places in the test loader; None: all.

        Raises:
            ValueError: The outcome or the data cannot end images early, or the data lacks a place.
        """
        data, model = work.data, work.model
        if until is not None and model.outcome.number is not right:
            raise ValueError(
                f"'{until}' ends images early, which only right or wrong answers can; leave it out for the outcome "
                f"{model.outcome.name}, whose targets are decided on all samples"
            )
        index: NDArray[np.int64] | None = None
        if isinstance(data, (ImageDataModule, GivenData)) and images_are_apart(model, data, work.trainer):
            index = data.test_indices().numpy()
        if until is not None and index is None:
            raise ValueError(
                f"'{until}' ends images early only with a data module of asim_lightning.data and all its test images, "
                f"got {type(data).__name__}"
            )
        count = 0 if index is None else len(index)
        if places is not None and count < places.stop:
            raise ValueError(
                f"a study of the images {places.start} to {places.stop - 1} needs a data module of "
                f"asim_lightning.data, or samples, of as many test images, got {count}"
            )
        order = np.arange(count) if until is None else np.random.default_rng(_ORDER).permutation(count)
        order = order if places is None else np.arange(count)[places]
        needed = None if index is None else index[order]
        return cls(needed, order, places is not None, until, groups_of(data.test_dataloader()))

    def part(self, share: float) -> "Images":
        """A share of them in random order, but at least 50; all if answers may depend on each other."""
        if self.needed is None or share >= 1.0:
            return self
        chosen = np.random.default_rng(_ORDER).permutation(len(self.needed))[
            : max(_FEWEST, ceil(share * len(self.needed)))
        ]
        return replace(self, needed=self.needed[chosen], order=self.order[chosen], is_part=True)

    def may_end(self, kind: Kind) -> bool:
        """Whether a target may end the images of a trial."""
        return self.until is not None and kind == "simulated"

    def has_all(self, samples: bytes) -> bool:
        """Whether packed indices of the store have all needed images."""
        return self.needed is None or bool(np.isin(self.needed, unpacked(samples)).all())

    def asked(self, trial: Outcomes | None, kind: Kind) -> Outcomes | None:
        """A trial on the needed images; None if it lacks one."""
        if trial is None:
            return None
        wanted = self._wanted(trial, kind)
        is_whole = np.isin(wanted, trial.sample_index).all()
        return trial.part(wanted).grouped(self.groups) if is_whole else None

    def _wanted(self, trial: Outcomes, kind: Kind) -> NDArray[np.int64]:
        """The images that a trial needs: all, or those after which the target is answered, if the known ones decide."""
        if self.needed is None:
            return trial.sample_index
        if self.until is None or not self.may_end(kind):
            return self.needed
        known = np.isin(self.needed, trial.sample_index)
        seen = len(known) if known.all() else int(known.argmin())  # images in order, before the first gap
        first = np.searchsorted(trial.sample_index, self.needed[:seen])
        return self.needed[: self.until.images(trial.numbers[first], len(self.needed))]

    def lacking(self, trial: Outcomes | None, kind: Kind) -> tuple[int, ...] | None:
        """Places of the next images that a trial lacks in the test loader; None: all images of the loader."""
        if self.needed is None or (trial is None and not self.is_part and not self.may_end(kind)):
            return None
        known = () if trial is None else trial.sample_index
        most = max(_LEAST, len(self.needed) // _PARTS) if self.may_end(kind) else None
        return tuple(self.order[~np.isin(self.needed, known)][:most].tolist())
