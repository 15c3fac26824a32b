"""Fits that a signal stops, and what is left to compare when they have gone on.

Fits are forked, so that Lightning is imported once. Where a fit has several processes they are started as torchrun
starts them, in a process group of their own, as a terminal and a scheduler have it.
"""

import contextlib
import csv
import importlib
import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only

from asim_lightning.cli import main
from tests.cli.runs_to_stop import SECONDS, environment, last_of, write_config

HOOKS = (
    "on_train_epoch_start", "on_train_batch_start", "on_before_optimizer_step", "on_train_batch_end",
    "on_validation_start", "on_validation_epoch_start", "on_validation_batch_end", "on_validation_epoch_end",
    "on_validation_end", "on_save_checkpoint", "on_train_epoch_end", "on_train_end", "log_metrics",
)  # fmt: skip
"""Of callbacks, and of the first logger."""


@dataclass(frozen=True)
class Kill:
    """A signal that a process of a fit sends at a call of a hook.

    Args:
        hook: Name of the hook.
        call: Which call of it, from 1.
        sent: The signal.
        rank: Which process sends it.
        to: Whom it sends it to: all processes of the fit, itself or its parent.
    """

    hook: str
    call: int
    sent: signal.Signals = signal.SIGKILL
    rank: int = 0
    to: str = "all"


class KillAt(Callback):
    """Sends a `Kill`, which the environment holds."""

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


def environment_of(kill: Kill) -> dict[str, str]:
    """Where a `KillAt` finds what it sends."""
    return {"KILL": f"{kill.hook},{kill.call},{int(kill.sent)},{kill.rank},{kill.to}"}


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
    trainer = dict(trainer or {})
    callbacks = trainer.pop("callbacks", [])
    config["trainer"].update({"max_epochs": 3, "log_every_n_steps": 1, **trainer})
    config["trainer"]["callbacks"] += [*callbacks, {"class_path": "tests.cli.kills.KillAt"}]
    config["data"]["init_args"]["batch_size"] //= trainer.get("devices", 1)
    path.write_text(yaml.safe_dump(config))
    return path


def warm(folder: Path, data: Path) -> None:
    """Import here, and read once, what each fit that is forked from here would import and read again."""
    for name in ("asim_lightning.data", "lightning.pytorch", "safetensors", "tensorboard", "timm"):
        importlib.import_module(name)
    config = write(folder, data, None)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        main(["fit", "-c", str(config), "--print_config"])


def fit(folder: Path, *arguments: str, kill: Kill | None = None) -> list[int | None]:
    """`asim fit` in forked processes, with a signal at a call of a hook; how each of them ended, None where it hung."""
    sys.stdout.flush()
    trainer = yaml.safe_load((folder / "tiny.yaml").read_text())["trainer"]
    count = trainer.get("devices", 1)
    variables = environment_of(kill) if kill else {}
    if count > 1:
        variables |= {"TORCHELASTIC_RUN_ID": "kills", "WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1"}
        variables["MASTER_PORT"] = str(_free_port())
    processes: list[int] = []
    for rank in range(count):
        process = os.fork()
        if not process:
            os.setpgid(0, processes[0] if processes else 0)
            own = {"RANK": str(rank), "LOCAL_RANK": str(rank)} if count > 1 else {}
            _fit_here(folder, arguments, variables | own)
        with contextlib.suppress(OSError):  # it has done so itself
            os.setpgid(process, processes[0] if processes else 0)
        processes.append(process)
    return _ended(processes)


def program(folder: Path, *arguments: str, kill: Kill | None = None) -> int | None:
    """`asim fit` as a program that starts its own processes; its exit code, None where one of them does not end."""
    command = [sys.executable, "-m", "asim_lightning", "fit", "-c", "tiny.yaml", *arguments]
    env = environment() | (environment_of(kill) if kill else {})
    code = None
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


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def _fit_here(folder: Path, arguments: tuple[str, ...], variables: dict[str, str]) -> None:
    """Be a process of a fit, and end as it does."""
    code: Any = 1
    try:
        os.chdir(folder)
        os.environ.update(variables)
        rank_zero_only.rank = int(variables.get("RANK", 0))  # which Lightning takes from there as it is imported
        with open("said.txt", "a", buffering=1) as said:
            os.dup2(said.fileno(), 1)
            os.dup2(said.fileno(), 2)
            try:
                main(["fit", "-c", "tiny.yaml", *arguments])
                code = 0
            except SystemExit as stop:
                code = stop.code
            except BaseException:
                traceback.print_exc()
            sys.stdout.flush()
    finally:
        os._exit(code if isinstance(code, int) else 1)


def _ended(processes: list[int]) -> list[int | None]:
    """Wait until all processes of a fit have ended, and end those that hang."""
    start, ended = time.monotonic(), dict.fromkeys(processes)
    while time.monotonic() < start + SECONDS and None in ended.values():
        for process in (each for each, status in ended.items() if status is None):
            found, status = os.waitpid(process, os.WNOHANG)
            if found:
                ended[process] = os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    for process in (each for each, status in ended.items() if status is None):
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
    return list(ended.values())


def resumed(folder: Path) -> list[str]:
    """What is wrong with how a fit that was stopped goes on: from its last.ckpt, anew where there is none."""
    resumes = last_of(folder).exists()
    if not resumes:
        shutil.rmtree(folder / "runs", ignore_errors=True)
    ended = fit(folder, *(("--ckpt_path", "last") if resumes else ()))
    return [f"it does not go on: {ended} {(folder / 'said.txt').read_text()[-800:]}"] if any(ended) else []


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
    tables = [last_of(each).parents[1] / "noise_sweep.csv" for each in (folder, whole)]
    if tables[1].exists() and tables[0].read_text() != tables[1].read_text():
        found.append(f"noise_sweep.csv: {tables[0].read_text()} for {tables[1].read_text()}")
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
