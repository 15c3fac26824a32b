"""The loader of training images: starts an epoch as late as possible, and goes on in the middle of one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch.utils.data import DataLoader

from asim_lightning.data.images import Sample


class TrainingLoader(DataLoader[Sample]):
    """Starts an epoch when its first batch is asked for, and knows how many batches of it were taken.

    Lightning calls ``iter`` on the training loader first and ``set_epoch`` on its sampler after that. Where a run is
    resumed, torch's own loader with workers would by then have begun epoch 0 again, its order and its augmentation.

    Lightning stores ``state_dict`` in a checkpoint. A run that is resumed in the middle of an epoch reads the rest of
    it: what comes after is a function of epoch and position alone.
    """

    _taken = 0
    _skipped = 0

    def state_dict(self) -> dict[str, int]:
        """Batches of the epoch that were taken; 0 at its end."""
        return {"batches": self._taken % max(1, len(self))}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Leave out so many batches of the epoch that comes next."""
        self._skipped = int(state["batches"])

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        self._taken, self._skipped = self._skipped, 0  # runs at the first next(), as the body of any generator
        if self._taken:
            self.sampler.skip(self._taken * (self.batch_size or 1))  # type: ignore[attr-defined]
        for batch in super().__iter__():
            self._taken += 1
            yield batch
