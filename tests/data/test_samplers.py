from itertools import chain

import pytest
import torch
from torch.utils.data import DistributedSampler

from asim_lightning.data import evaluation_sampler, training_sampler
from asim_lightning.data.draws import positions_and_epochs

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
def test_training_reads_no_sample_twice_in_equal_shares(world_size: int) -> None:
    shares = [list(training_sampler(range(101), 0, rank, world_size)) for rank in range(world_size)]
    read = list(chain(*shares))
    assert len(set(read)) == len(read) == 101 - 101 % world_size
    assert set(read) <= set(range(101))
    assert {len(share) for share in shares} == {101 // world_size}


def test_training_leaves_out_others_in_each_epoch() -> None:
    left_out = set()
    for epoch in range(8):
        samplers = [training_sampler(range(101), 0, rank, 2) for rank in range(2)]
        for sampler in samplers:
            sampler.set_epoch(epoch)
        left_out |= set(range(101)) - set(chain(*samplers))
    assert len(left_out) > 4


def test_positions_carry_the_epoch_where_asked_for() -> None:
    plain, carrying = training_sampler(range(50), 0, 0, 1), training_sampler(range(50), 0, 0, 1, with_epoch=True)
    assert isinstance(carrying, DistributedSampler)  # what Lightning leaves alone
    for sampler in (plain, carrying):
        sampler.set_epoch(12)
    positions, epochs = positions_and_epochs(list(carrying))
    assert positions.tolist() == list(plain)
    assert epochs.tolist() == [12] * 50


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


def test_fewer_samples_than_processes_are_refused_on_every_rank() -> None:
    for rank in range(3):
        with pytest.raises(ValueError, match=r"Evaluation on 3 processes needs at least 3 samples, got 2$"):
            evaluation_sampler(range(2), rank, 3)
        with pytest.raises(ValueError, match=r"Training on 3 processes needs at least 3 samples, got 2$"):
            training_sampler(range(2), 0, rank, 3)
