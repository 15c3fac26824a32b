"""A run that is killed and resumed sees the images that it would have seen, in the order that it would have."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer

from asim_lightning.data import CIFAR10


class Remembers(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: list[tuple[int, int, bytes]] = []

    def training_step(self, batch: Any) -> torch.Tensor:
        for image, index in zip(batch[0], batch[2].tolist(), strict=True):
            self.seen.append((self.current_epoch, index, image.numpy().tobytes()))
        return self.weight * batch[0].mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def run(root: Path, workers: int, epochs: int, checkpoint: Path, resume: bool = False) -> list[tuple[int, int, bytes]]:
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        default_root_dir=checkpoint.parent,
    )
    model = Remembers()
    data = CIFAR10(str(root), batch_size=10, num_workers=workers)
    trainer.fit(model, train_dataloaders=None, datamodule=data, ckpt_path=str(checkpoint) if resume else None)
    if not resume:
        trainer.save_checkpoint(checkpoint)
    return model.seen


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("workers", [0, 1])
def test_a_resumed_run_goes_on_as_it_would_have(noisy_cifar10: Path, tmp_path: Path, workers: int) -> None:
    whole = run(noisy_cifar10, workers, 2, tmp_path / "whole.ckpt")
    run(noisy_cifar10, workers, 1, tmp_path / "part.ckpt")
    rest = run(noisy_cifar10, workers, 2, tmp_path / "part.ckpt", resume=True)
    assert len({image for _, _, image in whole}) == len(whole) == 120
    assert rest == whole[60:]


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
