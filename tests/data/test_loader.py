"""A checkpoint says in which order an epoch is read; another order is refused within it, and said after it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Sampler,
    WeightedRandomSampler,
)

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


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)


SAMPLERS: dict[str, Callable[[], dict[str, Any]]] = {
    "shuffled": lambda: {"batch_size": 3, "shuffle": True},
    "generator": lambda: {"batch_size": 3, "shuffle": True, "generator": generator()},
    "weighted": lambda: {
        "batch_size": 3,
        "sampler": WeightedRandomSampler(torch.arange(12.0) + 1, 12, generator=generator()),
    },
    "with replacement": lambda: {"batch_size": 3, "sampler": RandomSampler(range(12), True, 12, generator())},
    "batch sampler": lambda: {"batch_sampler": BatchSampler(RandomSampler(range(12), generator=generator()), 3, False)},
}


def repeatable(workers: int, sampler: str, seed: int = 1) -> RepeatableLoader:
    loader: DataLoader[Any] = DataLoader(Noisy(), num_workers=workers, **SAMPLERS[sampler]())
    assert RepeatableLoader.takes(loader)
    return RepeatableLoader(loader, seed)


def epochs(loader: RepeatableLoader, *numbers: int) -> list[Tensor]:
    """Batches of some epochs, with other draws from torch between them, as dropout makes."""
    found = []
    for number in numbers:
        loader.set_epoch(number)
        for batch in loader:
            found.append(batch)
            torch.rand(5)
    return found


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.process)])
@pytest.mark.parametrize("taken", [4, 6, 7])
def test_a_users_loader_gives_the_same_batches_after_a_resume(taken: int, workers: int, sampler: str) -> None:
    torch.manual_seed(1)
    whole = epochs(repeatable(workers, sampler), 0, 1, 2)
    assert len({tuple(sorted(batch.long().tolist())) for batch in whole}) > 4  # each epoch has an order of its own
    torch.manual_seed(2)
    first = repeatable(workers, sampler)
    assert all(map(torch.equal, epochs(first, 0), whole))
    first.set_epoch(1)
    batches = iter(first)
    for number in range(4, taken):
        assert torch.equal(next(batches), whole[number])
    later = repeatable(workers, sampler)
    later.load_state_dict(first.state_dict())
    rest = epochs(later, 1, 2)
    left = taken if taken > 4 else 4
    assert len(rest) == len(whole) - left
    assert all(map(torch.equal, rest, whole[left:]))


def test_a_pass_leaves_torchs_random_numbers_as_they_were() -> None:
    loader = repeatable(0, "shuffled")
    torch.manual_seed(5)
    before, seed = torch.random.get_rng_state(), torch.initial_seed()
    assert len(list(loader)) == 4
    assert torch.initial_seed() == seed
    assert torch.equal(torch.random.get_rng_state(), before)


def test_processes_divide_one_order_and_draw_other_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(rank: int) -> Tensor:
        monkeypatch.setattr("asim_lightning.data.loader.process_rank_and_count", lambda: (rank, 2))
        return torch.cat(list(repeatable(0, "weighted")))  # (12,)

    one, other = read(0), read(1)
    assert torch.equal(one.floor(), other.floor())  # the sampler's choice, before it is divided
    assert not bool((one.frac() == other.frac()).any())  # the noise of each sample


def test_passes_of_a_short_loader_in_an_epoch_differ_and_are_continued() -> None:
    loader = repeatable(0, "shuffled")
    passes = [torch.cat(list(loader)) for _ in range(3)]
    assert len({tuple(each.tolist()) for each in passes}) == 3
    later = repeatable(0, "shuffled")
    assert torch.equal(torch.cat(list(later)), passes[0])
    batches = iter(later)
    next(batches)
    again = repeatable(0, "shuffled")
    again.load_state_dict(later.state_dict())
    assert torch.equal(torch.cat(list(again)), passes[1][3:])
    assert torch.equal(torch.cat(list(again)), passes[2])


def test_a_users_loader_refuses_another_order_within_an_epoch() -> None:
    loader = repeatable(0, "shuffled")
    next(iter(loader))
    other = RepeatableLoader(DataLoader(Noisy(), 4, shuffle=True), seed=1)
    with pytest.raises(ValueError, match="in the order in which it began: batch_size 3, got 4; restore"):
        other.load_state_dict(loader.state_dict())


class Endless(IterableDataset[Any]):
    def __iter__(self) -> Any:
        yield 1.0


class NoLength(Sampler[int]):
    def __iter__(self) -> Iterator[int]:
        return iter(range(3))


class OwnPass(DataLoader[Any]):
    def __iter__(self) -> Any:
        return iter([1])


@pytest.mark.parametrize(
    "loader",
    [
        [1],
        DataLoader(Endless()),
        DataLoader(Noisy(), batch_size=None),
        DataLoader(Noisy(), sampler=NoLength()),
        OwnPass(Noisy()),
    ],
    ids=lambda loader: type(loader).__name__,
)
def test_loaders_that_are_read_in_another_way_stay(loader: Any) -> None:
    assert not RepeatableLoader.takes(loader)
