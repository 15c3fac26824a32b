"""Counts the images that an evaluation saw."""

from typing import Any

import torch
from lightning.pytorch import Callback, Trainer


class ImageCounter(Callback):
    """Counts the images of a validation or test, over all processes."""

    METRIC = "images"
    """Name of the count among the trainer's callback_metrics."""

    def __init__(self) -> None:
        self.images = 0

    def on_validation_start(self, *_: Any) -> None:
        """Start at 0."""
        self.images = 0

    def on_test_start(self, *_: Any) -> None:
        """Start at 0."""
        self.images = 0

    def on_validation_batch_end(self, trainer: Trainer, module: Any, outputs: Any, *_: Any) -> None:
        """Count a batch."""
        self.images += len(outputs["index"])

    def on_test_batch_end(self, trainer: Trainer, module: Any, outputs: Any, *_: Any) -> None:
        """Count a batch."""
        self.images += len(outputs["index"])

    def on_validation_end(self, trainer: Trainer, *_: Any) -> None:
        """Add the other processes' images."""
        self._add_other_processes(trainer)

    def on_test_end(self, trainer: Trainer, *_: Any) -> None:
        """Add the other processes' images."""
        self._add_other_processes(trainer)

    def _add_other_processes(self, trainer: Trainer) -> None:
        count = torch.tensor(self.images, device=trainer.strategy.root_device)
        total = trainer.strategy.reduce(count, reduce_op="sum")
        self.images = int(total)
        # of processes that were forked, metrics alone come back
        trainer.callback_metrics[self.METRIC] = torch.as_tensor(total)
