"""A fit that is killed, at any moment, and resumed ends with the weights that it would have had, to the bit.

As a program, with a folder, this runs fits in forked processes, which import Lightning once.
"""

import contextlib
import functools
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from docstring_parser.attrdoc import AttributeDocstrings
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging

from asim_lightning import CimClassifier
from asim_lightning.callbacks import LastCheckpoint, NoiseRamp
from asim_lightning.classifier import OptimizerConfig
from asim_lightning.cli import main
from asim_lightning.data import FashionMNIST
from tests.classifier.conftest import make_model
from tests.cli.conftest import write_data
from tests.cli.runs_to_stop import EPOCHS, ROOT, SECONDS, environment, last_of, write_config

Whole = Callable[..., CimClassifier]


def assert_same(killed: Path, whole: Path) -> None:
    """Weights, ranges, running statistics and optimizer state of two checkpoints are equal to the bit."""
    one, other = (torch.load(path, weights_only=True) for path in (killed, whole))
    assert one["global_step"] == other["global_step"] > 0
    assert one["state_dict"].keys() == other["state_dict"].keys()
    different = [name for name, value in one["state_dict"].items() if not torch.equal(value, other["state_dict"][name])]
    assert not different
    moments = [each["optimizer_states"][0]["state"] for each in (one, other)]
    assert all(
        torch.equal(moments[0][key]["momentum_buffer"], moments[1][key]["momentum_buffer"]) for key in moments[0]
    )


def kill_after_a_checkpoint(process: int, last: Path, delay: float) -> int:
    """Kill a process some time after last.ckpt is there; the status with which it ended."""
    deadline = time.monotonic() + SECONDS
    while not last.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(delay)
    os.kill(process, signal.SIGKILL)
    return os.waitpid(process, 0)[1]


def forked(folder: Path, *arguments: str) -> int:
    """`asim` in a process of its own, in a folder."""
    sys.stdout.flush()
    process = os.fork()
    if process:
        return process
    os.chdir(folder)
    code = 1
    try:
        with open("said.txt", "a", buffering=1) as said:
            os.dup2(said.fileno(), 1)
            os.dup2(said.fileno(), 2)
            main(arguments)
            sys.stdout.flush()  # os._exit does not
        code = 0
    finally:
        os._exit(code)


def run_forked(folder: Path, every: int | None, model: str, delay: float) -> None:
    """A whole fit beside one that is killed and goes on, in folder/whole and folder/killed."""
    torch.set_num_threads(1)
    data = write_data(folder / "images")
    for name in ("whole", "killed"):
        path = write_config(folder / name, data, every, model=model)
    read = AttributeDocstrings.get_attr_docs
    cached = functools.cache(lambda component: read(AttributeDocstrings(), component))
    AttributeDocstrings.get_attr_docs = lambda self, component: cached(component)
    with contextlib.suppress(SystemExit):
        main(["fit", "-c", str(path), "--print_config"])  # reads and imports once what all of them need
    killed = forked(folder / "killed", "fit", "-c", "tiny.yaml")
    status = kill_after_a_checkpoint(killed, last_of(folder / "killed"), delay)
    if status != signal.SIGKILL:
        raise SystemExit(f"the fit ended before it was killed, with status {status}")
    shutil.copy(last_of(folder / "killed"), folder / "at_the_kill.ckpt")
    started = [
        forked(folder / "killed", "fit", "-c", "tiny.yaml", "--ckpt_path", "last"),
        forked(folder / "whole", "fit", "-c", "tiny.yaml"),
    ]
    if any(os.waitpid(process, 0)[1] for process in started):
        raise SystemExit("\n".join((folder / name / "said.txt").read_text() for name in ("whole", "killed")))


@pytest.mark.slow
def test_a_killed_fit_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    kill_and_resume(3, "proportional", tmp_path)


@pytest.mark.slow  # 30 s on a busy machine
@pytest.mark.parametrize("every", [1, None])
def test_a_killed_fit_under_the_noise_of_the_macro_does_too(every: int | None, tmp_path: Path) -> None:
    kill_and_resume(every, "macro", tmp_path)


def kill_and_resume(every: int | None, model: str, tmp_path: Path) -> None:
    delay = random.uniform(0.0, 0.6)
    command = [sys.executable, "-m", "tests.cli.test_resume", str(tmp_path), str(every), model, str(delay)]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=2 * SECONDS)
    assert done.returncode == 0, (delay, done.stderr)
    step = torch.load(tmp_path / "at_the_kill.ckpt", weights_only=True)["global_step"]
    assert 0 < step < 4 * EPOCHS
    said = (tmp_path / "killed" / "said.txt").read_text()
    assert f", step {step}, from runs/tiny/version_0/checkpoints/last.ckpt; " in said
    assert_same(last_of(tmp_path / "killed"), last_of(tmp_path / "whole"))


@pytest.mark.slow  # four starts of the program for each case
@pytest.mark.parametrize(("every", "workers", "model"), [(None, 0, "macro"), (3, 1, "proportional"), (1, 0, "macro")])
def test_a_killed_program_goes_on_to_the_same_weights(
    every: int | None, workers: int, model: str, images: Path, tmp_path: Path
) -> None:
    program = [str(Path(sys.executable).parent / "asim"), "fit", "-c", "tiny.yaml"]
    for name in ("whole", "killed"):
        write_config(tmp_path / name, images, every, workers, model)
    options: dict[str, Any] = {"env": environment(), "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run(program, cwd=tmp_path / "whole", check=True, timeout=SECONDS, **options)
    delay = random.uniform(0.0, 0.6)
    killed = subprocess.Popen(program, cwd=tmp_path / "killed", start_new_session=True, **options)
    assert kill_after_a_checkpoint(killed.pid, last_of(tmp_path / "killed"), delay) == signal.SIGKILL, delay
    killed.returncode = -signal.SIGKILL
    with contextlib.suppress(ProcessLookupError):
        os.killpg(killed.pid, signal.SIGKILL)  # its workers
    resumed = [*program, "--ckpt_path", "last"]
    subprocess.run(resumed, cwd=tmp_path / "killed", check=True, timeout=SECONDS, **options)
    assert_same(last_of(tmp_path / "killed"), last_of(tmp_path / "whole"))


class Killed(Exception):
    """What a step raises in place of a kill."""


class KillsAt(Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step == self.step:
            raise Killed


class EndsAt(Callback):
    """Ends a fit behind a batch, as Lightning does where `max_time` is over."""

    def __init__(self, batch: int) -> None:
        self.batch = batch

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        trainer.should_stop = trainer.should_stop or trainer.fit_loop.total_batch_idx + 1 == self.batch


LIMITS = (
    "limit_train_batches", "val_check_interval", "check_val_every_n_epoch", "accumulate_grad_batches", "max_steps",
)  # fmt: skip


def fit(images: Path, folder: Path, *callbacks: Callback, resume: bool = False, **options: Any) -> CimClassifier:
    """Three epochs of four steps, under a ramp of noise, mixup and augmentation; the trained classifier."""
    limits = {name: options.pop(name) for name in LIMITS if name in options}
    model = make_model(mixup=0.4, **options)
    data = FashionMNIST(str(images), batch_size=20, eval_batch_size=10)
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=3,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        default_root_dir=folder,
        callbacks=[NoiseRamp(20.0, length=3.0), *callbacks],
        **limits,
    )
    last = folder / "checkpoints" / "last.ckpt"
    trainer.fit(model, datamodule=data, ckpt_path=last if resume else None, weights_only=True)
    return model


@pytest.fixture(scope="module")
def whole(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """A fit that nothing stops, trained once for the tests with the same options."""
    trained: dict[str, CimClassifier] = {}

    def trained_with(**options: Any) -> CimClassifier:
        key = repr(options)
        if key not in trained:
            trained[key] = fit(images, tmp_path_factory.mktemp("whole"), LastCheckpoint(), **options)
        return trained[key]

    return trained_with


def stopped(
    images: Path, folder: Path, every: int | None, *callbacks: Callable[[], Callback], at: int = 7, **options: Any
) -> CimClassifier:
    """A fit that an exception stops at a step and that goes on."""
    with pytest.raises(Killed):
        fit(images, folder, LastCheckpoint(every), *(make() for make in callbacks), KillsAt(at), **options)
    return fit(images, folder, LastCheckpoint(every), *(make() for make in callbacks), resume=True, **options)


def differences(one: CimClassifier, other: CimClassifier) -> list[str]:
    second = other.state_dict()
    return [name for name, value in one.state_dict().items() if not torch.equal(value, second[name])]


SCHEDULES = {
    "constant": OptimizerConfig(lr=0.05, schedule="constant"),
    "cosine": OptimizerConfig(lr=0.05, schedule="cosine", warmup=0.3),
    "multistep": OptimizerConfig(lr=0.05, schedule="multistep", milestones=[0.4, 0.7]),
    "adamw": OptimizerConfig("adamw", lr=0.01, schedule="cosine"),
}


SLOW = [("cosine", None), ("constant", 2), ("multistep", 2), ("adamw", 2)]


# killed in step 7: the last checkpoint is of step 4, the end of the first epoch, or 6, the middle of the second
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("schedule", "every"),
    [("multistep", None), ("cosine", 2), *(pytest.param(*each, marks=pytest.mark.slow) for each in SLOW)],
)
def test_a_stopped_training_goes_on_to_the_same_weights(
    schedule: str, every: int | None, images: Path, whole: Whole, tmp_path: Path
) -> None:
    resumed = stopped(images, tmp_path, every, optimizer=SCHEDULES[schedule])
    assert resumed.trainer.global_step == 12
    assert not differences(resumed, whole(optimizer=SCHEDULES[schedule]))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("every", [pytest.param(None, marks=pytest.mark.slow), 2], ids=["end of an epoch", "middle"])
def test_with_averaged_weights_too(every: int | None, images: Path, whole: Whole, tmp_path: Path) -> None:
    resumed = stopped(images, tmp_path / "part", every, lambda: EMAWeightAveraging(decay=0.8))
    averaged = fit(images, tmp_path / "averaged", LastCheckpoint(every), EMAWeightAveraging(decay=0.8))
    assert not differences(resumed, averaged)
    assert differences(averaged, whole())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("every", [None, 3], ids=["end of an epoch", "steps"])
def test_where_an_epoch_is_limited(every: int | None, images: Path, whole: Whole, tmp_path: Path) -> None:
    """Epochs of 3 of the 4 batches: what comes after the third is no part of the next epoch."""
    resumed = stopped(images, tmp_path, every, limit_train_batches=3)
    assert resumed.trainer.global_step == 9
    assert not differences(resumed, whole(limit_train_batches=3))


@pytest.mark.filterwarnings("ignore")
def test_where_validation_comes_within_an_epoch(images: Path, whole: Whole, tmp_path: Path) -> None:
    assert not differences(stopped(images, tmp_path, 2, val_check_interval=2), whole(val_check_interval=2))


@pytest.mark.filterwarnings("ignore")
def test_noise_of_the_macro_in_the_middle_of_an_epoch(images: Path, whole: Whole, tmp_path: Path) -> None:
    options = {"train_noise_model": "macro", "train_noise_args": None}
    assert not differences(stopped(images, tmp_path, 2, **options), whole(**options))


@pytest.mark.filterwarnings("ignore")
def test_where_a_step_takes_several_batches(images: Path, whole: Whole, tmp_path: Path) -> None:
    """Two steps an epoch; the last checkpoint is of step 3, the middle of the second epoch."""
    resumed = stopped(images, tmp_path, 3, at=4, accumulate_grad_batches=2)
    assert not differences(resumed, whole(accumulate_grad_batches=2))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("every", [None, pytest.param(3, marks=pytest.mark.slow)], ids=["end of an epoch", "steps"])
@pytest.mark.parametrize("limits", [{}, {"limit_train_batches": 3}, {"check_val_every_n_epoch": 2}], ids=str)
def test_where_steps_are_counted(
    every: int | None, limits: dict[str, int], images: Path, whole: Whole, tmp_path: Path
) -> None:
    resumed, unstopped = stopped(images, tmp_path, every, max_steps=8, **limits), whole(max_steps=8, **limits)
    assert resumed.trainer.global_step == 8
    assert resumed.trainer.current_epoch == unstopped.trainer.current_epoch
    assert resumed.trainer.fit_loop.epoch_loop._batches_that_stepped == 8  # what is logged
    assert not differences(resumed, unstopped)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("every", [None, 2], ids=["end of the fit", "steps"])
@pytest.mark.parametrize("callbacks", [[], [EndsAt(6)]], ids=["max_steps", "max_time"])
def test_an_epoch_that_was_cut_short_goes_on(
    callbacks: list[Callback], every: int | None, images: Path, whole: Whole, tmp_path: Path
) -> None:
    """The second epoch's last two batches are trained on where steps or time are raised."""
    part = fit(images, tmp_path, *callbacks, LastCheckpoint(every), max_steps=-1 if callbacks else 6)
    assert part.trainer.global_step == 6
    resumed = fit(images, tmp_path, LastCheckpoint(every), resume=True)
    assert resumed.trainer.fit_loop.epoch_loop._batches_that_stepped == resumed.trainer.global_step == 12
    assert not differences(resumed, whole())


@pytest.mark.filterwarnings("ignore")
def test_an_epoch_that_was_cut_between_two_batches_of_a_step(images: Path, whole: Whole, tmp_path: Path) -> None:
    """A part of a gradient is kept nowhere: the run goes on from the end of the first epoch."""
    fit(images, tmp_path, EndsAt(7), LastCheckpoint(), accumulate_grad_batches=2)
    resumed = fit(images, tmp_path, LastCheckpoint(), resume=True, accumulate_grad_batches=2)
    assert resumed.trainer.global_step == 6
    assert not differences(resumed, whole(accumulate_grad_batches=2))


if __name__ == "__main__":
    where, steps, noise, seconds = sys.argv[1:]
    run_forked(Path(where), None if steps == "None" else int(steps), noise, float(seconds))
