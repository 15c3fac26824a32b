"""A checkpoint that a fit goes on from removes no file of the user's."""

from pathlib import Path
from typing import Any

import pytest
import torch

from asim_lightning.cli.checkpointing import WholeFiles
from tests.cli.conftest import Asim, Run


@pytest.mark.parametrize("where", ["local://{}", "{}", "file://{}"])
def test_a_fit_that_goes_on_removes_nothing_elsewhere(where: str, asim: Asim, run: Run, folder: Path) -> None:
    (folder / "victim" / "inside").mkdir(parents=True)
    (folder / "victim" / "inside" / "thesis.txt").write_text("mine")
    found: dict[str, Any] = torch.load(run.version / "checkpoints" / "last.ckpt", weights_only=True)
    for state in found["callbacks"].values():
        if "best_model_path" in state:
            victim = where.format(folder / "victim")
            state.update(best_model_path=victim, kth_best_model_path=victim, best_k_models={victim: torch.tensor(0.0)})
            state.update(dirpath="runs/tiny/version_0/checkpoints")
    torch.save(found, "theirs.ckpt")
    answer = asim("fit", "-c", run.config, "--ckpt_path", "theirs.ckpt", "--trainer.max_epochs", "2")
    assert answer.code == 0, answer.err
    assert (folder / "victim" / "inside" / "thesis.txt").read_text() == "mine"
    assert "victim" not in answer.out


def test_checkpoints_of_this_run_alone_are_removed(folder: Path) -> None:
    writer = WholeFiles()
    for name in ("runs/a.ckpt", "runs/deep/b.ckpt"):
        writer.save_checkpoint({}, name)
    (folder / "mine.ckpt").write_text("mine")
    (folder / "runs" / "folder.ckpt").mkdir()
    (folder / "runs" / "notes.txt").write_text("mine")
    kept = ("mine.ckpt", "runs/folder.ckpt", "runs/notes.txt", "runs/../mine.ckpt", f"local://{folder}/mine.ckpt")
    for name in (*kept, f"local://{folder}/runs", str(folder / "runs"), "runs/none.ckpt"):
        writer.remove_checkpoint(name)
    assert (folder / "mine.ckpt").read_text() == (folder / "runs" / "notes.txt").read_text() == "mine"
    assert (folder / "runs" / "folder.ckpt").is_dir()
    for name in ("runs/a.ckpt", folder / "runs" / "deep" / "b.ckpt"):
        writer.remove_checkpoint(name)
        assert not Path(name).exists()


def test_a_writer_that_saved_nothing_removes_nothing(folder: Path) -> None:
    (folder / "mine.ckpt").write_text("mine")
    WholeFiles().remove_checkpoint("mine.ckpt")
    assert (folder / "mine.ckpt").exists()
