"""Which samples each process reads, for ``Trainer(use_distributed_sampler=False)``.

Lightning's own choice repeats samples in evaluation so that all ranks get equally many, which makes accuracies wrong
in the last digits; these samplers do not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sized
from typing import Any, cast

import torch.distributed
from torch.utils.data import Dataset, DistributedSampler, Sampler, SequentialSampler

from asim_lightning.data.draws import POSITION_BITS


def process_rank_and_count() -> tuple[int, int]:
    """This process's rank and how many there are: (0, 1) where torch.distributed is not initialised."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


class EpochSampler(DistributedSampler[Any]):
    """Yields positions with the epoch in their high bits, from which a data set in any worker takes it for its draws.

    Nothing is shared with the workers: what one of them prefetched for another epoch keeps that epoch.
    """

    _skipped = 0

    def skip(self, samples: int) -> None:
        """Leaves out the first `samples` of the next iteration, which a run that was stopped has read."""
        self._skipped = samples

    def __iter__(self) -> Iterator[int]:
        epoch, skipped = self.epoch << POSITION_BITS, self._skipped
        self._skipped = 0
        return iter([epoch + position for position in super().__iter__()][skipped:])


def training_sampler(
    dataset: Dataset[Any], seed: int, rank: int | None = None, world_size: int | None = None, with_epoch: bool = False
) -> DistributedSampler[Any]:
    """Yields all samples in random order, shared out over the ranks.

    The order is a function of seed and epoch, so a resumed run goes on as it would have. Lightning calls
    ``set_epoch``; a loop of one's own has to.

    Every rank gets equally many samples, as DDP needs, and none is read twice. Where the number of samples is
    not divisible, up to world_size - 1 of them, others in each epoch, are left out (``drop_last=True``).

    Args:
        dataset: Has a length.
        seed: The same on all ranks.
        rank: This process; None asks torch.distributed.
        world_size: Number of processes; None asks torch.distributed.
        with_epoch: Yield positions with their epoch, as this package's data sets read them (`EpochSampler`).

    Raises:
        ValueError: There are fewer samples than processes.
    """
    rank, world_size = _resolved(rank, world_size)
    _enough("Training", dataset, world_size)
    kind = EpochSampler if with_epoch else DistributedSampler
    return kind(dataset, num_replicas=world_size, rank=rank, shuffle=True, seed=seed, drop_last=world_size > 1)


def evaluation_sampler(dataset: Dataset[Any], rank: int | None = None, world_size: int | None = None) -> Sampler[Any]:
    """Yields every sample exactly once over all ranks, in order; ranks may differ by one sample.

    Args:
        dataset: Has a length.
        rank: This process; None asks torch.distributed.
        world_size: Number of processes; None asks torch.distributed.

    Raises:
        ValueError: There are fewer samples than processes, so one would wait for a batch that never comes.
    """
    rank, world_size = _resolved(rank, world_size)
    if world_size == 1:
        return SequentialSampler(cast(Sized, dataset))
    _enough("Evaluation", dataset, world_size)
    from lightning.pytorch.overrides.distributed import UnrepeatedDistributedSampler

    return UnrepeatedDistributedSampler(dataset, num_replicas=world_size, rank=rank, shuffle=False)


def _resolved(rank: int | None, world_size: int | None) -> tuple[int, int]:
    own_rank, processes = process_rank_and_count()
    return own_rank if rank is None else rank, processes if world_size is None else world_size


def _enough(what: str, dataset: Dataset[Any], world_size: int) -> None:
    length = len(cast(Sized, dataset))
    if length < world_size > 1:
        raise ValueError(f"{what} on {world_size} processes needs at least {world_size} samples, got {length}.")
