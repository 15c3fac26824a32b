"""Loaders of training samples that resume in the middle of an epoch: the package's, and a user's."""

from collections.abc import Iterator, Mapping, Sized
from itertools import count
from typing import Any, cast

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch.utils.data import DataLoader

from asim_lightning.data.datasets import Sample
from asim_lightning.data.draws import sample_keys


class TrainingLoader(DataLoader[Sample]):
    """Starts an epoch when its first batch is asked for, and counts the batches taken from it.

    Lightning first calls ``iter`` on the training loader, then ``set_epoch`` on its sampler. When a run resumes,
    torch's own loader with workers would by then have started epoch 0 again, with its order and augmentation.

    Lightning stores ``state_dict`` in a checkpoint. A run that resumes in the middle of an epoch reads the rest of it.
    The next images depend only on the epoch, on how much was read, and on the settings in `order`.

    Attributes:
        held_out: Number of training images held out for validation.
    """

    held_out = 0
    _taken = 0
    _skipped = 0

    def order(self) -> dict[str, int]:
        """The settings that decide which images are in each batch."""
        return {
            "batch_size": self.batch_size or 1,
            "processes": getattr(self.sampler, "num_replicas", 1),
            "seed": getattr(self.sampler, "seed", 0),
            "held_out": self.held_out,
            "images": len(cast(Sized, self.dataset)),
        }

    def state_dict(self) -> dict[str, int]:
        """Batches taken in the epoch, 0 at its end, and the settings in `order`."""
        return {"batches": self._taken % max(1, len(self)), **self.order()}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Skip the batches of the next epoch that were taken before.

        Raises:
            ValueError: Some were taken, and the rest of the epoch would come in another order.
        """
        differs = _differences(state, self.order())
        if differs and state["batches"]:
            raise ValueError(
                "A fit that continues in the middle of an epoch must read its images in the order in which it began: "
                f"{differs}; restore these settings, which may change only between epochs"
            )
        if differs:
            others = "; earlier epochs were validated on other images" if "held_out" in differs else ""
            rank_zero_info(f"From this epoch on the training images come in another order: {differs}{others}")
        self._skipped = int(state["batches"])

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        self._taken, self._skipped = self._skipped, 0  # runs at the first next(), like the body of any generator
        if self._taken:
            self.sampler.skip(self._taken * (self.batch_size or 1))  # type: ignore[attr-defined]
        for batch in super().__iter__():
            self._taken += 1
            yield batch


class RepeatableLoader(DataLoader[Any]):
    """A user's training loader whose batches come out the same in a fit that is resumed.

    torch is seeded by seed, epoch and number of each batch before the batch is read, and the loader's own generator by
    its seed and the epoch. So the order of a shuffled sampler,
    and transforms that draw from torch, do not depend on what ran before. A resumed epoch is read from its start, and
    the batches that were taken before are left out. Lightning stores ``state_dict`` in a checkpoint.
    """

    _seed: int | None = None
    _epoch = -1
    _taken = 0
    _skipped = 0

    def state_dict(self) -> dict[str, int | None]:
        """Seed, and epoch and number of the next batch."""
        is_over = self._taken >= len(self)
        return {"seed": self._seed, "epoch": self._epoch + is_over, "batches": 0 if is_over else self._taken}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue with the batch of a state."""
        self._seed, self._epoch, self._skipped = state["seed"], state["epoch"] - 1, state["batches"]

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        self._epoch += 1  # runs at the first next(), like the body of any generator
        self._taken, self._skipped = self._skipped, 0
        if self._seed is None:
            self._seed = (self.generator or torch.default_generator).initial_seed() & 0xFFFFFFFF
        before, key = self._taken, self._draw_for(0)
        if self.generator is not None:
            self.generator.manual_seed(key)
        batches = super().__iter__()
        for number in count():
            self._draw_for(number)
            try:
                batch = next(batches)
            except StopIteration:
                return
            if number >= before:
                self._taken += 1
                yield batch

    def _draw_for(self, batch: int) -> int:
        key = int(sample_keys(self._seed or 0, torch.tensor([self._epoch]), torch.tensor([batch])))
        torch.manual_seed(key)
        return key


def _differences(kept: Mapping[str, int], given: Mapping[str, int]) -> str:
    """Settings in which two orders differ, in words; the number of images follows from `held_out`."""
    differ = [name for name, value in given.items() if kept.get(name, value) != value]
    if "held_out" in differ and "images" in differ:
        differ.remove("images")
    return ", ".join(f"{name.replace('images', 'training images')} {kept[name]}, got {given[name]}" for name in differ)
