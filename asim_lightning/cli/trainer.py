"""The trainer of all commands, and the end of its processes."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lightning.pytorch import Trainer

from asim_lightning.cli.signals import kill_raises_at_once


class AsimTrainer(Trainer):
    """Lightning's Trainer, which a kill stops at once where it has several processes."""

    run_folder: str = "runs/default"
    """Folder of this configuration's runs."""

    def _run_stage(self) -> Any:
        """Run Lightning's loops; Lightning's handler of a kill is there just before."""
        if self.world_size > 1:
            kill_raises_at_once()
        return super()._run_stage()


@contextmanager
def ending_processes(trainer: Trainer) -> Iterator[None]:
    """End the processes that this one started where it is stopped.

    Lightning does so at Ctrl-C alone, and not with forked ones, which train on while this process waits for them.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit):  # Lightning's exit(1) after Ctrl-C, and a kill
        kill = getattr(trainer.strategy.launcher, "kill", None)
        if kill is not None:
            kill(signal.SIGKILL)
        raise
