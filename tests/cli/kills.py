"""Fits that a signal stops, and what is left to compare when they have gone on."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning.pytorch import Callback, LightningModule, Trainer

from asim_lightning.cli import main
from tests.cli.conftest import SECONDS, environment, last_of, write_config
from tests.conftest import rows_of

HOOKS = (
    "on_train_epoch_start", "on_train_batch_start", "on_before_optimizer_step", "on_train_batch_end",
    "on_validation_start", "on_validation_epoch_start", "on_validation_batch_end", "on_validation_epoch_end",
    "on_validation_end", "on_save_checkpoint", "on_train_epoch_end", "on_train_end", "log_metrics",
)  # fmt: skip
"""Of callbacks, and of the first logger."""


def kill(hook: str, call: int, sent: str = "SIGKILL", rank: int = 0, to: str = "all") -> dict[str, str]:
    """The environment in which a process of a fit sends a signal at a call of a hook, from 1: to all processes of the
    fit, to itself or to its parent."""
    return {"KILL": f"{hook},{call},{int(signal.Signals[sent])},{rank},{to}"}


class KillAt(Callback):
    """Sends a signal, as the environment says."""

    def __init__(self) -> None:
        hook, call, sent, rank, self.to = os.environ.get("KILL", ",0,9,0,all").split(",")
        self.hook, self.left, self.sent, self.rank = hook, int(call), int(sent), int(rank)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Count calls of the logger, too."""
        logger: Any = trainer.logger
        log = logger.log_metrics

        def counted(*arguments: Any, **named: Any) -> None:
            self.count("log_metrics", trainer.global_rank)
            log(*arguments, **named)

        logger.log_metrics = counted

    def count(self, hook: str, rank: int) -> None:
        """Count a call."""
        if hook == self.hook and rank == self.rank:
            self.left -= 1
            if self.left == 0:
                whom = {"all": -os.getpgrp(), "itself": os.getpid(), "parent": os.getppid()}
                os.kill(whom[self.to], self.sent)


def _counting(hook: str) -> Any:
    def counted(self: KillAt, trainer: Trainer, *_: Any, **__: Any) -> None:
        self.count(hook, trainer.global_rank)

    return counted


for _hook in HOOKS[:-1]:
    setattr(KillAt, _hook, _counting(_hook))


def write(
    folder: Path, data: Path, every: int | None, trainer: dict[str, Any] | None = None, model: str = "proportional"
) -> Path:
    """A recipe of three epochs of four steps with a `KillAt`, on as many processes as the trainer has devices."""
    path = write_config(folder, data, every, model=model)
    config = yaml.safe_load(path.read_text())
    config["trainer"].update({"max_epochs": 3, "log_every_n_steps": 1, **(trainer or {})})
    config["trainer"]["callbacks"].append({"class_path": "tests.cli.kills.KillAt"})
    config["data"]["init_args"]["batch_size"] //= config["trainer"].get("devices", 1)
    path.write_text(yaml.safe_dump(config))
    return path


def fit(folder: Path, *arguments: str, variables: dict[str, str] | None = None) -> int | None:
    """`asim fit` in a process that is forked from here, so that Lightning is imported once; its exit code, None if it
    hung."""
    process = get_context("fork").Process(target=_fit_here, args=(folder, arguments, variables or {}))
    process.start()
    process.join(SECONDS)
    if process.is_alive():
        process.kill()
        process.join()
        return None
    return process.exitcode


def _fit_here(folder: Path, arguments: tuple[str, ...], variables: dict[str, str]) -> None:
    os.setpgid(0, 0)
    os.chdir(folder)
    os.environ.update(variables)
    with open("said.txt", "a", buffering=1) as said:
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
    main(["fit", "-c", "tiny.yaml", *arguments])


def program(folder: Path, *arguments: str, variables: dict[str, str] | None = None) -> int | None:
    """`asim fit` as a program that starts its own processes; its exit code, None if one of them does not end."""
    command = [sys.executable, "-m", "asim_lightning", "fit", "-c", "tiny.yaml", *arguments]
    env, code = environment() | (variables or {}), None
    with open(folder / "said.txt", "a") as said:
        process = subprocess.Popen(command, cwd=folder, env=env, stdout=said, stderr=said, start_new_session=True)
    with contextlib.suppress(subprocess.TimeoutExpired):
        code = process.wait(2 * SECONDS)
    with contextlib.suppress(ProcessLookupError):
        for _ in range(100):  # those that it started end soon after it
            os.killpg(process.pid, 0)
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return None
    return code


def resumed(folder: Path) -> list[str]:
    """What is wrong with how a fit that was stopped goes on: from its last.ckpt, anew where there is none."""
    resumes = last_of(folder).exists()
    if not resumes:
        shutil.rmtree(folder / "runs", ignore_errors=True)
    code = fit(folder, *(("--ckpt_path", "last") if resumes else ()))
    return [f"it does not go on: {code} {(folder / 'said.txt').read_text()[-800:]}"] if code else []


def differences(folder: Path, whole: Path) -> list[str]:
    """In what a run that was stopped differs from one that was not: weights, ranges, metrics, best epoch."""
    found = []
    for name in ("last", "best"):
        one, other = (
            torch.load(last_of(each).with_name(f"{name}.ckpt"), weights_only=True) for each in (folder, whole)
        )
        found += [f"{name}: {key} {one[key]}" for key in ("global_step", "epoch") if one[key] != other[key]]
        found += [key for key, value in one["state_dict"].items() if not torch.equal(value, other["state_dict"][key])]
    mine, its = _metrics(folder), _metrics(whole)
    return found + [f"{key}: {mine.get(key)}" for key in sorted({*mine, *its}) if mine.get(key) != its.get(key)]


def _metrics(folder: Path) -> dict[tuple[str, str], set[str]]:
    """Every number that was logged, by name and step; a step that was made twice must have logged the same."""
    found: dict[tuple[str, str], set[str]] = {}
    for path in last_of(folder).parents[1].rglob("metrics.csv"):
        for row in rows_of(path):
            for name, value in row.items():
                if value and name not in ("step", "epoch"):
                    found.setdefault((name, row["step"]), set()).add(value)
    return found
