"""Fits that a signal stops at a given call of a hook, and what is left to compare when they have gone on."""

import csv
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning.pytorch import Callback

from asim_lightning.cli import main
from tests.cli.runs_to_stop import last_of, write_config

HOOKS = (
    "on_train_epoch_start", "on_train_batch_start", "on_before_optimizer_step", "on_train_batch_end",
    "on_validation_start", "on_validation_epoch_start", "on_validation_batch_end", "on_validation_epoch_end",
    "on_validation_end", "on_save_checkpoint", "on_train_epoch_end", "on_train_end",
)  # fmt: skip


class KillAt(Callback):
    """Sends its own process a signal at a call of a hook, as the environment says."""

    def __init__(self) -> None:
        self.hook = os.environ.get("KILL_HOOK", "")
        self.left = int(os.environ.get("KILL_CALL", "0"))
        self.signal = int(os.environ.get("KILL_SIGNAL", str(int(signal.SIGKILL))))

    def count(self, hook: str) -> None:
        """Count a call."""
        if hook == self.hook:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), self.signal)


def _counting(hook: str) -> Any:
    def counted(self: KillAt, *_: Any, **__: Any) -> None:
        self.count(hook)

    return counted


for _hook in HOOKS:
    setattr(KillAt, _hook, _counting(_hook))


def write(folder: Path, data: Path, every: int | None, trainer: dict[str, Any] | None = None) -> Path:
    """A recipe of three epochs of four steps with a `KillAt`."""
    path = write_config(folder, data, every, model="proportional")
    config = yaml.safe_load(path.read_text())
    trainer = dict(trainer or {})
    callbacks = trainer.pop("callbacks", [])
    config["trainer"].update({"max_epochs": 3, "log_every_n_steps": 1, **trainer})
    config["trainer"]["callbacks"] += [*callbacks, {"class_path": "tests.cli.kills.KillAt"}]
    path.write_text(yaml.safe_dump(config))
    return path


def fit(folder: Path, *arguments: str, **environment: str) -> int:
    """`asim fit` in a forked process; how it ended."""
    sys.stdout.flush()
    process = os.fork()
    if process:
        return os.waitpid(process, 0)[1]
    code: Any = 1
    try:
        os.chdir(folder)
        os.environ.update(environment)
        with open("said.txt", "a", buffering=1) as said:
            os.dup2(said.fileno(), 1)
            os.dup2(said.fileno(), 2)
            try:
                main(["fit", "-c", "tiny.yaml", *arguments])
                code = 0
            except SystemExit as stop:
                code = stop.code
            sys.stdout.flush()
    finally:
        os._exit(code if isinstance(code, int) else 1)


def killed_and_resumed(folder: Path, hook: str, call: int, sent: signal.Signals) -> bool:
    """Whether a fit was stopped at a call of a hook; it has gone on then."""
    at = {"KILL_HOOK": hook, "KILL_CALL": str(call), "KILL_SIGNAL": str(int(sent))}
    if fit(folder, **at) == 0:
        return False
    resumes = last_of(folder).exists()
    if not resumes:
        shutil.rmtree(folder / "runs", ignore_errors=True)
    assert fit(folder, *(("--ckpt_path", "last") if resumes else ())) == 0, (folder / "said.txt").read_text()[-800:]
    return True


def differences(folder: Path, whole: Path) -> list[str]:
    """In what a run that was stopped differs from one that was not: weights, ranges, metrics, best epoch."""
    found = []
    for name in ("last", "best"):
        one, other = (
            torch.load(last_of(each).with_name(f"{name}.ckpt"), weights_only=True) for each in (folder, whole)
        )
        if (one["global_step"], one["epoch"]) != (other["global_step"], other["epoch"]):
            found.append(f"{name}: step {one['global_step']} for {other['global_step']}")
        unequal = [key for key, value in one["state_dict"].items() if not torch.equal(value, other["state_dict"][key])]
        if unequal:
            found.append(f"{name}: {unequal[0]} and {len(unequal) - 1} more")
    mine, its = _metrics(folder), _metrics(whole)
    found += [
        f"{key}: {mine.get(key)} for {its.get(key)}" for key in sorted({*mine, *its}) if mine.get(key) != its.get(key)
    ]
    return found


def _metrics(folder: Path) -> dict[tuple[str, str], set[str]]:
    """Every number that was logged, by name and step; a step that was made twice must have logged the same."""
    version = last_of(folder).parents[1]
    found: dict[tuple[str, str], set[str]] = {}
    for path in version.glob("metrics*.csv"):
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                for name, value in row.items():
                    if value and name not in ("step", "epoch"):
                        found.setdefault((name, row["step"]), set()).add(value)
    return found
