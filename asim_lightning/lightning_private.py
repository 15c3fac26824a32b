"""Everything of Lightning that is not public and that this package uses: private members, and states of fit loops.

tests/test_lightning_private.py fails when Lightning renames a part of it, and setup.cfg limits Lightning's version.
"""

import warnings
from collections.abc import Callable, Mapping
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loops.evaluation_loop import _EvaluationLoop
from lightning.pytorch.strategies.launchers import _MultiProcessingLauncher
from lightning.pytorch.trainer.connectors.data_connector import _DataConnector
from lightning.pytorch.trainer.states import RunningStage, TrainerFn

# Lightning calls torch by an old name: a warning in every script and notebook that no user can mend
warnings.filterwarnings("ignore", message=r".*isinstance\(treespec, LeafSpec\).*")


class EvaluationLoop(_EvaluationLoop):
    """Lightning's loop of a test or validation; a subclass does other work in ``run``."""

    def __init__(self, trainer: Trainer, tests: bool) -> None:
        """Make the loop that replaces the trainer's.

        Args:
            trainer: The trainer.
            tests: Whether it is a test; otherwise a validation.
        """
        function = TrainerFn.TESTING if tests else TrainerFn.VALIDATING
        super().__init__(trainer, function, RunningStage.TESTING if tests else RunningStage.VALIDATING, verbose=False)

    @property
    def loaders(self) -> list[Any]:
        """The loaders of the images, after ``setup_data``; one empty loader if no image is asked for."""
        return self._combined_loader.flattened if self._combined_loader is not None else [[]]


class _ChangedLoaders(_DataConnector):
    """Lightning's preparation of a loader for a loop of the trainer, with a change of the loader."""

    def __init__(self, trainer: Trainer, train: Callable[[Any], Any], evaluate: Callable[[Any], Any]) -> None:
        super().__init__(trainer)
        self.__dict__.update(trainer._data_connector.__dict__)  # the data of the fit may be attached already
        self._train, self._evaluate = train, evaluate

    def _prepare_dataloader(self, dataloader: object, shuffle: bool, mode: RunningStage) -> object:
        if mode == RunningStage.TRAINING:  # its sampler is divided among processes then
            return self._train(super()._prepare_dataloader(dataloader, shuffle, mode))
        return super()._prepare_dataloader(self._evaluate(dataloader), shuffle, mode)


def change_loaders_(trainer: Trainer, train: Callable[[Any], Any], evaluate: Callable[[Any], Any]) -> None:
    """Have the loops of a trainer read changed loaders.

    Args:
        trainer: A trainer whose loops have not asked for loaders yet.
        train: Gives the loader to read instead of a loader for training.
        evaluate: Gives the loader to read instead of a loader for validation, test or prediction.
    """
    trainer._data_connector = _ChangedLoaders(trainer, train, evaluate)


def trainer_of(module: LightningModule) -> Trainer | None:
    """The trainer of a module; None if it has none, while the module's own property would raise an error."""
    return module._trainer


def works_elsewhere(trainer: Trainer) -> bool:
    """Whether the trainer forks or spawns the working processes, so that this one learns only their results."""
    return isinstance(trainer.strategy.launcher, _MultiProcessingLauncher)


def pickles_work(trainer: Trainer) -> bool:
    """Whether the trainer's strategy starts processes with pickled arguments."""
    return getattr(trainer.strategy, "_start_method", None) in ("spawn", "forkserver")


def is_cut_short(trainer: Trainer) -> bool:
    """Whether the epoch ends with batches left, because `max_steps` or the time limit is reached."""
    batches = trainer.fit_loop.epoch_loop.batch_progress
    return not batches.is_last_batch and batches.current.ready < trainer.num_training_batches


def put_back_into_epoch(loop: dict[str, Any]) -> None:
    """Have an epoch that was cut short continue after its last batch, as in a checkpoint of that batch's end.

    Lightning counts it as a whole epoch: with more steps or more time, its rest would be left out.

    Args:
        loop: State of a fit's loops after the epoch's last optimizer step; changed.
    """
    for epochs in (loop["epoch_progress"][name] for name in ("total", "current")):
        epochs["processed"] = epochs["completed"] = epochs["ready"] - 1
    for batches in (loop["epoch_loop.batch_progress"][name] for name in ("total", "current")):
        batches["completed"] = batches["processed"] - 1
    loop["epoch_loop.state_dict"]["_batches_that_stepped"] -= 1  # Lightning adds that batch when it continues


def first_logged_step(loop: Mapping[str, Any]) -> int:
    """The first step that loggers get from a fit that continues: the number of batches that ended with a step, while
    ``global_step`` counts the steps of every optimizer.

    Args:
        loop: State of a fit's loops.
    """
    batches = loop["epoch_loop.batch_progress"]["total"]
    within_epoch = batches["completed"] < batches["processed"]  # Lightning adds that batch when it continues
    return int(loop["epoch_loop.state_dict"]["_batches_that_stepped"]) + within_epoch


def end_epoch(loop: dict[str, Any]) -> None:
    """Count an epoch as completed if all its batches are, and have the next epoch read from its start.

    If `max_steps` is set, Lightning would end it a second time: images would come in the order of the epoch after the
    next one, and logged steps would be one too high.

    Args:
        loop: State of a fit's loops; changed.
    """
    epochs = loop.get("epoch_progress")
    if epochs is not None and epochs["current"]["processed"] == epochs["current"]["ready"]:
        for each in (epochs["current"], epochs["total"]):
            each["completed"] = each["processed"]
        loop["state_dict"].pop("combined_loader", None)  # a limited epoch leaves its loader in the middle


def start_epoch(trainer: Trainer) -> None:
    """Have a fit that continues from the end of an epoch start the next epoch like any other.

    If `max_steps` is set, Lightning takes each continued fit for one in the middle of an epoch.
    """
    loop = trainer.fit_loop
    epochs = loop.epoch_progress.current
    if loop.restarting and epochs.ready == epochs.completed:
        loop._restarting = False  # its setter sets True whatever it is given
        loop.epoch_loop.restarting = False
