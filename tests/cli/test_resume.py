"""A fit that is killed, at any moment, and resumed ends with the weights that it would have had, to the bit.

`--ckpt_path last` goes on in the folder of the run that was stopped; last.ckpt is whole whenever it is looked at.
As a program, with a folder, this runs fits in forked processes, which import Lightning once.
"""

import contextlib
import copy
import csv
import functools
import io
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from docstring_parser.attrdoc import AttributeDocstrings
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging
from lightning.pytorch.plugins.io import TorchCheckpointIO

from asim_lightning import CimClassifier
from asim_lightning.callbacks import LastCheckpoint, NoiseRamp
from asim_lightning.classifier import OptimizerConfig
from asim_lightning.cli import main
from asim_lightning.cli.checkpointing import WholeFiles
from asim_lightning.cli.parser import AsimCLI
from asim_lightning.data import FashionMNIST
from asim_lightning.data.idx import write_idx
from asim_lightning.nn.training_noise import NOISE_MODELS
from asim_lightning.surgery import macro_layers
from tests.classifier.conftest import make_model
from tests.cli.conftest import TINY, Asim, Run

ROOT = Path(__file__).parents[2]
CALLBACKS = "asim_lightning.callbacks"
EPOCHS = 5
SECONDS = 120.0
"""After which a process that is waited for counts as hanging."""


def write_data(folder: Path) -> Path:
    """80 training images, 4 batches of 20, and 20 test images, of random bytes."""
    generator = torch.Generator().manual_seed(0)
    folder.mkdir(exist_ok=True)
    for prefix, count in (("train", 80), ("t10k", 20)):
        images = torch.randint(256, (count, 28, 28), generator=generator, dtype=torch.uint8)
        write_idx(folder / f"{prefix}-images-idx3-ubyte.gz", images)
        write_idx(folder / f"{prefix}-labels-idx1-ubyte.gz", (torch.arange(count) % 10).to(torch.uint8))
    return folder


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("images"))


def write_config(folder: Path, data: Path, every: int | None = None, workers: int = 0, model: str = "macro") -> Path:
    """tiny.yaml in a folder: a ramp of noise, mixup and augmentation, all of which a resumed fit has to repeat."""
    config = copy.deepcopy(TINY)
    del config["trainer"]["limit_train_batches"]
    config["trainer"]["max_epochs"] = EPOCHS
    ramp = {"end": 1.0 if model == "macro" else 20.0}
    last = {"every_n_train_steps": every}
    config["trainer"]["callbacks"] = [
        {"class_path": f"{CALLBACKS}.NoiseRamp", "init_args": ramp},
        {"class_path": f"{CALLBACKS}.LastCheckpoint", "init_args": last},
    ]
    config["model"].update(mixup=0.4, train_noise_model=model)
    config["data"]["init_args"].update(root=str(data), num_workers=workers)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def last_of(folder: Path) -> Path:
    return folder / "runs" / "tiny" / "version_0" / "checkpoints" / "last.ckpt"


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


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


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
    assert f"goes on from runs/tiny/version_0/checkpoints/last.ckpt, at step {step}\n" in said
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


LIMITS = ("limit_train_batches", "val_check_interval", "accumulate_grad_batches")


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
        callbacks=[NoiseRamp(20.0), *callbacks],
        **limits,
    )
    last = folder / "checkpoints" / "last.ckpt"
    trainer.fit(model, datamodule=data, ckpt_path=last if resume else None, weights_only=True)
    return model


def differences(one: CimClassifier, other: CimClassifier) -> list[str]:
    second = other.state_dict()
    return [name for name, value in one.state_dict().items() if not torch.equal(value, second[name])]


SCHEDULES = {
    "constant": OptimizerConfig(lr=0.05, schedule="constant"),
    "cosine": OptimizerConfig(lr=0.05, schedule="cosine", warmup=0.3),
    "multistep": OptimizerConfig(lr=0.05, schedule="multistep", milestones=[0.4, 0.7]),
    "adamw": OptimizerConfig("adamw", lr=0.01, schedule="cosine"),
}


MIDDLE = [(name, 2) for name in SCHEDULES]


# killed in step 7: the last checkpoint is of step 4, the end of the first epoch, or 6, the middle of the second
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("schedule", "every"), [("cosine", None), ("multistep", None), *MIDDLE])
def test_a_stopped_training_goes_on_to_the_same_weights(
    schedule: str, every: int | None, images: Path, tmp_path: Path
) -> None:
    optimizer = SCHEDULES[schedule]
    whole = fit(images, tmp_path / "whole", LastCheckpoint(every), optimizer=optimizer)
    with pytest.raises(Killed):
        fit(images, tmp_path / "part", LastCheckpoint(every), KillsAt(7), optimizer=optimizer)
    resumed = fit(images, tmp_path / "part", LastCheckpoint(every), optimizer=optimizer, resume=True)
    assert resumed.trainer.global_step == 12
    assert not differences(resumed, whole)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("every", [None, 2], ids=["end of an epoch", "middle"])
def test_with_averaged_weights_too(every: int | None, images: Path, tmp_path: Path) -> None:
    whole = fit(images, tmp_path / "whole", LastCheckpoint(every), EMAWeightAveraging(decay=0.8))
    with pytest.raises(Killed):
        fit(images, tmp_path / "part", LastCheckpoint(every), EMAWeightAveraging(decay=0.8), KillsAt(7))
    resumed = fit(images, tmp_path / "part", LastCheckpoint(every), EMAWeightAveraging(decay=0.8), resume=True)
    assert not differences(resumed, whole)
    plain = fit(images, tmp_path / "plain", LastCheckpoint(every))
    assert differences(plain, whole)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("every", [None, 3], ids=["end of an epoch", "steps"])
def test_where_an_epoch_is_limited(every: int | None, images: Path, tmp_path: Path) -> None:
    """Epochs of 3 of the 4 batches: what comes after the third is no part of the next epoch."""
    limit = {"limit_train_batches": 3}
    whole = fit(images, tmp_path / "whole", LastCheckpoint(every), **limit)
    with pytest.raises(Killed):
        fit(images, tmp_path / "part", LastCheckpoint(every), KillsAt(7), **limit)
    resumed = fit(images, tmp_path / "part", LastCheckpoint(every), resume=True, **limit)
    assert resumed.trainer.global_step == 9
    assert not differences(resumed, whole)


@pytest.mark.filterwarnings("ignore")
def test_where_validation_comes_within_an_epoch(images: Path, tmp_path: Path) -> None:
    within = {"val_check_interval": 2}
    whole = fit(images, tmp_path / "whole", LastCheckpoint(2), **within)
    with pytest.raises(Killed):
        fit(images, tmp_path / "part", LastCheckpoint(2), KillsAt(7), **within)
    assert not differences(fit(images, tmp_path / "part", LastCheckpoint(2), resume=True, **within), whole)


@pytest.mark.filterwarnings("ignore")
def test_noise_of_the_macro_in_the_middle_of_an_epoch(images: Path, tmp_path: Path) -> None:
    noise = {"train_noise_model": "macro", "train_noise_args": None}
    whole = fit(images, tmp_path / "whole", LastCheckpoint(2), **noise)
    with pytest.raises(Killed):
        fit(images, tmp_path / "part", LastCheckpoint(2), KillsAt(7), **noise)
    assert not differences(fit(images, tmp_path / "part", LastCheckpoint(2), resume=True, **noise), whole)


@pytest.mark.filterwarnings("ignore")
def test_where_a_step_takes_several_batches(images: Path, tmp_path: Path) -> None:
    """Two steps an epoch; the last checkpoint is of step 3, the middle of the second epoch."""
    several = {"accumulate_grad_batches": 2}
    whole = fit(images, tmp_path / "whole", LastCheckpoint(3), **several)
    with pytest.raises(Killed):
        fit(images, tmp_path / "part", LastCheckpoint(3), KillsAt(4), **several)
    assert not differences(fit(images, tmp_path / "part", LastCheckpoint(3), resume=True, **several), whole)


# --ckpt_path last


def test_last_goes_on_in_the_same_folder_and_keeps_the_metrics(asim: Asim, images: Path, folder: Path) -> None:
    path = write_config(folder, images, model="proportional")
    assert asim("fit", "-c", path, "--trainer.max_epochs", "1").code == 0
    version = folder / "runs" / "tiny" / "version_0"
    before = (version / "metrics.csv").read_text()
    # a part of the ramp, which counts epochs of the whole training
    answer = asim("fit", "-c", path, "--trainer.max_epochs", "2", "--ckpt_path", "last")
    assert answer.code == 0
    assert "goes on from runs/tiny/version_0/checkpoints/last.ckpt, at step 4\n" in answer.out
    assert "run      runs/tiny/version_0\n" in answer.out
    assert [each.name for each in (folder / "runs" / "tiny").iterdir()] == ["version_0"]
    assert (version / "metrics_until_step_4.csv").read_text() == before
    with (version / "metrics.csv").open() as file:
        steps = [int(row["step"]) for row in csv.DictReader(file)]
    assert steps == sorted(steps)
    assert min(steps) >= 4
    assert torch.load(last_of(folder), weights_only=True)["global_step"] == 8


def test_last_is_the_newest_of_all_versions(asim: Asim, images: Path, folder: Path) -> None:
    path = write_config(folder, images, model="proportional")
    for _ in range(3):
        assert asim("fit", "-c", path, "--trainer.max_epochs", "1").code == 0
    runs = folder / "runs" / "tiny"
    os.utime(runs / "version_1" / "checkpoints" / "last.ckpt")
    (runs / "version_2" / "checkpoints" / "last.ckpt").rename(runs / "version_2" / "checkpoints" / "best.ckpt")
    answer = asim("fit", "-c", path, "--trainer.max_epochs", "2", "--ckpt_path=last")
    assert "goes on from runs/tiny/version_1/checkpoints/last.ckpt, at step 4\n" in answer.out
    assert (runs / "version_1" / "metrics_until_step_4.csv").exists()
    assert not (runs / "version_3").exists()


def test_last_of_a_run_that_has_none(asim: Asim, run: Run, folder: Path) -> None:
    (folder / "runs" / "tiny" / "version_0").mkdir(parents=True)
    assert asim("fit", "-c", run.config, "--ckpt_path", "last").error == (
        "`ckpt_path: last` goes on from the newest runs/tiny/version_*/checkpoints/last.ckpt, and there is none; "
        "without ckpt_path a fit starts anew"
    )
    error = asim("fit", "-c", run.config, "--ckpt_path", "last", "--trainer.default_root_dir", "there").error
    assert "the newest there/tiny/version_*/checkpoints/last.ckpt, and there is none" in error


def test_a_finished_fit_has_nothing_left_to_do(asim: Asim, images: Path, folder: Path) -> None:
    path = write_config(folder, images, model="proportional")
    assert asim("fit", "-c", path, "--trainer.max_epochs", "1").code == 0
    before = torch.load(last_of(folder), weights_only=True)["state_dict"]
    assert asim("fit", "-c", path, "--trainer.max_epochs", "1", "--ckpt_path", "last").code == 0
    after = torch.load(last_of(folder), weights_only=True)["state_dict"]
    assert all(torch.equal(value, after[name]) for name, value in before.items())


# what a checkpoint brings back, and what is written over it


@pytest.fixture(scope="module")
def noisy(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a run of one epoch with noise, mixup and a cosine; its last.ckpt and best.ckpt."""
    folder = tmp_path_factory.mktemp("noisy")
    path = write_config(folder, images)
    config = yaml.safe_load(path.read_text())
    config["trainer"].update(callbacks=[], max_epochs=1)
    config["model"].update(train_noise=2.0, label_smoothing=0.1)
    config["model"]["optimizer"] = {"lr": 0.05, "schedule": "constant"}
    path.write_text(yaml.safe_dump(config))
    before, said = Path.cwd(), io.StringIO()
    os.chdir(folder)
    try:
        with contextlib.redirect_stdout(said):
            main(["fit", "-c", "tiny.yaml"])
    finally:
        os.chdir(before)
    return folder / "runs" / "tiny" / "version_0"


def built(*arguments: object) -> CimClassifier:
    """The classifier that a command ends up with."""
    model = AsimCLI([str(argument) for argument in ("explain", *arguments)]).model
    layers = macro_layers(model.backbone).values()
    assert {layer.train_noise for layer in layers} == {model.train_noise}
    assert {type(layer.train_noise_model) for layer in layers} == {NOISE_MODELS[model.hparams["train_noise_model"]]}
    return model


@pytest.mark.parametrize("source", ["checkpoint", "last checkpoint", "configuration"])
def test_options_of_training_come_back(source: str, noisy: Path) -> None:
    arguments = {
        "checkpoint": ("--ckpt_path", noisy / "checkpoints" / "best.ckpt"),
        "last checkpoint": ("--ckpt_path", noisy / "checkpoints" / "last.ckpt"),
        "configuration": ("-c", noisy / "config.yaml"),
    }[source]
    model = built(*arguments)
    assert (model.train_noise, model.mixup, model.label_smoothing) == (2.0, 0.4, 0.1)
    assert model.hparams["train_noise_model"] == "macro"
    assert model.optimizer_config == OptimizerConfig(lr=0.05, schedule="constant")
    flags = ("--model.train_noise", "0", "--model.train_noise_model", "proportional", "--model.mixup", "0.0")
    other = built(*arguments, *flags)
    assert (other.train_noise, other.mixup, other.label_smoothing) == (0.0, 0.0, 0.1)


def test_the_saved_configuration_and_the_checkpoint_alone_agree(asim: Asim, noisy: Path) -> None:
    """Also at the quick estimate, which needs the noise of training."""
    data = yaml.safe_load((noisy / "config.yaml").read_text())["data"]["init_args"]
    images = [f"--data.init_args.{name}={data[name]}" for name in ("root", "test_images", "eval_batch_size")]
    for fidelity in ("quantized", "estimated"):
        flag = ("--model.fidelity", fidelity)
        by_config = asim("validate", "-c", noisy / "config.yaml", *flag)
        by_checkpoint = asim("validate", "--ckpt_path", noisy / "checkpoints" / "best.ckpt", *images, *flag)
        assert by_config.last == by_checkpoint.last
        assert by_config.last.endswith("20 images)")
        assert fidelity.removesuffix("d") in by_config.last


def rate(path: Path) -> float:
    return float(torch.load(path, weights_only=True)["optimizer_states"][0]["param_groups"][0]["lr"])


@pytest.mark.parametrize(
    "flags",
    [
        (),
        ("--model.optimizer.lr", "0.002"),
    ],
    ids=["without a flag", "with a flag"],
)
def test_the_learning_rate_of_a_resumed_fit(flags: tuple[str, ...], asim: Asim, noisy: Path, folder: Path) -> None:
    last = noisy / "checkpoints" / "last.ckpt"
    assert rate(last) == 0.05
    longer = ("--trainer.max_epochs", "2", *flags)
    assert asim("fit", "-c", noisy / "config.yaml", "--ckpt_path", last, *longer).code == 0
    (after,) = folder.glob("runs/*/version_*/checkpoints/last.ckpt")
    assert torch.load(after, weights_only=True)["global_step"] == 8
    assert torch.load(after, weights_only=True)["hyper_parameters"]["optimizer"]["lr"] == float(
        flags[1] if flags else 0.05
    )
    assert rate(after) == float(flags[1] if flags else 0.05)


# whole at any moment


def saves(folder: Path, look: Callable[[Path], None], megabytes: int = 8, times: int = 20) -> int:
    """Save again and again as a fit does, and look at last.ckpt all the while; how often it was there."""
    path, looked, done = folder / "last.ckpt", 0, threading.Event()
    options = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = Trainer(accelerator="cpu", plugins=[WholeFiles()], **options)  # type: ignore[arg-type]

    def save() -> None:
        try:
            for number in range(times):
                weights = torch.full((megabytes * 2**18,), float(number))
                trainer.strategy.checkpoint_io.save_checkpoint({"state_dict": {"w": weights}}, path)
        finally:
            done.set()

    thread = threading.Thread(target=save)
    thread.start()
    deadline = time.monotonic() + SECONDS
    while not done.is_set() and time.monotonic() < deadline:
        if path.exists():
            look(path)
            looked += 1
    thread.join()
    return looked


def assert_whole(path: Path) -> None:
    weights = torch.load(path, weights_only=True)["state_dict"]["w"]
    assert float(weights[0]) == float(weights[-1])


def test_last_ckpt_is_whole_at_any_moment(tmp_path: Path) -> None:
    assert saves(tmp_path, assert_whole) > 3
    assert isinstance(Trainer(accelerator="cpu", logger=False).strategy.checkpoint_io, TorchCheckpointIO)


def other_filesystem(folder: Path) -> str | None:
    places = [place for place in ("/dev/shm", "/run") if os.access(place, os.W_OK)]
    return next((place for place in places if os.stat(place).st_dev != os.stat(folder).st_dev), None)


def test_where_temporary_files_are_on_another_filesystem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = other_filesystem(tmp_path)
    if place is None:
        pytest.skip("there is no other filesystem to write to")
    monkeypatch.setattr(tempfile, "tempdir", place)
    assert saves(tmp_path, assert_whole) > 3


if __name__ == "__main__":
    where, steps, noise, seconds = sys.argv[1:]
    run_forked(Path(where), None if steps == "None" else int(steps), noise, float(seconds))
