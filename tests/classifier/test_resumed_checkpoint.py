"""In a fit that goes on, changed optimizer settings count and nothing else moves; files elsewhere are forgotten."""

import copy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from asim_lightning.classifier import OptimizerConfig
from asim_lightning.classifier.optimizer import build_optimizer
from asim_lightning.classifier.resumed_checkpoint import change_optimizer_, forget_paths_elsewhere_


def trained(config: OptimizerConfig, steps: int, total: int = 20) -> tuple[Any, Any]:
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer, schedule, _ = build_optimizer(config, [weight], total, total)
    for _ in range(steps):
        weight.grad = torch.ones(3)
        optimizer.step()
        if schedule is not None:
            schedule.step()
    return optimizer, schedule


def checkpoint(config: OptimizerConfig, steps: int) -> dict[str, Any]:
    optimizer, schedule = trained(config, steps)
    return {
        "hyper_parameters": {"optimizer": asdict(config)},
        "optimizer_states": [optimizer.state_dict()],
        "lr_schedulers": [] if schedule is None else [schedule.state_dict()],
    }


SCHEDULES = [{"schedule": name} for name in ("cosine", "multistep", "constant")]


@pytest.mark.parametrize("settings", [*SCHEDULES, {"schedule": "cosine", "warmup": 0.5}], ids=str)
@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_changed_settings_go_on_as_if_they_had_been_so_from_the_start(settings: dict[str, Any], name: str) -> None:
    before, after = (
        OptimizerConfig(name=name, lr=lr, momentum=momentum, weight_decay=decay, **settings)
        for lr, momentum, decay in ((0.1, 0.9, 1e-4), (0.02, 0.5, 0.0))
    )
    changed = checkpoint(before, 7)
    change_optimizer_(changed, asdict(after))
    optimizer, schedule = trained(after, 0)
    optimizer.load_state_dict(changed["optimizer_states"][0])
    if schedule is not None:
        schedule.load_state_dict(changed["lr_schedulers"][0])
    reference, its_schedule = trained(after, 7)
    group, its = (each.param_groups[0] for each in (optimizer, reference))
    assert (group.get("momentum"), group["weight_decay"]) == (its.get("momentum"), its["weight_decay"])
    for _ in range(10):
        found, wanted = (each.param_groups[0]["lr"] for each in (optimizer, reference))
        assert found == pytest.approx(wanted, rel=1e-6)
        for each in filter(None, (optimizer, schedule, reference, its_schedule)):
            each.step()


def test_where_nothing_changed_the_state_stays_to_the_bit() -> None:
    config = OptimizerConfig(lr=0.3, schedule="cosine")
    state = checkpoint(config, 5)
    kept = copy.deepcopy(state)
    change_optimizer_(state, asdict(config))
    assert state["optimizer_states"][0]["param_groups"] == kept["optimizer_states"][0]["param_groups"]
    assert state["lr_schedulers"] == kept["lr_schedulers"]


def test_another_optimizer_is_refused() -> None:
    for field, before, after in (("name", "sgd", "adam"), ("schedule", "cosine", "constant")):
        state = checkpoint(OptimizerConfig(**{field: before}), 1)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=rf"`model\.optimizer\.{field}` must be {before} to resume this fit"):
            change_optimizer_(state, asdict(OptimizerConfig(**{field: after})))  # type: ignore[arg-type]
    state = checkpoint(OptimizerConfig(schedule="cosine"), 1)
    with pytest.raises(ValueError, match=r"`model\.optimizer\.warmup` must be 0\.0 to resume this fit"):
        change_optimizer_(state, asdict(OptimizerConfig(schedule="cosine", warmup=0.5)))


NAMES = ("best_model_path", "kth_best_model_path", "last_model_path")


def state_of(path: str) -> dict[str, Any]:
    return {**dict.fromkeys(NAMES, path), "best_k_models": {path: 0.5}, "best_model_score": 0.5}


def forgotten(path: Any, *folders: str) -> bool:
    checkpoint = {"callbacks": {"ModelCheckpoint": state_of(path), "Timer": {"best_model_path": 3}, "x": 4}}
    forget_paths_elsewhere_(checkpoint, folders)
    assert checkpoint["callbacks"].keys() - {"ModelCheckpoint"} == {"x"}
    return "ModelCheckpoint" not in checkpoint["callbacks"]


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


def test_paths_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for path in ("runs/checkpoints/best.ckpt", "runs/checkpoints/a/b.ckpt", "s3://mine/x.ckpt"):
        assert not forgotten(path, "runs/checkpoints", "s3://mine")
        assert forgotten(path)
    assert not forgotten(str(tmp_path / "runs/checkpoints/x.ckpt"), "runs/checkpoints")
    assert not forgotten("../runs/x.ckpt", "../runs")


def test_a_checkpoint_without_callbacks_stays_as_it_is() -> None:
    for checkpoint in ({}, {"callbacks": [1]}):
        before: Any = copy.deepcopy(checkpoint)
        forget_paths_elsewhere_(checkpoint, ["runs"])
        assert checkpoint == before
