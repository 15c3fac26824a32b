"""Where files of callbacks go, and names of classes."""

from pathlib import Path
from typing import Any

from asim_lightning.callbacks.output import class_names, output_folder
from tests.callbacks.conftest import quiet_trainer
from tests.classifier.conftest import make_data


def test_the_folder_is_the_users_the_loggers_the_one_of_runs_or_the_root(tmp_path: Path) -> None:
    trainer = quiet_trainer(tmp_path)
    assert output_folder(trainer) == tmp_path / "runs" / "version_0"
    assert output_folder(trainer, "mine") == Path("mine")
    trainer = quiet_trainer(tmp_path, logger=False)
    assert output_folder(trainer) == tmp_path
    trainer.run_folder = str(tmp_path / "name")
    assert output_folder(trainer) == tmp_path / "name"
    for logger in (True, False):
        assert output_folder(quiet_trainer(tmp_path, logger=logger, fast_dev_run=True), "mine") is None


def test_names_of_classes(tmp_path: Path) -> None:
    trainer: Any = quiet_trainer(tmp_path, logger=False)
    assert class_names(trainer, 3) == ["0", "1", "2"]
    trainer.datamodule = make_data()
    assert class_names(trainer, 10)[0] == "T-shirt/top"
    assert class_names(trainer, 3) == ["0", "1", "2"]
