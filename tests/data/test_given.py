"""Loaders of a user's data module give the index of each sample, however they draw it, and say what inputs are like."""

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, SequentialSampler, Subset, TensorDataset

from asim_lightning.data import IndexedDataset
from asim_lightning.data.given import GivenData, groups_of, input_of, with_indices

INPUTS, TARGETS = torch.arange(6.0).view(6, 1), torch.arange(6) % 2
PAIRS = TensorDataset(INPUTS, TARGETS)


class Endless(IterableDataset[Any]):
    def __iter__(self) -> Any:
        yield INPUTS[0], TARGETS[0]


class Own(LightningDataModule):
    def __init__(self, loader: Any) -> None:
        super().__init__()
        self.loader = loader

    def test_dataloader(self) -> Any:
        return self.loader


@pytest.mark.parametrize("films", [["b", "b", "a", "a", "c", "a"], torch.tensor([1, 1, 0, 0, 2, 0])])
def test_samples_have_the_group_of_their_index(films: Any) -> None:
    frames = TensorDataset(INPUTS, TARGETS)
    assert groups_of(DataLoader(frames)) is None
    frames.groups = films  # type: ignore[attr-defined]
    some = [5, 0, 2]
    for samples, expected in (
        (frames, [1, 1, 0, 0, 2, 0]),
        (IndexedDataset(frames), [1, 1, 0, 0, 2, 0]),
        (Subset(IndexedDataset(frames), some), [1, 1, 0, 0, 2, 0]),  # its samples keep their index
        (IndexedDataset(Subset(frames, some)), [0, 1, 0]),
    ):
        found = groups_of(DataLoader(samples))
        assert found is not None
        assert found.tolist() == expected
    for loader in with_indices(DataLoader(Subset(frames, some))), GivenData(Subset(frames, some)).test_dataloader():
        found = groups_of(loader)
        assert found is not None
        assert found.tolist() == [0, 1, 0]
    frames.groups = np.zeros(5)  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match=r"`groups` of a data set must be one for each of 6 samples, got \(5,\)"):
        groups_of(DataLoader(frames))


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 4},
        {"batch_size": 4, "shuffle": True, "drop_last": True},
        {"batch_sampler": BatchSampler(SequentialSampler(PAIRS), 3, False)},
    ],
)
def test_a_pair_gets_its_index(options: dict[str, Any]) -> None:
    loader: DataLoader[Any] = DataLoader(PAIRS, **options)
    (found,) = with_indices(with_indices([loader]))  # and once only
    batches = list(pickle.loads(pickle.dumps(found)))  # as for processes that are spawned
    assert [len(batch) for batch in batches] == [3] * len(loader)
    for inputs, targets, indices in batches:
        assert torch.equal(INPUTS[indices], inputs)
        assert torch.equal(TARGETS[indices], targets)


@pytest.mark.parametrize(
    "loader",
    [
        [1],
        DataLoader(Endless()),
        DataLoader(PAIRS, batch_size=None),
        DataLoader(TensorDataset(INPUTS, TARGETS, torch.arange(6))),
        DataLoader([{"input": 1}]),  # type: ignore[arg-type]
        DataLoader(PAIRS, collate_fn=lambda samples: {"input": len(samples)}),
    ],
)
def test_other_loaders_stay(loader: Any) -> None:
    found = with_indices(loader)
    assert found is loader or list(found) == loader


def test_inputs_are_told_by_the_data() -> None:
    tokens = TensorDataset(torch.tensor([[3, 1], [0, 8]]), torch.zeros(2))
    assert input_of(Own(DataLoader(tokens, 2))) == ([2], 9)
    assert input_of(Own(DataLoader(PAIRS, 2))) == ([1], None)
    images = Own(None)
    images.in_channels, images.image_size = 3, 28
    assert input_of(images) == ([3, 28, 28], None)
    with pytest.raises(ValueError, match=r"must be \(inputs, targets\), got a dict"):
        input_of(Own([{"input": 1}]))


@pytest.mark.parametrize("hook", ["on_before_batch_transfer", "transfer_batch_to_device", "on_after_batch_transfer"])
def test_samples_of_a_module_that_changes_batches_are_refused(hook: str) -> None:
    changing = type("Changing", (Own,), {hook: lambda self, batch, *_: batch})
    with pytest.raises(ValueError, match=f"got a Changing with {hook}$"):
        GivenData(changing(DataLoader(PAIRS)))
    GivenData(Own(DataLoader(PAIRS)))
