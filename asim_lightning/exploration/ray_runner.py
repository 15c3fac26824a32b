"""Ray: trials on worker processes of this machine or of a cluster; a worker may die."""

import os
import pickle
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from typing import Any

import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch import Callback, LightningDataModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, ProgressBar
from packaging.version import Version

from asim_lightning.classifier.network import CimModule
from asim_lightning.evaluation.condition import Condition
from asim_lightning.evaluation.evaluate import quiet_trainer, run_evaluations
from asim_lightning.evaluation.results import Outcomes
from asim_lightning.exploration.runner import Compute, Done, Evaluation, Result, Runner, RunnerSettings, Steps, proceed

MOST_DEATHS = 3
"""Workers that a trial may lose; at the next death it is given up."""
_OLDEST = "2.52"
"""The first Ray with tokens; an older Ray ignores the request for one."""


class RayRunner(Runner):
    """Runs one trial a worker at a time, on this machine or on a running cluster.

    If a worker dies, its finished trials are safe, because this process has their outcomes. Ray starts another worker,
    which computes the trial again. Workers have the trainer's device, precision and limits, and read the data on their
    nodes. `RunnerSettings` explains the numbers.
    """

    follows_network = False

    def __init__(self, trainer: Trainer, model: CimModule, data: LightningDataModule, settings: RunnerSettings) -> None:
        super().__init__(trainer, model, data)
        self._settings = settings
        self.workers = settings.workers or 1
        """Workers; 1 until their number is known."""

    def work(self, work: Callable[[Compute], Result], advance: Callable[[], None] = lambda: None) -> Result:
        """Do work that computes trials, and end Ray's processes."""
        cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        threads, address = self._settings.threads, self._settings.address
        needed = threads * (self._settings.workers or max(cpus // threads, 1))
        with _connected(address, min(needed, max(cpus, 8))) as resources:  # 8: any machine has room for a few
            import ray

            trainer, model, _ = self._given
            on_gpu = model.device.type != "cpu" or trainer.strategy.root_device.type != "cpu"
            package = [ray.put(each) for each in packed(*self._given, on_gpu, threads)]
            self.workers = self._fitting(resources, on_gpu)
            # torch's threads read it when torch loads: see cli/main.py
            waits = {"env_vars": {"OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE")}}
            kind = ray.remote(
                num_cpus=threads, num_gpus=int(on_gpu), max_restarts=-1, max_task_retries=MOST_DEATHS, runtime_env=waits
            )(Worker)
            idle = [kind.remote(*package) for _ in range(self.workers)]
            return work(lambda trials: _computed(trials, idle, advance))

    def _fitting(self, resources: Mapping[str, float], on_gpu: bool) -> int:
        """The number of workers: as asked, or as many as fit; Ray would wait for room forever."""
        asked, threads, address = self._settings.workers, self._settings.threads, self._settings.address
        has = {name: int(resources.get(name, 0)) for name in ("CPU", "GPU")}
        most = min(has["CPU"] // threads, has["GPU"] if on_gpu else has["CPU"])
        if most < 1 or (asked or 1) > most:
            where = f"at {address}" if address else "on this machine"
            raise ValueError(
                f"`runner.workers` must be 1..{most} {where}, because Ray has {has['CPU']} CPUs and {has['GPU']} GPUs, "
                f"with {threads} CPUs{' and a GPU' * on_gpu} a worker, got {asked}"
            )
        return asked or most


def _computed(trials: Iterable[Steps[Done]], idle: list[Any], advance: Callable[[], None]) -> Iterator[Done]:
    """Trials and their outcomes, each when it is finished; at the end all workers are idle again."""
    import ray

    waiting, jobs = iter(trials), dict[Any, tuple[Steps[Done], Any, str]]()
    while True:
        outcomes = None
        if idle and (started := next(waiting, None)) is not None:
            steps, worker = started, idle.pop()
        elif jobs:
            (done,), _ = ray.wait(list(jobs))
            steps, worker, name = jobs[done]
            outcomes, batches = _received(done, name)
            del jobs[done]
            for _ in range(batches):
                advance()
        else:
            return
        asked = proceed(steps, outcomes)
        if isinstance(asked, Evaluation):
            jobs[worker.evaluate.remote(asked.condition, asked.places)] = steps, worker, asked.name
        else:
            idle.append(worker)
            yield asked


def _received(done: Any, name: str) -> tuple[Outcomes, int]:
    """Outcomes from a worker; an error if the evaluation failed or lost too many workers."""
    import ray

    try:
        found: tuple[Outcomes, int] = ray.get(done)
        return found
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        said = f"{cause}" if isinstance(cause, ValueError) else f"{type(cause).__name__}: {cause}"
        raise ValueError(f"{name}: {' '.join(said.split())}") from error
    except ray.exceptions.RayError as error:  # of the system: workers or their nodes are gone
        said = f"{error}".strip().partition("\n")[0]
        raise ValueError(f"{name} was given up because {MOST_DEATHS + 1} of its workers died: {said}") from error


@contextmanager
def _connected(address: str | None, cpus: int) -> Iterator[Mapping[str, float]]:
    """A connection to Ray, closed at the end, and its numbers of CPUs and GPUs; signal handlers are restored.

    Without an address it starts a private cluster with `cpus` CPUs, which takes jobs from nobody else.
    """
    _set_variables(address)
    import ray

    if Version(ray.__version__) < Version(_OLDEST):
        raise ValueError(
            f"`runner: ray` needs Ray {_OLDEST} or newer, got {ray.__version__}: pip install 'asim_lightning[ray]'"
        )
    # Ray opens its folder to all users, so put it into a private one; socket paths have at most 107 characters
    folder = tempfile.mkdtemp(prefix="asim-", dir=None if len(tempfile.gettempdir()) <= 25 else "/tmp")
    options: dict[str, Any] = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
    if address is None:  # the store only takes a network and a few outcomes
        options |= {"num_cpus": cpus, "object_store_memory": 256 << 20, "_temp_dir": os.path.join(folder, "ray")}
    mine = threading.current_thread() is threading.main_thread()
    handlers = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)} if mine else {}
    try:
        try:
            ray.init(address or "local", **options)  # "local" is never another cluster on this machine
        except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            said = " ".join(f"{error}".split())[:300]
            if address is None:
                raise ValueError(f"Ray could not be started on this machine: {said}") from error
            raise ValueError(
                "`runner.address` must be a Ray cluster of the same versions of Ray and Python (one with a token needs "
                f"RAY_AUTH_MODE=token), got {address}{': ' * bool(said)}{said}"
            ) from error
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)  # Ray sets its own
        yield ray.cluster_resources()
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def _set_variables(address: str | None) -> None:
    """Set the variables that Ray reads at import; without an address, those of a private cluster."""
    # else Ray uploads the working folder under uv, and reports its usage
    variables = {"RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0", "RAY_USAGE_STATS_ENABLED": "0"}
    if address is None:
        mode = os.environ.get("RAY_AUTH_MODE", None if "ray" in sys.modules else "token")
        if mode != "token":
            raise ValueError(
                "RAY_AUTH_MODE must be token before Ray is imported, because Ray runs code of anybody who reaches its "
                f"ports without a token; got {mode or 'none'}"
            )
        variables |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        # without clusters of several machines, Ray only opens ports of 127.0.0.1, on Linux too
        variables |= {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
    else:
        # else Ray tries an address without a cluster 20 times, for 14 minutes
        variables |= {"RAY_NUM_REDIS_GET_RETRIES": "1", "RAY_py_gcs_connect_timeout_s": "15"}
    for name, value in variables.items():
        os.environ.setdefault(name, value)


def packed(
    trainer: Trainer, model: CimModule, data: LightningDataModule, on_gpu: bool, threads: int
) -> tuple[bytes, list[str]]:
    """The data with which a `Worker` computes like a trainer in this process; our data modules go without images."""
    from ray import cloudpickle

    installed: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    settings = {
        "accelerator": "gpu" if on_gpu else "cpu",
        "precision": trainer.precision,
        "limit_test_batches": trainer.limit_test_batches,
        "callbacks": [each for each in installed if not isinstance(each, (Checkpoint, ProgressBar))],
        "default_root_dir": os.getcwd(),
    }
    data = copy(data)
    data.trainer = None
    if hasattr(data, "num_workers"):
        data.num_workers = 0  # a worker has many threads, so it must not fork
    try:
        content = cloudpickle.dumps((model, data, settings, threads))
    except Exception as error:  # any kind: objects may define their own pickling
        raise ValueError(f"`runner: ray` sends model, data and callbacks to workers, but cannot: {error}") from error
    # in a notebook the working folder is "", which means another folder in a worker
    return content, [os.path.abspath(path) for path in sys.path]


class Worker:
    """Owns the network of a process, made from `packed` at the first evaluation."""

    def __init__(self, content: bytes, modules: Sequence[str]) -> None:
        self._content, self._modules = content, modules
        self._built: tuple[Trainer, CimModule, LightningDataModule] | None = None

    def evaluate(self, condition: Condition, places: Sequence[int] | None) -> tuple[Outcomes, int]:
        """The answers to images by index, or to all test images, and the number of batches."""
        batches: list[None] = []
        try:
            self._built = self._built or self._build()
            found = run_evaluations(
                *self._built, lambda evaluate: evaluate(condition, places), advance=lambda: batches.append(None)
            )
        except (OSError, ImportError) as error:
            raise ValueError(
                f"{type(error).__name__}: {error}, on the node {socket.gethostname()}; every node needs the data, and "
                "files that settings name, at the same path"
            ) from error
        return found, len(batches)

    def _build(self) -> tuple[Trainer, CimModule, LightningDataModule]:
        sys.path.extend(path for path in self._modules if path not in sys.path)
        model, data, settings, threads = pickle.loads(self._content)
        torch.set_num_threads(threads)  # Ray sets a variable for this, but torch may have read it before
        if os.path.isdir(settings["default_root_dir"]):  # absent on another node, where absolute paths still work
            os.chdir(settings["default_root_dir"])
        # whatever cluster starts the worker
        return quiet_trainer(**settings, devices=1, plugins=[LightningEnvironment()]), model, data
