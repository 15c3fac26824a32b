"""What a fit of a user's LightningModule gets without asking: input ranges, and the checkpoint of its best epoch."""

from collections.abc import Iterable, Mapping
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities.seed import isolate_rng

from asim_lightning.callbacks.range_calibration import RangeCalibration
from asim_lightning.nn.calibration import quantized_layers
from asim_lightning.nn.inputs import takes, tensors_of

_MODES = {
    "val/acc": "max", "val_acc": "max", "val/accuracy": "max", "val_accuracy": "max", "val/loss": "min",
    "val_loss": "min",
}  # fmt: skip
"""Logged metrics that choose the best epoch, the first one that a module logs, and their better direction."""


class OwnRanges(RangeCalibration):
    """Fits the input ranges of a user's module, if its batches begin with inputs that its ``forward`` takes.

    Other modules stay as they are: their layers use the range of each batch, and warn.
    """

    def __init__(self) -> None:
        super().__init__()
        self._takes_batches: bool | None = None  # not known before the first training batch

    def calibrate(self, trainer: Trainer, module: LightningModule, data: Any = None, missing: bool = False) -> None:
        """Fit the ranges; the random numbers of the fit stay as they would be without."""
        if type(module).forward is LightningModule.forward or not quantized_layers(module):
            return
        with isolate_rng():
            if self._takes_batches is None:
                loader = (data or getattr(trainer, "datamodule", None) or trainer).train_dataloader
                loader = loader() if callable(loader) and not isinstance(loader, Iterable) else loader
                if not isinstance(loader, Iterable):  # a sanity check of a module with loaders of its own
                    return
                batch = next(iter(loader), None)
                inputs = batch[0] if isinstance(batch, (list, tuple)) and batch else None
                self._takes_batches = bool(tensors_of(inputs)) and takes(module, inputs)
            if self._takes_batches:
                super().calibrate(trainer, module, data, missing)


class OwnBest(ModelCheckpoint):
    """Saves best.ckpt of a user's module: the highest ``val/acc``, ``val_acc``, ``val/accuracy`` or ``val_accuracy``,
    the first of these that it logs, else the lowest ``val/loss`` or ``val_loss``; nothing if it logs none of them."""

    def __init__(self) -> None:
        super().__init__(
            filename="best", save_weights_only=True, enable_version_counter=False, save_on_train_epoch_end=False
        )

    @property
    def state_key(self) -> str:
        """The same key before and after the metric is known."""
        return type(self).__qualname__

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save if the epoch is the best."""
        self._monitor_first(trainer.callback_metrics)
        if self.monitor is not None:
            super().on_validation_end(trainer, pl_module)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the best epoch and its metric."""
        self._monitor_first({state_dict["monitor"]: None})
        super().load_state_dict(state_dict)

    def _monitor_first(self, metrics: Mapping[Any, Any]) -> None:
        """Choose the metric, once."""
        if self.monitor is None:
            self.monitor = next((name for name in _MODES if name in metrics), None)
            self.mode = _MODES.get(self.monitor or "", self.mode)
