"""The loader of training images: starts an epoch as late as possible, and goes on in the middle of one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sized
from typing import Any, cast

from lightning.pytorch.utilities import rank_zero_info
from torch.utils.data import DataLoader

from asim_lightning.data.images import Sample


class TrainingLoader(DataLoader[Sample]):
    """Starts an epoch when its first batch is asked for, and knows how many batches of it were taken.

    Lightning calls ``iter`` on the training loader first and ``set_epoch`` on its sampler after that. Where a run is
    resumed, torch's own loader with workers would by then have begun epoch 0 again, its order and its augmentation.

    Lightning stores ``state_dict`` in a checkpoint. A run that is resumed in the middle of an epoch reads the rest of
    it: what comes after is a function of epoch and position, and of what `order` says.

    Attributes:
        held_out: Training images that are validated on, of those that there are.
    """

    held_out = 0
    _taken = 0
    _skipped = 0

    def order(self) -> dict[str, int]:
        """What decides which images each batch has."""
        return {
            "batch_size": self.batch_size or 1,
            "processes": getattr(self.sampler, "num_replicas", 1),
            "seed": getattr(self.sampler, "seed", 0),
            "held_out": self.held_out,
            "images": len(cast(Sized, self.dataset)),
        }

    def state_dict(self) -> dict[str, int]:
        """Batches of the epoch that were taken, 0 at its end, and its order."""
        return {"batches": self._taken % max(1, len(self)), **self.order()}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Leave out so many batches of the epoch that comes next.

        Raises:
            ValueError: Some were taken, and the others are not those that would have come.
        """
        differs = _differences(state, self.order())
        if differs and state["batches"]:
            raise ValueError(
                "A fit that goes on in the middle of an epoch must read its images in the order in which it began: "
                f"{differs}; set back what differs, it may change at an epoch's end"
            )
        if differs:
            others = "; epochs before were validated on other images" if "held_out" in differs else ""
            rank_zero_info(f"From this epoch on the training images come in another order: {differs}{others}")
        self._skipped = int(state["batches"])

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        self._taken, self._skipped = self._skipped, 0  # runs at the first next(), as the body of any generator
        if self._taken:
            self.sampler.skip(self._taken * (self.batch_size or 1))  # type: ignore[attr-defined]
        for batch in super().__iter__():
            self._taken += 1
            yield batch


def _differences(kept: Mapping[str, int], given: Mapping[str, int]) -> str:
    """In what two orders differ, in words; the number of images follows from how many are held out."""
    differ = [name for name, value in given.items() if kept.get(name, value) != value]
    if "held_out" in differ and "images" in differ:
        differ.remove("images")
    return ", ".join(f"{name.replace('images', 'training images')} {kept[name]}, got {given[name]}" for name in differ)
