"""Loaders of training samples that resume in the middle of an epoch: the package's, and a user's."""

from collections.abc import Callable, Iterator, Mapping, Sized
from contextlib import AbstractContextManager
from itertools import count
from typing import Any, cast

import torch
from lightning.fabric.utilities.data import sized_len
from lightning.pytorch.utilities import rank_zero_info
from torch.utils.data import DataLoader, IterableDataset, Sampler

from asim_lightning.data.datasets import Sample
from asim_lightning.data.draws import drawing_from, sample_keys
from asim_lightning.data.samplers import process_rank_and_count


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
        for batch in self._rest(self._taken):
            self._taken += 1
            yield batch

    def _rest(self, taken: int) -> Iterator[Any]:
        """The batches of an epoch after those that were taken."""
        if taken:
            self.sampler.skip(taken * (self.batch_size or 1))  # type: ignore[attr-defined]
        return super().__iter__()


class RepeatableLoader(TrainingLoader):
    """A user's training loader whose batches are a function of seed, epoch and number of the batch.

    The sampler draws from numbers of its own for each sample, the same in all processes, because a distributed sampler
    divides one order. Transforms that draw from torch have other numbers in each batch and process. Both leave torch's
    generator as it was. A resumed epoch is read from its start, and the batches that were taken before are left out.

    Attributes:
        seed: Decides order and draws.
    """

    def __init__(self, loader: DataLoader[Any], seed: int) -> None:
        """Take the data set, sampler and settings of a loader; `takes` says which loaders it can replace."""
        self.seed, self._epoch, self._passes = seed, 0, 0
        settings = settings_of(loader)
        name = "batch_sampler" if "batch_sampler" in settings else "sampler"
        self._order = _Order(settings[name], self._draws)
        super().__init__(loader.dataset, **{**settings, name: self._order})

    @staticmethod
    def takes(loader: Any) -> bool:
        """Whether a loader reads as torch's does, has a length, and has a data set that can be indexed."""
        if not isinstance(loader, DataLoader) or type(loader).__iter__ is not DataLoader.__iter__:
            return False
        is_indexed = loader.batch_sampler is not None and not isinstance(loader.dataset, IterableDataset)
        return is_indexed and sized_len(loader) is not None

    def set_epoch(self, epoch: int) -> None:
        """Begin an epoch, unless the loader is in it already."""
        self._order.set_epoch(epoch)
        if epoch != self._epoch:
            self._epoch, self._passes, self._taken, self._skipped = epoch, 0, 0, 0

    def order(self) -> dict[str, int]:
        """See `TrainingLoader.order`."""
        drawn: Any = self._order.sampler
        size, inner = getattr(drawn, "batch_size", None) or self.batch_size or 1, getattr(drawn, "sampler", drawn)
        found = {"batch_size": size, "processes": getattr(inner, "num_replicas", 1), "seed": self.seed}
        return {**found, "images": len(cast(Sized, self.dataset))}

    def state_dict(self) -> dict[str, int]:
        """The state of `TrainingLoader`, with the epoch and the passes that ended in it.

        The shorter of two loaders is passed several times.
        """
        return {**super().state_dict(), "epoch": self._epoch, "passes": self._passes}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """See `TrainingLoader.load_state_dict`."""
        super().load_state_dict(state)
        self._epoch, self._passes = state["epoch"], state["passes"]
        self._order.set_epoch(self._epoch)

    def _rest(self, taken: int) -> Iterator[Any]:
        rank, _ = process_rank_and_count()
        with self._draws(0, 1 + rank):  # workers are seeded from it
            batches = super()._rest(0)
        for number in count():
            with self._draws(number, 1 + rank):
                try:
                    batch = next(batches)
                except StopIteration:
                    return
            if number + 1 == len(self):  # Lightning may not ask for the end
                self._passes += 1
            if number >= taken:
                yield batch

    def _draws(self, number: int, stream: int) -> AbstractContextManager[None]:
        """Have torch draw for a sample of the order (stream 0) or for a batch of a process (stream 1 + rank)."""
        pass_of_stream = self._epoch + (self._passes << 24) + (stream << 40)
        seed, words = self.seed & 0xFFFFFFFF, (torch.tensor([each]) for each in (pass_of_stream, number))
        return drawing_from(int(sample_keys(seed, *words)))


class _Order(Sampler[Any]):
    """The samples of a user's sampler, or the batches of a batch sampler, each drawn from random numbers of its own."""

    def __init__(self, sampler: Any, draws: Callable[[int, int], AbstractContextManager[None]]) -> None:
        self.sampler, self._draws, self._generators = sampler, draws, list(_generators_of(sampler))

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[Any]:
        drawn = iter(self.sampler)
        for number in count():
            with self._draws(number, 0):
                for each in self._generators:
                    each.manual_seed(torch.initial_seed())
                try:
                    found = next(drawn)
                except StopIteration:
                    return
            yield found

    def set_epoch(self, epoch: int) -> None:
        """Pass the number of the epoch on to a distributed sampler."""
        for each in (self.sampler, getattr(self.sampler, "sampler", None)):
            if (begin := getattr(each, "set_epoch", None)) is not None:
                begin(epoch)


def _generators_of(sampler: Any) -> Iterator[torch.Generator]:
    """Generators of a sampler, and of the samplers in it."""
    for value in vars(sampler).values():
        if isinstance(value, torch.Generator):
            yield value
        elif isinstance(value, Sampler) or isinstance(getattr(value, "_sampler", None), Sampler):
            yield from _generators_of(value)  # `_sampler`: a data set of Lightning's that divides a sampler's samples


def settings_of(loader: DataLoader[Any]) -> dict[str, Any]:
    """The arguments that make a loader like another one, except its data set and its generator.

    The sampler has the generator already.
    """
    drawn: dict[str, Any] = {"sampler": loader.sampler, "drop_last": loader.drop_last, "batch_size": loader.batch_size}
    names = (
        "collate_fn", "num_workers", "pin_memory", "timeout", "worker_init_fn", "multiprocessing_context",
        "prefetch_factor", "persistent_workers", "in_order",
    )  # fmt: skip
    kept = {name: getattr(loader, name) for name in names}
    return {**kept, **(drawn if loader.batch_size is not None else {"batch_sampler": loader.batch_sampler})}


def _differences(kept: Mapping[str, int], given: Mapping[str, int]) -> str:
    """Settings in which two orders differ, in words; the number of images follows from `held_out`."""
    differ = [name for name, value in given.items() if kept.get(name, value) != value]
    if "held_out" in differ and "images" in differ:
        differ.remove("images")
    return ", ".join(f"{name.replace('images', 'training images')} {kept[name]}, got {given[name]}" for name in differ)
