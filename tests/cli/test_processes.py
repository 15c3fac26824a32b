"""One to three processes: the same accuracy, weights, ranges and files; other samples, noise and mixup each.

As a program, with a folder, this runs commands in forked processes, which threads do not survive once they have run.
"""

import copy
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from lightning.pytorch import Callback, Trainer
from torch import Tensor

from asim_lightning.callbacks import NoiseSweep
from asim_lightning.classifier.batches import step_seed
from asim_lightning.classifier.processes import gather
from asim_lightning.cli import main
from asim_lightning.nn import TrainingNoise
from asim_lightning.nn.calibration import quantized_layers
from asim_lightning.nn.training_noise import Operands
from tests.cli.conftest import ROOT, SECONDS, TINY, environment, write_data
from tests.conftest import rows_of

pytestmark = pytest.mark.process
COUNTS = (3, 1)
TRAINED = ("--ckpt_path", "fashion_resnet_qat", "--data.init_args.test_images", "19", "--model.fidelity", "simulated")
TRAINED += ("--model.plan.macro.random_noise", "0.1", "--data.init_args.eval_batch_size", "7")
TRAINED += ("--model.plan.macro.weight_bits", "4", "--model.plan.macro.input_bits", "4")  # few conversions
COMPARED = ("--compare", "[float, {macro: {random_noise: 0.2}}]", "--trials", "2")
normals: list[Tensor] = []


class Recorded(TrainingNoise):
    """Proportional, and remembers the normals of the last layer."""

    def apply(self, y: Tensor, amount: float, normal: Callable[[], Tensor], operands: Callable[[], Operands]) -> Tensor:
        z = normal()
        if y.shape[1:] == (10,):
            normals.append(z.clone())
        return y * (1.0 + amount / 100.0 * z)


class Watching(Callback):
    """Writes, when a fit ends, what every process saw."""

    def __init__(self) -> None:
        self.samples: list[list[int]] = []
        self.seeds: list[int] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, *_: Any) -> None:
        self.samples.append([trainer.current_epoch, *batch[2].tolist()])
        self.seeds.append(torch.initial_seed())

    def on_fit_end(self, trainer: Trainer, pl_module: Any) -> None:
        found = {
            "samples": self.samples,
            "seeds": self.seeds,
            "normals": [z.tolist() for z in normals],
            "ranges": [float(layer.input_max) for layer in quantized_layers(pl_module.backbone).values()],
            "weights": [float(p.double().sum()) for p in pl_module.parameters()],
        }
        everyone = gather(found)
        if trainer.is_global_zero:
            Path("fit.json").write_text(json.dumps(everyone))


class Measuring(Callback):
    """Writes, when a validation ends, what every process measures."""

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        results = NoiseSweep([0, 5], images=11, trials=2).measure(trainer, pl_module)
        everyone = gather([[row.accuracy, row.low, row.high, row.images, row.trials] for row in results])
        if trainer.is_global_zero:
            Path("measured.json").write_text(json.dumps(everyone))
            Path("joined.json").write_text(json.dumps(torch.distributed.is_initialized()))


def write_fit(data: Path) -> None:
    """A recipe of two epochs of four steps, on two processes."""
    config = copy.deepcopy(TINY)
    del config["trainer"]["limit_train_batches"]
    (best,) = config["trainer"]["callbacks"]
    best["init_args"]["monitor"] = "noise/acc_mean"
    ours = {"NoiseSweep": {"levels": [0, 5], "images": 7}, "RangeCalibration": {"images": 20}}
    ours = [{"class_path": f"asim_lightning.callbacks.{name}", "init_args": each} for name, each in ours.items()]
    callbacks = [*ours, best, {"class_path": "tests.cli.test_processes.Watching"}]
    config["trainer"].update(callbacks=callbacks, max_epochs=2, devices=2, strategy="ddp_fork")
    config["model"].update(train_noise=10.0, train_noise_model="tests.cli.test_processes.Recorded", mixup=0.4)
    config["data"]["init_args"].update(root=str(data), batch_size=10)
    Path("tiny.yaml").write_text(yaml.safe_dump(config))


def said_by(*arguments: object) -> str:
    """What a command prints; of processes that it forks too, which share the file."""
    sys.stdout.flush()
    kept = os.dup(1)
    with tempfile.TemporaryFile("w+") as said:
        os.dup2(said.fileno(), 1)
        try:
            main([str(argument) for argument in arguments])
        finally:
            sys.stdout.flush()
            os.dup2(kept, 1)
            os.close(kept)
        said.seek(0)
        return said.read()


def program(folder: Path) -> None:
    torch.set_num_threads(1)
    data = write_data(folder / "images")
    os.chdir(folder)
    write_fit(data)
    Path("fit.txt").write_text(said_by("fit", "-c", "tiny.yaml"))
    for count in COUNTS:  # one process comes last, because its strategy starts threads
        place = folder / str(count)
        place.mkdir()
        os.chdir(place)
        files = [
            {"class_path": f"asim_lightning.callbacks.{name}", "init_args": {"folder": "."}}
            for name in ("ConfusionMatrix", "Misclassified")
        ]
        callbacks = [*files, {"class_path": "tests.cli.test_processes.Measuring"}]
        strategy = {"strategy": "ddp" if count == 1 else "ddp_fork", "devices": count}
        Path("watched.yaml").write_text(yaml.safe_dump({"trainer": {"callbacks": callbacks, **strategy}}))
        said = [said_by("validate", "-c", "watched.yaml", *TRAINED, *more) for more in (COMPARED, ())]
        Path("said.txt").write_text("".join(said))
    (folder / "left.json").write_text(json.dumps(torch.distributed.is_initialized()))


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("processes")
    command = [sys.executable, "-m", "tests.cli.test_processes", str(folder)]
    done = subprocess.run(
        command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=2 * SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.fixture(scope="module")
def ranks(found: Path) -> list[dict[str, Any]]:
    return json.loads((found / "fit.json").read_text())  # type: ignore[no-any-return]


def test_each_image_is_validated_once_and_comparisons_are_the_same_on_any_number_of_processes(found: Path) -> None:
    said = [(found / str(count) / "said.txt").read_text().splitlines() for count in COUNTS]
    first, second = ([line for line in each if line.startswith("accuracy")] for each in said)
    assert first == second
    assert ["of 19 images" in line for line in first] == [True] * 3
    assert first[1].endswith(" in 2 reads)")
    assert 10 < float(first[2].split()[1]) < 100


def test_callbacks_measure_and_write_the_same_on_any_number_of_processes(found: Path) -> None:
    several, (alone,) = (json.loads((found / str(count) / "measured.json").read_text()) for count in COUNTS)
    assert [row[3:] for row in alone] == [[11, 1], [11, 2]]
    assert several == [alone] * 3
    for name in ("confusion_val.csv", "misclassified_val.csv", "misclassified_val.png"):
        assert (found / "1" / name).read_bytes() == (found / "3" / name).read_bytes()


def test_a_fit_on_two_leaves_one_run(found: Path) -> None:
    run = found / "runs" / "tiny" / "version_0"
    assert [path.name for path in run.parent.iterdir()] == ["version_0"]
    said = (found / "fit.txt").read_text()
    assert said.count("tensorboard --logdir runs") == 1
    assert "weights  runs/tiny/version_0/checkpoints/best.ckpt\n" in said
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    last = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["global_step"] == 8  # two epochs of 80 images in batches of 10 on each of two
    rows = rows_of(run / "noise_sweep.csv")
    assert [(row["epoch"], row["level"], row["images"]) for row in rows] == [
        (epoch, level, "7") for epoch in "01" for level in ("0.0", "5.0")
    ]


def test_no_sample_is_read_twice_in_an_epoch(ranks: list[dict[str, Any]]) -> None:
    for epoch in (0, 1):
        read = [index for rank in ranks for number, *batch in rank["samples"] if number == epoch for index in batch]
        assert sorted(read) == list(range(80))
    assert ranks[0]["samples"][0][1:] != ranks[0]["samples"][4][1:]


def test_noise_of_training_is_another_in_each_process(ranks: list[dict[str, Any]]) -> None:
    normals = torch.tensor([rank["normals"] for rank in ranks])
    assert normals.shape == (2, 8, 10, 10)  # (processes, steps, batch, outputs)
    assert len(normals.unique()) == normals.numel()


def test_seeds_of_mixup_and_dropout_are_those_of_step_and_process(ranks: list[dict[str, Any]]) -> None:
    for rank, each in enumerate(ranks):
        expected = [step_seed(0, step, step % 4, rank) for step in range(8)]  # 0 is the seed of the run
        assert each["seeds"] == [torch.Generator().manual_seed(seed).initial_seed() for seed in expected]


def test_every_process_ends_with_the_same_network(ranks: list[dict[str, Any]]) -> None:
    one, other = ranks
    assert one["ranges"] == other["ranges"]
    assert min(one["ranges"]) > 0
    assert one["weights"] == other["weights"]


def test_a_command_leaves_its_processes(found: Path) -> None:
    """Whose threads would abort the program now and then, as Python ends."""
    assert json.loads((found / "1" / "joined.json").read_text())
    assert not json.loads((found / "left.json").read_text())


if __name__ == "__main__":
    # under its own name, so that the noise model's import path leads to the lists of this module
    from tests.cli import test_processes

    test_processes.program(Path(sys.argv[1]))
