"""Metrics that callbacks monitor: known before the first step, where no code of the user's own may log more."""

from collections.abc import Sequence
from typing import Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import EarlyStopping, LambdaCallback, LearningRateMonitor, ModelCheckpoint

from asim_lightning.classifier import CimClassifier
from asim_lightning.cli.reworded import unknown_monitor

_PACKAGES = ("asim_lightning.", "lightning.")
_LOG_OTHERS = (LambdaCallback, LearningRateMonitor)
_IN_TRAINING = ("train/", "cim/")
_OF_A_CHECKPOINT = ("epoch", "step")


def check_monitors(trainer: Trainer, model: CimClassifier) -> None:
    """Refuse a monitor of ModelCheckpoint or EarlyStopping that nothing logs in a fit.

    A callback of the user's own may log anything: where there is one, a monitor is looked for in the metrics of the
    first validation, by Lightning.

    Args:
        trainer: The trainer of a fit.
        model: The classifier that it will train.

    Raises:
        ValueError: A monitor is no metric that is logged.
    """
    callbacks: Sequence[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    if not all(_is_known(each) for each in callbacks):
        return
    logged = [*model.logged, *(name for each in callbacks for name in getattr(each, "logged", ()))]
    if trainer.limit_val_batches == 0:
        measured = [name for name in logged if name.startswith(_IN_TRAINING)]
    else:
        measured = logged
    for callback in callbacks:
        monitor: Any = getattr(callback, "monitor", None)
        if isinstance(callback, ModelCheckpoint):
            # without validation it keeps no best epoch, which is said when the fit ends
            names = [*logged, *_OF_A_CHECKPOINT]
        elif isinstance(callback, EarlyStopping) and callback.strict:
            names = measured
        else:
            continue
        if monitor is not None and monitor not in names:
            raise ValueError(unknown_monitor(type(callback).__name__, str(monitor), names))


def _is_known(callback: Callback) -> bool:
    """Whether a callback logs nothing but what it says in `logged`."""
    return type(callback).__module__.startswith(_PACKAGES) and not isinstance(callback, _LOG_OTHERS)
