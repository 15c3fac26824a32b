"""Ray: trials on worker processes of this machine or of a cluster, which may die."""

import os
import re
import secrets
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from lightning.pytorch import LightningDataModule, Trainer
from packaging.version import Version

from asim_lightning.classifier import CimClassifier
from asim_lightning.evaluation.results import Outcomes
from asim_lightning.exploration.ray_worker import Package, Worker, pack
from asim_lightning.exploration.runner import Evaluation, Key, Result, Run, Steps, proceed

MOST_DEATHS = 3
"""Workers that a trial may lose before it is given up."""
_STORE = 256 << 20
"""Bytes of Ray's object store on this machine: a network and a few outcomes go through it."""
_SHORT = 25
"""Characters of a folder in which Ray's sockets, of 107 at most, have room."""
_OLDEST = "2.52"
"""The first Ray that knows tokens; an older one ignores that it is to ask for one."""


@dataclass
class _Job:
    """A trial, and the worker that computes it."""

    key: Any
    steps: Steps
    worker: Any
    """Ray's handle of it."""
    asked: Evaluation
    """What is computed."""
    deaths: int = 0
    """Workers that died of it, or beside it."""


class RayRunner:
    """One trial a worker at a time, on this machine or on a cluster that runs.

    A worker that dies takes no finished trial with it: this process keeps the outcomes. Its trial is computed again.

    Args:
        trainer: The trainer, of one process; its device, precision and limits are those of the workers.
        model: Converted classifier.
        data: Its data, which each worker reads on its node.
        workers: Number of workers: 1 or more; None: as many as the cluster has CPUs for.
        threads: CPUs of a worker: 1 or more.
        address: HOST:PORT of a cluster that runs; None: on this machine.
    """

    follows_network = False

    def __init__(
        self,
        trainer: Trainer,
        model: CimClassifier,
        data: LightningDataModule,
        workers: int | None,
        threads: int = 1,
        address: str | None = None,
    ) -> None:
        self._trainer, self._model, self._data = trainer, model, data
        self._asked, self._threads, self._address = workers, threads, address
        self.workers = workers or 1
        """Workers; of a cluster whose size is not known yet, 1."""

    def work(self, work: Callable[[Run], Result], advance: Callable[[], None] = lambda: None) -> Result:
        """Do some work that computes trials, and end Ray's processes.

        Raises:
            ValueError: No cluster answers, it is too small, or would take jobs from others; a trial failed, or lost
                too many workers.
        """
        _set_variables(self._address)
        package = pack(self._trainer, self._model, self._data, self._threads)
        with _connected(self._address, self.workers * self._threads) as resources:
            self.workers = self._fitting(resources, on_gpu=package.trainer["accelerator"] == "gpu")
            pool = _Pool(package, self.workers, advance)
            try:
                return work(pool.run)
            finally:
                pool.close()

    def _fitting(self, resources: Mapping[str, float], on_gpu: bool) -> int:
        """The workers that were asked for, or as many as there is room for; Ray would wait for room for ever."""
        cpus, gpus = (int(resources.get(name, 0)) for name in ("CPU", "GPU"))
        most = min(cpus // self._threads, gpus if on_gpu else cpus)
        if most < 1 or (self._asked or 1) > most:
            where = f"at {self._address}" if self._address else "on this machine"
            raise ValueError(
                f"`runner.workers` must be 1..{most} {where}, where Ray has {cpus} CPUs and {gpus} GPUs, with "
                f"{self._threads} CPUs{' and a GPU' * on_gpu} a worker, got {self._asked}"
            )
        return most if self._asked is None else self._asked


class _Pool:
    """Workers, and the trials that they compute."""

    def __init__(self, package: Package, workers: int, advance: Callable[[], None]) -> None:
        import ray

        self._ray, self._advance = ray, advance
        gpus = int(package.trainer["accelerator"] == "gpu")
        # a trial of a worker that died is given to a new one here, and counted
        self._kind = ray.remote(num_cpus=package.threads, num_gpus=gpus, max_restarts=0, max_task_retries=0)(Worker)
        self._package = ray.put(package)
        self._idle = [self._worker() for _ in range(workers)]
        self._jobs: dict[Any, _Job] = {}

    def run(self, trials: Iterable[tuple[Key, Steps]]) -> Iterator[tuple[Key, Outcomes]]:
        """The outcomes of trials, each as soon as it is finished."""
        waiting = iter(trials)
        while True:
            while self._idle and (trial := next(waiting, None)) is not None:
                yield from self._proceed(trial[0], trial[1], None, self._idle.pop())
            if not self._jobs:
                return
            (done,), _ = self._ray.wait(list(self._jobs))
            job = self._jobs[done]
            outcomes = self._outcomes(job, done)
            del self._jobs[done]
            if outcomes is None:
                self._start(job)
            else:
                yield from self._proceed(job.key, job.steps, outcomes, job.worker)

    def close(self) -> None:
        """End the workers, those too that compute, and their trials."""
        for worker in [*self._idle, *(job.worker for job in self._jobs.values())]:
            self._ray.kill(worker)
        for job in self._jobs.values():
            job.steps.close()

    def _worker(self) -> Any:
        return self._kind.remote(self._package)

    def _proceed(
        self, key: Key, steps: Steps, outcomes: Outcomes | None, worker: Any
    ) -> Iterator[tuple[Key, Outcomes]]:
        """Start what a trial asks for, or give its outcomes where it is finished."""
        found = proceed(steps, outcomes)
        if isinstance(found, Evaluation):
            self._start(_Job(key, steps, worker, found))
        else:
            self._idle.append(worker)
            yield key, found

    def _start(self, job: _Job) -> None:
        self._jobs[job.worker.evaluate.remote(job.asked.condition, job.asked.places)] = job

    def _outcomes(self, job: _Job, done: Any) -> Outcomes | None:
        """What a worker found; None where it died, and another is to compute it."""
        errors = self._ray.exceptions
        try:
            outcomes, batches = self._ray.get(done)
            for _ in range(batches):
                self._advance()
            return outcomes
        except errors.RayTaskError as error:
            raise ValueError(f"{job.asked.name}: {words(error)}") from error
        except errors.RayError as error:  # of the system: the worker or its node is gone
            self._ray.kill(job.worker)  # which may be out of reach alone
            job.deaths += 1
            if job.deaths > MOST_DEATHS:
                said = str(error).strip().splitlines()
                why = f": {said[0]}" if said else ""
                raise ValueError(
                    f"{job.asked.name} was given up after {job.deaths} workers died that computed it{why}"
                ) from error
            job.worker = self._worker()
            return None


def words(error: Any) -> str:
    """What went wrong in a worker, in one line, and where, where its node may be the reason.

    Args:
        error: Ray's error, which holds that of the worker.
    """
    cause = error.cause
    what = " ".join((f"{cause}" if isinstance(cause, ValueError) else f"{type(cause).__name__}: {cause}").split())
    if not isinstance(cause, (OSError, ImportError)):
        return what
    found = re.search(r"\bip=([\w.:]+)", str(error))
    node = f" {found[1]}" if found else ""
    return f"{what}, on the node{node}; every node needs the data, and files that settings name, at the same path"


def _set_variables(address: str | None) -> None:
    """Set Ray's variables, which it reads when it is imported.

    Args:
        address: HOST:PORT of a cluster; None: a cluster of our own, which takes jobs from nobody else.

    Raises:
        ValueError: Our own cluster would take jobs without a token.
    """
    # Ray would upload the working folder under uv, and report what it is used for
    variables = {"RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0", "RAY_USAGE_STATS_ENABLED": "0"}
    if address is None:
        mode = os.environ.get("RAY_AUTH_MODE", None if "ray" in sys.modules else "token")
        if mode != "token":
            raise ValueError(
                "RAY_AUTH_MODE must be token before Ray is imported, because Ray runs code of anybody who reaches its "
                f"ports without a token; got {mode or 'none'}"
            )
        variables |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        # without clusters of several machines its ports are those of 127.0.0.1, on Linux too
        variables |= {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
    for name, value in variables.items():
        os.environ.setdefault(name, value)


@contextmanager
def _connected(address: str | None, cpus: int) -> Iterator[Mapping[str, float]]:
    """Ray within this process, which ends with it, and how many CPUs and GPUs it has; signals are handled as before.

    Args:
        address: HOST:PORT of a cluster; None: on this machine.
        cpus: Of this machine, to be used.

    Raises:
        ValueError: No cluster answers, or Ray knows no tokens.
    """
    import ray

    if Version(ray.__version__) < Version(_OLDEST):
        raise ValueError(
            f"`runner: ray` needs Ray {_OLDEST} or newer, got {ray.__version__}: pip install 'asim_lightning[ray]'"
        )
    options: dict[str, Any] = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
    folder = None
    if address is None:
        # "local" is never another one on this machine; Ray opens its folder to all users, but not the one around it
        folder = tempfile.mkdtemp(prefix="asim-", dir=None if len(tempfile.gettempdir()) <= _SHORT else "/tmp")
        inner = os.path.join(folder, "ray")
        options |= {"address": "local", "num_cpus": cpus, "object_store_memory": _STORE, "_temp_dir": inner}
    else:
        options |= {"address": address}
    try:
        with _signals_as_before():
            try:
                ray.init(**options)
            except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
                said = " ".join(str(error).split())
                if address is None:
                    raise ValueError(f"Ray could not be started on this machine: {said:.300}") from error
                raise ValueError(
                    f"`runner.address` must be a cluster of the same versions of Ray and Python, {address} is none or "
                    f"refused (one with a token needs RAY_AUTH_MODE=token): {said:.300}"
                ) from error
        yield ray.cluster_resources()
    finally:
        ray.shutdown()
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _signals_as_before() -> Iterator[None]:
    """Handlers of signals are afterwards what they were, as Ray sets its own for SIGTERM."""
    mine = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)} if mine else {}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
