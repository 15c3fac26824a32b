"""Collects what an evaluation answered, image by image, from every process."""

from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import Callback
from torch import Tensor

from asim_lightning.classifier.processes import gather

_FIELDS = ("index", "label", "prediction")


class OutcomeRecorder(Callback):
    """Keeps index, label and prediction of every sample of a test run.

    Args:
        advance: Called after each batch, such as by a progress bar.
    """

    def __init__(self, advance: Callable[[], None] = lambda: None) -> None:
        self.advance = advance
        self.outcomes: dict[str, Tensor] = {}
        self._batches: list[dict[str, Tensor]] = []

    def on_test_start(self, *_: Any) -> None:
        """Forget the run before."""
        self._batches = []

    def on_test_batch_end(self, trainer: Any, module: Any, outputs: Any, *_: Any) -> None:
        """Take a batch."""
        self._batches.append({name: outputs[name].detach().cpu() for name in _FIELDS})
        self.advance()

    def on_test_end(self, *_: Any) -> None:
        """Put all batches together; where there are several processes, theirs too."""
        mine = {name: torch.cat([batch[name] for batch in self._batches]) for name in _FIELDS}
        parts = gather(mine)
        self.outcomes = {name: torch.cat([part[name] for part in parts]) for name in _FIELDS}
