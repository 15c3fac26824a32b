import numpy
import pytest
import torch

from asim_lightning.data.draws import POSITION_BITS, drawing_from, positions_and_epochs, sample_keys


def keys(seed: int, epoch: int, indices: torch.Tensor) -> torch.Tensor:
    return sample_keys(seed, torch.full_like(indices, epoch), indices)


def bits(values: torch.Tensor) -> numpy.ndarray:
    return numpy.unpackbits(values.numpy().view(numpy.uint8).reshape(-1, 8), axis=1)  # (samples, 64)


def test_a_key_is_a_function_of_seed_epoch_and_index_alone() -> None:
    indices = torch.tensor([5, 0, 999_999])
    epochs = torch.tensor([2, 0, 7])
    together = sample_keys(3, epochs, indices)
    alone = [sample_keys(3, epochs[i : i + 1], indices[i : i + 1]).item() for i in range(3)]
    assert together.tolist() == alone
    assert together.dtype == torch.int64
    # Written down, so that a change, which would change the augmentation of all runs, is seen.
    assert keys(0, 0, torch.arange(3)).tolist() == [8841707400507832957, -2756458260177122986, -1211274664761577749]


def test_no_two_samples_epochs_or_seeds_share_a_key() -> None:
    indices = torch.arange(2000)
    all_keys = torch.cat([keys(seed, epoch, indices) for seed in (0, 1, 2**32 - 1) for epoch in range(20)])
    assert len(all_keys.unique()) == len(all_keys)


@pytest.mark.parametrize("change", ["index", "epoch", "seed"])
def test_neighbours_differ_in_half_of_their_bits(change: str) -> None:
    indices = torch.arange(20_000)
    other = {"index": keys(4, 3, indices + 1), "epoch": keys(4, 4, indices), "seed": keys(5, 3, indices)}[change]
    differ = (bits(keys(4, 3, indices)) != bits(other)).mean(axis=0)  # (64,)
    assert abs(differ - 0.5).max() < 0.02  # standard error 0.0035
    assert abs(bits(other).mean(axis=0) - 0.5).max() < 0.02


def test_items_carry_the_epoch_and_plain_positions_are_of_epoch_0() -> None:
    positions, epochs = positions_and_epochs([7, (3 << POSITION_BITS) + 7, (200 << POSITION_BITS) + 1_300_000])
    assert positions.tolist() == [7, 7, 1_300_000]
    assert epochs.tolist() == [0, 3, 200]


def test_drawing_from_a_key_leaves_the_stream_as_it_was() -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    with drawing_from(-5):
        first = torch.rand(2)
    with drawing_from(-5):
        assert torch.equal(torch.rand(2), first)
    with pytest.raises(RuntimeError), drawing_from(-5):
        torch.rand(-1)
    assert torch.equal(torch.rand(3), expected)
