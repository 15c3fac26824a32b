"""Which runner computes the trials, as a user says it."""

import os
import re
import socket
from dataclasses import dataclass
from importlib.util import find_spec

import torch
from lightning.pytorch import LightningDataModule, Trainer

from asim_lightning.checks import check_choice, check_whole
from asim_lightning.classifier import CimClassifier
from asim_lightning.exploration.runner import Runner, TrainerRunner

RUNNERS = ("trainer", "ray")
_ADDRESS = re.compile(r"(?P<host>[\w.-]+|\[[0-9a-fA-F:]+\]):(?P<port>\d{1,5})")
_FEW = 8
"""Workers that any machine may be asked for."""
_PATIENCE = 5.0
"""Seconds within which a cluster takes a connection, and answers."""
_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5)
"""What begins a connection of HTTP/2, which a cluster speaks, and no settings."""
_SETTINGS = 4
"""Type of a frame of settings, at its fourth byte: the first that a server sends."""


@dataclass(frozen=True)
class RunnerSettings:
    """Who computes the trials.

    Raises:
        ValueError: A setting is not allowed, or has no meaning with the runner.
    """

    name: str = "trainer"
    """trainer: this process, or those of trainer.devices; ray: worker processes here or in a cluster, a trial each."""
    workers: int | None = None
    """Of ray: workers, 1 or more; null: as many as there are CPUs for."""
    threads: int = 1
    """Of ray: CPUs of a worker, 1 or more."""
    address: str | None = None
    """Of ray: HOST:PORT of a cluster that runs, to which this machine belongs; null: on this machine alone."""

    def __post_init__(self) -> None:
        check_choice("`runner`", self.name, RUNNERS)
        if self.workers is not None:
            check_whole("`runner.workers`", self.workers, 1, also=" or null")
        check_whole("`runner.threads`", self.threads, 1)
        if self.address is not None:
            _endpoint(self.address)
        if self.name == "ray":
            return
        for name, value in (("workers", self.workers), ("address", self.address)):
            if value is not None:
                raise ValueError(
                    f"`runner.{name}` is of `runner: ray`, got {value} with `runner: {self.name}`, whose processes "
                    "`trainer.devices` sets"
                )


def runner_of(settings: RunnerSettings, trainer: Trainer, model: CimClassifier, data: LightningDataModule) -> Runner:
    """The runner that settings describe.

    Args:
        settings: Its settings.
        trainer: Lightning trainer.
        model: Converted classifier.
        data: Its data.

    Raises:
        ValueError: It is not installed, or not for so many processes; or nothing answers at its address.
    """
    if settings.name == "trainer":
        return TrainerRunner(trainer, model, data)
    if trainer.world_size > 1:
        raise ValueError(
            "`trainer.devices` must be 1 with `runner: ray`, whose processes `runner.workers` sets, got "
            f"{trainer.world_size}"
        )
    workers, cpus = settings.workers, len(_cpus())
    if settings.address is None:
        bound = max(cpus, _FEW)
        if settings.threads > bound:
            raise ValueError(
                f"`runner.threads` must be 1..{bound} on this machine of {cpus} CPUs, got {settings.threads}"
            )
        most = bound // settings.threads
        if workers is None:
            gpus = torch.cuda.device_count() if trainer.strategy.root_device.type == "cuda" else cpus
            workers = max(min(cpus // settings.threads, gpus), 1)
        if workers > most:
            raise ValueError(
                f"`runner.workers` must be 1..{most} on this machine of {cpus} CPUs, with {settings.threads} a "
                f"worker, got {workers}"
            )
    else:
        _check_answers(settings.address)
    if find_spec("ray") is None:
        raise ValueError("`runner: ray` needs a package that is not installed: pip install 'asim_lightning[ray]'")
    from asim_lightning.exploration.ray_runner import RayRunner

    return RayRunner(trainer, model, data, workers, settings.threads, settings.address)


def _cpus() -> set[int]:
    """CPUs that this process may use, which may be fewer than the machine has."""
    given = getattr(os, "sched_getaffinity", None)
    return set(range(os.cpu_count() or 1)) if given is None else given(0)


def _endpoint(address: str) -> tuple[str, int]:
    found = _ADDRESS.fullmatch(address)
    port = int(found["port"]) if found else 0
    if not found or not 0 < port < 65536:
        raise ValueError(
            "`runner.address` must be HOST:PORT of a cluster that runs, as `ray start --head` prints it, such as "
            f"10.0.0.1:6379, got {address!r}"
        )
    return found["host"].strip("[]"), port


def _check_answers(address: str) -> None:
    """Refuse an address at which nothing answers, or something else, where Ray would try for minutes."""
    must = "`runner.address` must be a Ray cluster that runs, and"
    try:
        with socket.create_connection(_endpoint(address), _PATIENCE) as connection:
            if os.environ.get("RAY_USE_TLS", "0").lower() not in ("", "0", "false"):
                return  # which begins otherwise
            connection.sendall(_HELLO)
            answer = connection.recv(9)
    except OSError as error:
        raise ValueError(f"{must} nothing answers at {address}: {error.strerror or error}") from None
    if len(answer) < 4 or answer[3] != _SETTINGS:
        raise ValueError(f"{must} what answers at {address} is none")
