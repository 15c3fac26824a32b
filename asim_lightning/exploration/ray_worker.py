"""A worker of Ray: it reads the data on its node, keeps one network, and evaluates it under conditions."""

import os
import pickle
import sys
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch import Callback, LightningDataModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, ProgressBar

from asim_lightning.classifier import CimClassifier
from asim_lightning.evaluation import Condition
from asim_lightning.evaluation.evaluate import run_evaluations
from asim_lightning.evaluation.results import Outcomes


@dataclass(frozen=True)
class Package:
    """What a worker needs to compute what this process would."""

    content: bytes
    """The network with its weights, the data module without its images, and callbacks, pickled."""
    trainer: Mapping[str, Any]
    """Settings of a worker's trainer."""
    folder: str
    """Working folder, where relative paths start, on every node."""
    modules: tuple[str, ...]
    """Folders of modules, such as the user's own."""
    threads: int
    """Of a worker."""


def pack(trainer: Trainer, model: CimClassifier, data: LightningDataModule, threads: int) -> Package:
    """What workers need to compute what a trainer would in this process.

    Args:
        trainer: The trainer, of one process.
        model: Converted classifier.
        data: Its data module.
        threads: Threads of a worker.

    Raises:
        ValueError: Something in them cannot be pickled.
    """
    from ray import cloudpickle

    installed: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    callbacks = [each for each in installed if not isinstance(each, (Checkpoint, ProgressBar))]
    module = copy(data)  # of our own modules without the images, which workers read
    module.trainer = None
    try:
        content = cloudpickle.dumps((model, module, callbacks))
    except Exception as error:  # of any kind, as objects may say themselves how they are pickled
        raise ValueError(f"`runner: ray` sends model, data and callbacks to workers, and cannot: {error}") from error
    settings = {
        "accelerator": "cpu" if model.device.type == "cpu" and trainer.strategy.root_device.type == "cpu" else "gpu",
        "precision": trainer.precision,
        "limit_test_batches": trainer.limit_test_batches,
    }
    # in a notebook the working folder is "", which a worker's path has not
    return Package(content, settings, os.getcwd(), tuple(map(os.path.abspath, sys.path)), threads)


class Worker:
    """Owns the network of a process; it is built at the first evaluation, and kept.

    Args:
        package: What it needs.
    """

    def __init__(self, package: Package) -> None:
        self._package = package
        self._built: tuple[Trainer, CimClassifier, LightningDataModule] | None = None

    def process(self) -> int:
        """Number of the process."""
        return os.getpid()

    def evaluate(self, condition: Condition, places: Sequence[int] | None) -> tuple[Outcomes, int]:
        """The answers to images under a condition, and the number of their batches.

        Args:
            condition: The condition.
            places: Places of the images in their data set; None: all test images.
        """
        if self._built is None:
            self._built = _build(self._package)
        batches: list[None] = []
        found = run_evaluations(
            *self._built, lambda evaluate: evaluate(condition, places), advance=lambda: batches.append(None)
        )
        return found, len(batches)


def _build(package: Package) -> tuple[Trainer, CimClassifier, LightningDataModule]:
    if os.path.isdir(package.folder):  # on another node it may be absent, and absolute paths do
        os.chdir(package.folder)
    sys.path.extend(path for path in package.modules if path not in sys.path)
    torch.set_num_threads(package.threads)  # Ray sets a variable for it, which torch may have read before
    model, data, callbacks = pickle.loads(package.content)
    if hasattr(data, "num_workers"):
        data.num_workers = 0  # a worker has many threads, which a fork does not survive
    trainer = Trainer(
        **package.trainer,
        devices=1,
        callbacks=callbacks,
        plugins=[LightningEnvironment()],  # whatever cluster the worker is started by
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        default_root_dir=package.folder,
    )
    return trainer, model, data
