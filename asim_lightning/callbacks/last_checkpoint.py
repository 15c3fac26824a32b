"""Saves the state from which a stopped run continues."""

import os
import shutil
from typing import Any

from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities.exceptions import SIGTERMException

from asim_lightning.checks import check_whole
from asim_lightning.lightning_private import end_epoch, is_cut_short, put_back_into_epoch, start_epoch

_HELD = ".new"


class LastCheckpoint(ModelCheckpoint):
    """Saves the whole state of a run in last.ckpt: after each epoch, and every so many steps if asked for.

    A run that continues from it (``asim fit ... --ckpt_path last``) ends with the same weights, input ranges, metrics
    and best epoch as without a stop. If a validation or the end of an epoch follows a step, the save waits, because a
    continued run would skip that validation. After a validation within an epoch, the save follows the next step, else
    it is at the end of the epoch. If `max_steps` or `max_time` cut an epoch short and are raised, it continues in its
    middle; if the cut is between two batches of one step, nothing is saved. Metrics are not saved: a callback that
    looks at a validation's metrics finds none until the next validation.

    A saved file replaces last.ckpt once the metrics of its step or epoch are logged. Lightning logs them after it calls
    callbacks, so a run that is killed in between would lack them. If one of several processes dies, the others notice
    it in between.

    Args:
        every_n_train_steps: Optimizer steps between two saves; null: only save after each epoch.

    Raises:
        ValueError: When a fit starts: another checkpoint callback comes later in `trainer.callbacks`, so its best epoch
            would be missing in the saved state.

    Examples:
        >>> from asim_lightning.callbacks import LastCheckpoint
        >>> callbacks = [LastCheckpoint(every_n_train_steps=500)]  # then: asim fit ... --ckpt_path last
    """

    NAME = "last"

    def __init__(self, every_n_train_steps: int | None = None) -> None:
        if every_n_train_steps is not None:
            check_whole("`every_n_train_steps` of LastCheckpoint", every_n_train_steps, 1, also=", or null")
        # has its own save, below; uses Lightning's folder, state and order of callbacks
        super().__init__(filename=self.NAME, save_on_train_epoch_end=True, enable_version_counter=False)
        self.every_n_steps = every_n_train_steps
        self._waits = False
        self._step = self._saved = 0
        self._stepped = True  # whether the last batch ended with an optimizer step
        self._held = ""  # path of a save that has not replaced last.ckpt yet

    @property
    def state_key(self) -> str:
        """The same key for any number of steps, so a run may continue with another number."""
        return type(self).__qualname__

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Check that it is the last checkpoint callback."""
        super().setup(trainer, pl_module, stage)
        if stage == "fit" and trainer.checkpoint_callbacks[-1] is not self:
            raise ValueError(
                "LastCheckpoint must be the last checkpoint callback in `trainer.callbacks`, got "
                f"{type(trainer.checkpoint_callbacks[-1]).__name__} behind it"
            )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count steps from those already made, and begin a new epoch if the last one was completed."""
        super().on_train_start(trainer, pl_module)
        start_epoch(trainer)
        self._waits, self._step, self._stepped, self._held = False, trainer.global_step, True, ""

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        """Replace last.ckpt by the last save."""
        held, self._held = self._held, ""
        if not held or not trainer.is_global_zero:
            return
        if os.path.isdir(held):  # some strategies save a folder with the parts of the processes
            shutil.rmtree(held)
        os.replace(f"{held}{_HELD}", held)

    on_train_epoch_start = on_train_end = on_train_batch_start  # type: ignore[assignment]

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save if it is due and the run could continue from here."""
        self._stepped, self._step = trainer.global_step != self._step, trainer.global_step
        if self.every_n_steps is None or not self._stepped:
            return  # accumulated gradients of an unfinished step cannot be saved
        self._waits = self._waits or self._step % self.every_n_steps == 0
        if self._waits and not _is_last_batch(trainer, batch_idx) and not _validates(trainer, batch_idx):
            self._save(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save at the end of an epoch, after its validation."""
        if self._stepped or not is_cut_short(trainer):
            self._save(trainer)
        self._waits = False

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Replace last.ckpt at a kill; Lightning obeys it after logging."""
        if isinstance(exception, SIGTERMException):
            self.on_train_end(trainer)

    def _save(self, trainer: Trainer) -> None:
        self._waits = False
        if trainer.fast_dev_run or trainer.global_step == self._saved:  # type: ignore[attr-defined]
            return
        self._saved = trainer.global_step
        path = self.best_model_path = self.format_checkpoint_name({})  # a part of the saved state
        if isinstance(trainer.strategy.checkpoint_io, TorchCheckpointIO) and "://" not in path:
            trainer.save_checkpoint(f"{path}{_HELD}", weights_only=False)
            self._held = path
        else:  # another filesystem, or an asynchronous save
            trainer.save_checkpoint(path, weights_only=False)
        for logger in trainer.loggers if trainer.is_global_zero else []:
            logger.after_save_checkpoint(self)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Make a run continue in the middle of an epoch that was cut short."""
        loop = checkpoint["loops"]["fit_loop"]
        epochs = loop["epoch_progress"]["current"]
        if epochs["processed"] == epochs["ready"] > 0 and is_cut_short(trainer):
            put_back_into_epoch(loop)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Count an epoch that has ended as completed."""
        end_epoch(checkpoint.get("loops", {}).get("fit_loop", {}))


def _is_last_batch(trainer: Trainer, batch_idx: int) -> bool:
    """Whether the epoch ends after a batch: it is the last one, or the fit ends."""
    enough = trainer.current_epoch >= (trainer.min_epochs or 0) and trainer.global_step >= (trainer.min_steps or 0)
    ends = 0 <= trainer.max_steps <= trainer.global_step or (trainer.should_stop and enough)
    return ends or trainer.is_last_batch or batch_idx + 1 >= trainer.num_training_batches


def _validates(trainer: Trainer, batch_idx: int) -> bool:
    """Whether a validation follows a batch, within an epoch."""
    every = trainer.val_check_batch
    if not trainer.enable_validation or not isinstance(every, int):
        return False
    # if check_val_every_n_epoch is null, batches are counted over epochs
    count = batch_idx if trainer.check_val_every_n_epoch is not None else trainer.fit_loop.total_batch_idx
    return (count + 1) % every == 0
