"""Where files of callbacks go."""

from pathlib import Path

from asim_lightning.callbacks.output import output_folder
from tests.callbacks.conftest import quiet_trainer


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
