"""Which checkpoints a fit writes, and where a fit that was stopped goes on."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

from asim_lightning.callbacks import LastCheckpoint


def with_checkpoints(configured: Sequence[Callback] | Callback | None) -> list[Callback]:
    """Callbacks of a fit: the configuration's, one that keeps the best epoch where none does, and `LastCheckpoint`.

    Args:
        configured: Callbacks of the configuration.
    """
    callbacks = [configured] if isinstance(configured, Callback) else list(configured or [])
    if not any(isinstance(each, Checkpoint) and not isinstance(each, LastCheckpoint) for each in callbacks):
        callbacks.append(ModelCheckpoint(filename="best", monitor="val/acc", mode="max", save_weights_only=True))
    if not any(_keeps_last(each) for each in callbacks):
        callbacks.append(LastCheckpoint())
    return callbacks


def best_path(callback: Checkpoint) -> str:
    """The best epoch's checkpoint that a callback keeps; empty where it keeps another."""
    best = "" if isinstance(callback, LastCheckpoint) else getattr(callback, "best_model_path", "")
    return str(best)


def newest_last(folder: Path) -> Path:
    """The newest last.ckpt of a run's versions.

    Args:
        folder: Folder of the run, which holds version_0, version_1, ...

    Raises:
        FileNotFoundError: There is none.
    """
    pattern = f"version_*/checkpoints/{LastCheckpoint.NAME}.ckpt"
    found = sorted(folder.glob(pattern), key=lambda path: path.stat().st_mtime_ns)
    if not found:
        raise FileNotFoundError(
            f"`ckpt_path: {LastCheckpoint.NAME}` goes on from the newest {folder / pattern}, and there is none; "
            "without ckpt_path a fit starts anew"
        )
    return found[-1]


def loggers(root: str, name: str, continued: Path | None, step: int) -> list[Logger]:
    """TensorBoard and CSV loggers of a run in ``root/name/version_N``.

    Args:
        root: Folder of all runs.
        name: Name of the run.
        continued: last.ckpt from which a stopped run goes on, in the folder that it has; None starts a new version.
        step: Optimizer steps of that checkpoint; what the stopped run logged after it is left out of the charts.
    """
    if continued is None:
        tensorboard = TensorBoardLogger(root, name, default_hp_metric=False)
        return [tensorboard, CSVLogger(root, name, tensorboard.version)]
    folder = continued.parent.parent
    _keep_metrics(folder, step)
    version = folder.name.removeprefix("version_")
    number = int(version) if version.isdigit() else version
    return [
        TensorBoardLogger(root, name, number, default_hp_metric=False, purge_step=step),
        CSVLogger(root, name, number),
    ]


@rank_zero_only
def _keep_metrics(folder: Path, step: int) -> None:
    # a CSVLogger removes what it finds under its name
    metrics = folder / "metrics.csv"
    if metrics.exists():
        metrics.rename(folder / f"metrics_until_step_{step}.csv")


def _keeps_last(callback: Any) -> bool:
    if not isinstance(callback, ModelCheckpoint):
        return False
    return bool(callback.save_last) or callback.filename == LastCheckpoint.NAME
