"""A checkpoint says in which order an epoch is read; another order is refused within it, and said after it."""

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset

from asim_lightning.data import CIFAR10
from asim_lightning.data.loader import RepeatableLoader


def data(root: Path, **changes: int) -> CIFAR10:
    return CIFAR10(str(root), **{"batch_size": 10, "held_out": 20, **changes})


def state_after(root: Path, batches: int) -> dict[str, Any]:
    module = data(root)
    images = iter(module.train_dataloader())
    for _ in range(batches):
        next(images)
    return module.state_dict()


def test_a_checkpoint_says_in_which_order_an_epoch_is_read(noisy_cifar10: Path) -> None:
    order = {"batch_size": 10, "processes": 1, "seed": 0, "held_out": 20, "images": 40}
    assert state_after(noisy_cifar10, 2) == {"batches": 2, **order}
    assert state_after(noisy_cifar10, 4) == {"batches": 0, **order}


@pytest.mark.parametrize(
    ("changes", "differs"),
    [
        ({"held_out": 30}, "held_out 20, got 30"),
        ({"seed": 1, "batch_size": 20}, "batch_size 10, got 20, seed 0, got 1"),
    ],
    ids=str,
)
@pytest.mark.parametrize("asked_before", [False, True])
def test_another_order_in_the_middle_of_an_epoch(
    changes: dict[str, int], differs: str, asked_before: bool, noisy_cifar10: Path
) -> None:
    state, other = state_after(noisy_cifar10, 2), data(noisy_cifar10, **changes)
    if asked_before:
        other.train_dataloader()
    else:
        other.load_state_dict(state)
    with pytest.raises(ValueError, match=f"in the order in which it began: {differs}; restore these settings"):
        other.load_state_dict(state) if asked_before else other.train_dataloader()


def test_processes_and_images_count_too(noisy_cifar10: Path) -> None:
    module = data(noisy_cifar10)
    module.load_state_dict({**state_after(noisy_cifar10, 2), "processes": 2, "images": 41})
    with pytest.raises(ValueError, match=": processes 2, got 1, training images 41, got 40; restore"):
        module.train_dataloader()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, []),
        ({"batch_size": 5}, ["batch_size 10, got 5"]),
        ({"held_out": 30}, ["held_out 20, got 30; earlier epochs were validated on other images"]),
    ],
    ids=str,
)
def test_another_order_from_an_epoch_s_end_on(
    changes: dict[str, int], said: list[str], noisy_cifar10: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    monkeypatch.setattr("asim_lightning.data.loader.rank_zero_info", lines.append)
    module = data(noisy_cifar10, **changes)
    module.load_state_dict(state_after(noisy_cifar10, 4))
    module.train_dataloader()
    assert lines == [f"From this epoch on the training images come in another order: {each}" for each in said]


def test_a_checkpoint_that_says_nothing_of_its_order_is_taken(noisy_cifar10: Path) -> None:
    module = data(noisy_cifar10)
    module.load_state_dict({"batches": 2})
    assert len(list(module.train_dataloader())) == 2


class Noisy(Dataset[Any]):
    """Numbers with noise that torch draws when a sample is read."""

    def __len__(self) -> int:
        return 12

    def __getitem__(self, place: int) -> float:
        return place + 0.5 * float(torch.rand(()))


def repeatable(workers: int, own: bool) -> RepeatableLoader:
    generator = torch.Generator().manual_seed(3) if own else None
    return RepeatableLoader(Noisy(), 3, shuffle=True, num_workers=workers, generator=generator)


def epochs(loader: RepeatableLoader, count: int) -> list[Tensor]:
    """Batches of some epochs, with other draws from torch between them, as dropout makes."""
    found = []
    for batch in itertools.chain(*(loader for _ in range(count))):
        found.append(batch)
        torch.rand(5)
    return found


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.process)])
@pytest.mark.parametrize("taken", [4, 6, 7])
def test_a_users_loader_gives_the_same_batches_after_a_resume(taken: int, workers: int, own: bool) -> None:
    torch.manual_seed(1)
    whole = epochs(repeatable(workers, own), 3)
    assert len({tuple(sorted(batch.long().tolist())) for batch in whole}) > 4  # each epoch has an order of its own
    torch.manual_seed(1)
    first = repeatable(workers, own)
    batches = itertools.chain(first, first)
    for number in range(taken):
        assert torch.equal(next(batches), whole[number])
    torch.manual_seed(2)
    later = repeatable(workers, own)
    later.load_state_dict(first.state_dict())
    rest = epochs(later, 3 - taken // 4)
    assert len(rest) == len(whole) - taken
    assert all(map(torch.equal, rest, whole[taken:]))
