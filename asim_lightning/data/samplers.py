"""Which samples each process reads, for ``Trainer(use_distributed_sampler=False)``.

Lightning's samplers repeat samples in evaluation so that all ranks get equally many. This makes the last digits of
accuracies wrong; these samplers repeat none.
"""

from collections.abc import Iterator, Sized
from typing import Any, cast

import torch.distributed
from torch.utils.data import Dataset, DistributedSampler, Sampler, SequentialSampler

from asim_lightning.data.draws import POSITION_BITS


def process_rank_and_count() -> tuple[int, int]:
    """Rank of this process and number of processes; (0, 1) if torch.distributed is not initialised."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


class EpochSampler(DistributedSampler[Any]):
    """A sampler of positions with the epoch in their high bits; a data set in any worker reads the epoch from them.

    Nothing is shared with the workers: positions that a worker prefetched for another epoch keep that epoch.
    """

    _skipped = 0

    def skip(self, samples: int) -> None:
        """Leave out the first `samples` of the next iteration, which a stopped run has already read."""
        self._skipped = samples

    def __iter__(self) -> Iterator[int]:
        epoch, skipped = self.epoch << POSITION_BITS, self._skipped
        self._skipped = 0
        return iter([epoch + position for position in super().__iter__()][skipped:])


def training_sampler(
    dataset: Dataset[Any], seed: int, rank: int | None = None, world_size: int | None = None, with_epoch: bool = False
) -> DistributedSampler[Any]:
    """A sampler of all samples in random order, divided among the ranks.

    The order is a function of seed and epoch, so a resumed run continues as it would have. Lightning calls
    ``set_epoch``; your own loop must call it, too.

    Every rank gets equally many samples, as DDP needs, and none is read twice. If the number of samples is not
    divisible, up to world_size - 1 samples, others in each epoch, are left out (``drop_last=True``).

    Args:
        dataset: Has a length.
        seed: Must be the same on all ranks.
        rank: Rank of this process; None asks torch.distributed.
        world_size: Number of processes; None asks torch.distributed.
        with_epoch: Yield positions with their epoch, for this package's data sets (`EpochSampler`).

    Raises:
        ValueError: There are fewer samples than processes.

    Examples:
        >>> from asim_lightning.data import training_sampler
        >>> halves = [set(training_sampler(range(6), seed=0, rank=rank, world_size=2)) for rank in (0, 1)]
        >>> halves[0] | halves[1]
        {0, 1, 2, 3, 4, 5}
    """
    rank, world_size = _resolved(rank, world_size)
    _enough("Training", dataset, world_size)
    kind = EpochSampler if with_epoch else DistributedSampler
    return kind(dataset, num_replicas=world_size, rank=rank, shuffle=True, seed=seed, drop_last=world_size > 1)


def evaluation_sampler(dataset: Dataset[Any], rank: int | None = None, world_size: int | None = None) -> Sampler[Any]:
    """A sampler that gives every sample exactly once over all ranks, in order; ranks may differ by one sample.

    Args:
        dataset: Has a length.
        rank: Rank of this process; None asks torch.distributed.
        world_size: Number of processes; None asks torch.distributed.

    Raises:
        ValueError: There are fewer samples than processes, so a process would wait for a batch that never comes.

    Examples:
        >>> from asim_lightning.data import evaluation_sampler
        >>> [list(evaluation_sampler(range(5), rank=rank, world_size=2)) for rank in (0, 1)]
        [[0, 2, 4], [1, 3]]
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
        raise ValueError(f"{what} on {world_size} processes needs at least {world_size} samples, got {length}")
