"""When a callback that does not act in every epoch acts."""

from lightning.pytorch import Trainer


def is_due(trainer: Trainer, every_n_epochs: int) -> bool:
    """Whether this validation is in epoch 0, k, 2k, ... or the last of a fit; always where nothing is fit."""
    if trainer.state.fn != "fit":
        return True
    epochs, steps = trainer.max_epochs, trainer.max_steps
    last = epochs is not None and 0 <= epochs <= trainer.current_epoch + 1
    last = last or 0 <= steps <= trainer.global_step or trainer.should_stop
    return last or trainer.current_epoch % every_n_epochs == 0
