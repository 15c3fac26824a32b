"""A tiny network, trained for two steps, and the command line in this process."""

import contextlib
import copy
import io
import os
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from asim_lightning.cli import main
from tests.data.published_layouts import write_idx

ROOT = Path(__file__).parents[2]
SECONDS = 120.0
"""After which a process that is waited for counts as hanging."""
GRID = ("--axes.random_noise", "[0.1]", "--trials", "2", "--progress", "false")
"""Options of a sweep of two trials at one point."""
TINY: dict[str, Any] = {
    "seed_everything": 0,
    "trainer": {
        "accelerator": "cpu",
        "max_epochs": 1,
        "limit_train_batches": 2,
        "log_every_n_steps": 1,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "callbacks": [
            {
                "class_path": "lightning.pytorch.callbacks.ModelCheckpoint",
                "init_args": {"filename": "best", "monitor": "val/acc", "mode": "max"},
            }
        ],
    },
    "model": {
        "num_classes": 10,
        "fidelity": "quantized",
        "calibration_images": 20,
        "backbone": {
            "name": "resnet10t",
            "kwargs": {"in_chans": 1, "stem_width": 4, "channels": [8, 16, 32, 64]},
            "small": True,
            "image_size": 28,
        },
        "plan": {"macro": {"weight_bits": 4, "input_bits": 4}},  # a quarter of the conversions of 8 bits
        "optimizer": {"lr": 0.05},
    },
    "data": {
        "class_path": "asim_lightning.data.FashionMNIST",
        "init_args": {"test_images": 20, "batch_size": 20, "eval_batch_size": 10},
    },
}


@dataclass(frozen=True)
class Answer:
    """What a command said."""

    code: int
    printed: str
    err: str

    @property
    def out(self) -> str:
        """Standard output of a command that succeeds."""
        assert self.code == 0, (self.code, self.err)
        return self.printed

    @property
    def error(self) -> str:
        """The one line on standard error of a command that refuses what it was given."""
        assert self.code == 2, (self.code, self.err)
        lines = self.err.splitlines()
        assert len(lines) == 1, lines
        assert lines[0].startswith("error: ")
        assert "Traceback" not in self.printed
        return lines[0].removeprefix("error: ")

    @property
    def last(self) -> str:
        """The last line of a command that succeeds."""
        return self.out.strip().splitlines()[-1]

    @property
    def accuracy(self) -> float:
        """The accuracy in the last line of validate and test, percent."""
        return float(self.last.split()[1])


Asim = Callable[..., Answer]
Refused = Callable[..., None]
Write = Callable[..., Path]


@pytest.fixture
def asim(capfd: pytest.CaptureFixture[str], folder: Path) -> Iterator[Asim]:
    """Runs a command in an empty folder."""

    def run(*arguments: object) -> Answer:
        capfd.readouterr()
        code: object = 0
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as error:
            code = error.code or 0
        out, err = capfd.readouterr()
        assert isinstance(code, int)
        return Answer(code, out, err)

    handler = signal.getsignal(signal.SIGINT)
    yield run
    signal.signal(signal.SIGINT, handler)  # Lightning leaves it ignored after Ctrl-C


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def main_in(folder: Path, *arguments: str) -> str:
    """What a command says that is called in a folder."""
    with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()) as said:
        main(arguments)
    return said.getvalue()


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


@dataclass(frozen=True)
class Run:
    """What `asim fit` left, and what it was given."""

    folder: Path
    said: str
    config: Path

    @property
    def version(self) -> Path:
        return self.folder / "runs" / "tiny" / "version_0"

    @property
    def checkpoint(self) -> Path:
        return self.version / "checkpoints" / "best.ckpt"

    @property
    def saved_config(self) -> Path:
        return self.version / "config.yaml"


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished `asim fit -c tiny.yaml`."""
    folder = tmp_path_factory.mktemp("trained")
    config = folder / "tiny.yaml"
    config.write_text(yaml.safe_dump(TINY))
    return Run(folder, main_in(folder, "fit", "-c", "tiny.yaml"), config)


@pytest.fixture(scope="session")
def swept(tmp_path_factory: pytest.TempPathFactory, run: Run) -> Path:
    """A working folder with a sweep of the tiny network: four trials."""
    folder = tmp_path_factory.mktemp("swept")
    main_in(folder, *sweep_of(run))
    return folder


@pytest.fixture
def sweep(swept: Path, folder: Path) -> Path:
    """The sweep, in the working folder of this test."""
    shutil.copytree(swept / "runs", folder / "runs")
    return next(Path("runs/tiny").glob("sweep-*"))


def sweep_of(run: Run) -> tuple[str, ...]:
    """The command of `swept`."""
    return ("sweep", "-c", str(run.config), "--ckpt_path", str(run.checkpoint), *GRID)


@pytest.fixture
def written(folder: Path) -> Write:
    """Writes the tiny configuration with changes: dotted keys and their values."""

    def write(name: str = "tiny.yaml", **changes: Any) -> Path:
        values = copy.deepcopy(TINY)
        for key, value in changes.items():
            *groups, last = key.split("__")
            place = values
            for group in groups:
                place = place.setdefault(group, {})
            place[last] = value
        path = folder / name
        path.write_text(yaml.safe_dump(values))
        return path

    return write


@pytest.fixture
def refused(asim: Asim, folder: Path, run: Run) -> Refused:
    """Asserts that a command is refused: one line on standard error, exit code 2, and the folder is as it was.

    The folder holds tiny.yaml, its checkpoint trained.ckpt, and files by name next to them or in their place.
    """

    def check(arguments: Sequence[object], message: str, files: Mapping[str, str | bytes] | None = None) -> None:
        first: dict[str, str | bytes] = {"tiny.yaml": yaml.safe_dump(TINY), "trained.ckpt": run.checkpoint.read_bytes()}
        for name, content in {**first, **(files or {})}.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        before = everything(folder)
        error = asim(*arguments).error
        assert message in error, error
        assert everything(folder) == before

    return check


def everything(folder: Path) -> dict[str, bytes | None]:
    """All files below a folder, with their contents, and all folders."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def write_config(folder: Path, data: Path, every: int | None = None, model: str = "proportional") -> Path:
    """tiny.yaml in a folder: a ramp of noise, mixup and augmentation, all of which a resumed fit has to repeat."""
    config = copy.deepcopy(TINY)
    del config["trainer"]["limit_train_batches"]
    config["trainer"]["max_epochs"] = 5
    ramp = {"end": 1.0 if model == "macro" else 20.0}
    last = {"every_n_train_steps": every}
    config["trainer"]["callbacks"] = [
        {"class_path": "NoiseRamp", "init_args": ramp},
        {"class_path": "LastCheckpoint", "init_args": last},
    ]
    config["model"].update(mixup=0.4, train_noise_model=model)
    config["data"]["init_args"].update(root=str(data))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def last_of(folder: Path) -> Path:
    return folder / "runs" / "tiny" / "version_0" / "checkpoints" / "last.ckpt"


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
