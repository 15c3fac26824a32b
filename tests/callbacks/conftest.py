"""A quiet trainer with TensorBoard, and what TensorBoard reads back."""

from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.classifier.conftest import QUIET


def quiet_trainer(folder: Path, *callbacks: Callback, **options: Any) -> Trainer:
    """A trainer that logs for TensorBoard into folder/runs/version_0, with checkpoints where a callback keeps them."""
    defaults = {
        **QUIET,
        "log_every_n_steps": 1,
        "logger": TensorBoardLogger(folder, "runs", default_hp_metric=False),
        "enable_checkpointing": any("Checkpoint" in type(callback).__name__ for callback in callbacks),
        "default_root_dir": folder,
        "max_epochs": 1,
        "limit_train_batches": 2,
        "callbacks": list(callbacks),
    }
    return Trainer(**{**defaults, **options})


def read_events(folder: str | Path | None) -> EventAccumulator:
    events = EventAccumulator(str(folder))
    events.Reload()
    return events
