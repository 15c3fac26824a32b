"""Counts the images that an evaluation saw, and those that it got right."""

from typing import Any

import torch
from lightning.pytorch import Callback, Trainer


class ImageCounter(Callback):
    """Counts the images of a validation or test, and those whose class was found, over all processes."""

    METRIC = "images"
    """Name of the count among the trainer's callback_metrics."""
    RIGHT = "images_right"
    """Name of the count of right answers there."""

    def __init__(self) -> None:
        self.images = 0
        self.right = 0

    def on_validation_start(self, *_: Any) -> None:
        """Start at 0."""
        self.images = self.right = 0

    def on_test_start(self, *_: Any) -> None:
        """Start at 0."""
        self.images = self.right = 0

    def on_validation_batch_end(self, trainer: Trainer, module: Any, outputs: Any, *_: Any) -> None:
        """Count a batch."""
        self._count(outputs)

    def on_test_batch_end(self, trainer: Trainer, module: Any, outputs: Any, *_: Any) -> None:
        """Count a batch."""
        self._count(outputs)

    def on_validation_end(self, trainer: Trainer, *_: Any) -> None:
        """Add the other processes' images."""
        self._add_other_processes(trainer)

    def on_test_end(self, trainer: Trainer, *_: Any) -> None:
        """Add the other processes' images."""
        self._add_other_processes(trainer)

    def _count(self, outputs: Any) -> None:
        self.images += len(outputs["index"])
        self.right += int((outputs["prediction"] == outputs["label"]).sum())

    def _add_other_processes(self, trainer: Trainer) -> None:
        counts = torch.tensor([self.images, self.right], device=trainer.strategy.root_device)  # (2,)
        total = trainer.strategy.reduce(counts, reduce_op="sum")
        self.images, self.right = (int(count) for count in torch.as_tensor(total))
        # of processes that were forked, metrics alone come back
        for name, count in ((self.METRIC, self.images), (self.RIGHT, self.right)):
            trainer.callback_metrics[name] = torch.tensor(count)
