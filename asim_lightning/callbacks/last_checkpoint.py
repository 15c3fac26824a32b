"""Keeps what a run needs to go on where it was stopped."""

from lightning.pytorch.callbacks import ModelCheckpoint


class LastCheckpoint(ModelCheckpoint):
    """Keeps the whole state of a run in last.ckpt: after each epoch, or every so many steps.

    A run that goes on from it (``asim fit ... --ckpt_path last``) ends with the weights that it would have had.

    Args:
        every_n_train_steps: Optimizer steps between two saves; null saves after each epoch.

    Raises:
        ValueError: The number of steps is below 1.
    """

    NAME = "last"

    def __init__(self, every_n_train_steps: int | None = None) -> None:
        if every_n_train_steps is not None and every_n_train_steps < 1:
            message = "`every_n_train_steps` of LastCheckpoint must be 1 or more, or null"
            raise ValueError(f"{message}, got {every_n_train_steps!r}")
        super().__init__(
            filename=self.NAME,
            monitor=None,
            save_top_k=1,
            every_n_train_steps=every_n_train_steps,
            save_on_train_epoch_end=every_n_train_steps is None,
            enable_version_counter=False,
        )
