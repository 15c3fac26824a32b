from itertools import chain

import pytest
import torch

from asim_lightning.data import evaluation_sampler, training_sampler
from asim_lightning.data.samplers import process_rank_and_count

WORLD_SIZES = [1, 2, 3]


@pytest.mark.parametrize("world_size", WORLD_SIZES)
@pytest.mark.parametrize("length", [3, 12, 101])
def test_evaluation_reads_every_sample_exactly_once(world_size: int, length: int) -> None:
    shares = [list(evaluation_sampler(range(length), rank, world_size)) for rank in range(world_size)]
    assert sorted(chain(*shares)) == list(range(length))
    assert all(share == sorted(share) for share in shares)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    for rank, share in enumerate(shares):
        assert len(evaluation_sampler(range(length), rank, world_size)) == len(share)


@pytest.mark.parametrize("world_size", WORLD_SIZES)
def test_training_reads_every_sample_in_equal_shares(world_size: int) -> None:
    shares = [list(training_sampler(range(101), 0, rank, world_size)) for rank in range(world_size)]
    read = list(chain(*shares))
    assert set(read) == set(range(101))
    assert len(read) - 101 == -101 % world_size  # none, one, one: repeated to make the shares equal
    assert len({len(share) for share in shares}) == 1


def test_training_order_depends_on_seed_and_epoch_alone() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        sampler = training_sampler(range(50), seed, 0, 1)
        sampler.set_epoch(epoch)
        return list(sampler)

    torch.manual_seed(1)
    first = order(0, 4)
    torch.manual_seed(2)
    assert order(0, 4) == first
    assert order(0, 5) != first
    assert order(1, 4) != first
    assert first != sorted(first)


def test_rank_and_count_come_from_torch_distributed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert process_rank_and_count() == (0, 1)
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 1)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 3)
    assert process_rank_and_count() == (1, 3)
    assert list(evaluation_sampler(range(8))) == [1, 4, 7]
    assert len(training_sampler(range(8), seed=0)) == 3


def test_fewer_samples_than_processes_are_refused_on_every_rank() -> None:
    for rank in range(3):
        with pytest.raises(ValueError, match=r"Evaluation on 3 processes needs at least 3 samples, got 2\."):
            evaluation_sampler(range(2), rank, 3)
