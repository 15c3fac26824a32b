"""What a checkpoint says of files elsewhere is forgotten."""

import copy
from pathlib import Path
from typing import Any

import pytest

from asim_lightning.classifier.checkpoint_paths import forget_paths_elsewhere_

NAMES = ("best_model_path", "kth_best_model_path", "last_model_path")


def state_of(path: str) -> dict[str, Any]:
    return {**dict.fromkeys(NAMES, path), "best_k_models": {path: 0.5}, "best_model_score": 0.5}


def forgotten(path: Any, *folders: str) -> bool:
    checkpoint = {"callbacks": {"ModelCheckpoint": state_of(path), "Timer": {"best_model_path": 3}, "x": 4}}
    forget_paths_elsewhere_(checkpoint, folders)
    found: Any = checkpoint["callbacks"]["ModelCheckpoint"]
    assert found["best_model_score"] == 0.5
    if found == state_of(path):
        return False
    assert found == {**dict.fromkeys(NAMES, ""), "best_k_models": {}, "best_model_score": 0.5}
    return True


@pytest.mark.parametrize(
    "path",
    [
        "local:///tmp/victim", "file:///tmp/victim", "s3://bucket/x.ckpt", "simplecache::file:///tmp/x", "/tmp/x.ckpt",
        "runs/checkpoints/../../victim.ckpt", "runs/checkpoints", "link/x.ckpt", 3, "s3://mine/../x.ckpt",
    ],
)  # fmt: skip
def test_paths_elsewhere(path: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to("/tmp")
    assert forgotten(path, "runs/checkpoints", "s3://mine")


@pytest.mark.parametrize("path", ["runs/checkpoints/best.ckpt", "runs/checkpoints/a/b.ckpt", "s3://mine/x.ckpt"])
def test_paths_of_ones_own(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert not forgotten(path, "runs/checkpoints", "s3://mine")
    assert not forgotten(str(tmp_path / "runs/checkpoints/x.ckpt"), "runs/checkpoints")
    assert not forgotten("../runs/x.ckpt", "../runs")
    assert forgotten(path)


@pytest.mark.parametrize("checkpoint", [{}, {"callbacks": [1]}], ids=["none", "no mapping"])
def test_a_checkpoint_without_callbacks_stays_as_it_is(checkpoint: dict[str, Any]) -> None:
    before = copy.deepcopy(checkpoint)
    forget_paths_elsewhere_(checkpoint, ["runs"])
    assert checkpoint == before
