"""Fails first when Lightning renames what `lightning_private` uses of it."""

from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Callback, Trainer

from asim_lightning import lightning_private as private
from tests.callbacks.conftest import quiet_trainer
from tests.classifier.conftest import make_data, make_model

COUNTS = {"ready", "started", "processed", "completed"}


class Looks(Callback):
    """Keeps what a fit's loops say at the end of its epoch, and sees whether the epoch is cut short."""

    def __init__(self) -> None:
        self.loop: dict[str, Any] = {}
        self.cut = False

    def on_train_epoch_end(self, trainer: Trainer, *_: Any) -> None:
        self.loop, self.cut = trainer.fit_loop.state_dict(), private.is_cut_short(trainer)


def fit(folder: Path, **options: Any) -> tuple[Trainer, Looks]:
    looks = Looks()
    trainer = quiet_trainer(folder, looks, logger=False, limit_val_batches=0, **options)
    trainer.fit(make_model(), datamodule=make_data())
    return trainer, looks


def test_state_of_the_loops_of_an_epoch(tmp_path: Path) -> None:
    _, looks = fit(tmp_path)
    assert not looks.cut
    epochs, batches = looks.loop["epoch_progress"], looks.loop["epoch_loop.batch_progress"]
    for counts in (epochs["current"], epochs["total"], batches["current"], batches["total"]):
        assert counts.keys() >= COUNTS
    assert looks.loop["epoch_loop.state_dict"] == {"_batches_that_stepped": 2}
    assert private.first_logged_step(looks.loop) == 2
    assert "combined_loader" in looks.loop["state_dict"]  # the state of our loaders
    private.end_epoch(looks.loop)
    assert epochs["current"]["completed"] == epochs["current"]["processed"] == 1
    assert "combined_loader" not in looks.loop["state_dict"]


def test_an_epoch_that_is_cut_short_is_put_back(tmp_path: Path) -> None:
    _, looks = fit(tmp_path, max_epochs=2, max_steps=1)
    assert looks.cut
    private.put_back_into_epoch(looks.loop)
    assert looks.loop["epoch_progress"]["current"]["processed"] == 0
    assert looks.loop["epoch_loop.batch_progress"]["current"]["completed"] == 0
    assert looks.loop["epoch_loop.state_dict"]["_batches_that_stepped"] == 0
    assert private.first_logged_step(looks.loop) == 1


def test_an_epoch_starts_as_any_other(tmp_path: Path) -> None:
    trainer, _ = fit(tmp_path)
    loop = trainer.fit_loop
    assert loop._restarting is False
    loop._restarting = loop.epoch_loop.restarting = True
    assert loop.restarting
    private.start_epoch(trainer)
    assert not loop.restarting
    assert not loop.epoch_loop.restarting


@pytest.mark.parametrize("tests", [False, True])
def test_loaders_of_an_evaluation(tests: bool, tmp_path: Path) -> None:
    found: list[Any] = []

    class Loop(private.EvaluationLoop):
        def run(self) -> Any:
            self.setup_data()
            found.extend(self.loaders)
            assert sum(self.max_batches) == len(self.loaders[0])
            return []

    trainer = Trainer(accelerator="cpu", logger=False, default_root_dir=tmp_path, enable_progress_bar=False)
    trainer.test_loop = trainer.validate_loop = Loop(trainer, tests)
    (trainer.test if tests else trainer.validate)(make_model(), datamodule=make_data(), verbose=False)
    assert [len(loader.dataset) for loader in found] == [25]


@pytest.mark.process
def test_processes_that_a_trainer_starts(tmp_path: Path) -> None:
    for strategy, elsewhere, spawns in (("auto", False, False), ("ddp_fork", True, False), ("ddp_spawn", True, True)):
        trainer = Trainer(accelerator="cpu", devices=1, strategy=strategy, logger=False, default_root_dir=tmp_path)
        trainer.strategy._configure_launcher()
        assert private.works_elsewhere(trainer) is elsewhere
        assert private.pickles_work(trainer) is spawns


def test_members(tmp_path: Path) -> None:
    model, trainer = make_model(), Trainer(accelerator="cpu", logger=False, default_root_dir=tmp_path)
    assert private.trainer_of(model) is None
    model.trainer = trainer
    assert private.trainer_of(model) is trainer
