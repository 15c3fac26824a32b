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
    whole = run(noisy_cifar10, workers, 3, tmp_path / "whole.ckpt")
    run(noisy_cifar10, workers, 2, tmp_path / "part.ckpt")
    rest = run(noisy_cifar10, workers, 3, tmp_path / "part.ckpt", resume=True)
    assert len(whole) == 180
    assert len({image for _, _, image in whole}) == 180
    assert rest == whole[120:]
