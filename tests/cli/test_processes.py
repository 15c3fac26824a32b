"""One to three processes: the same accuracy, weights and ranges; other samples, noise, dropout and mixup each.

As a program, with a folder, this runs the parts in forked processes, which threads do not survive once they
have run.
"""

import copy
import json
import math
import os
import re
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
from torchvision.transforms.v2 import MixUp

from asim_lightning.classifier import BackboneConfig
from asim_lightning.classifier.batches import step_seed
from asim_lightning.classifier.processes import gather
from asim_lightning.cli import main
from asim_lightning.data import FashionMNIST
from asim_lightning.nn import TrainingNoise
from asim_lightning.nn.calibration import quantized_layers
from asim_lightning.nn.training_noise import Operands
from tests.classifier.conftest import KWARGS, forked, make_model
from tests.cli.conftest import TINY, write_data
from tests.cli.runs_to_stop import SECONDS, environment

ROOT = Path(__file__).parents[2]
COUNTS = (1, 3)
TRAINED = ("--ckpt_path", "fashion_resnet_qat", "--data.init_args.test_images", "19", "--model.fidelity", "simulated")
TRAINED += ("--model.plan.macro.random_noise", "0.1", "--data.init_args.eval_batch_size", "7")
TRAINED += ("--model.plan.macro.weight_bits", "4", "--model.plan.macro.input_bits", "4")  # few conversions
normals: list[Tensor] = []
shares: list[float] = []


class Recorded(TrainingNoise):
    """Proportional, and remembers the normals of the last layer."""

    def apply(self, y: Tensor, amount: float, normal: Callable[[], Tensor], operands: Callable[[], Operands]) -> Tensor:
        z = normal()
        if y.shape[1:] == (10,):
            normals.append(z.clone())
        return y * (1.0 + amount / 100.0 * z)


class Watching(Callback):
    """Writes, when a fit ends, what every process saw."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.samples: list[list[int]] = []
        self.seeds: list[int] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, *_: Any) -> None:
        self.samples.append([trainer.current_epoch, *batch[2].tolist()])
        self.seeds.append(torch.initial_seed())

    def on_fit_end(self, trainer: Trainer, pl_module: Any) -> None:
        found = {
            "samples": self.samples,
            "seeds": self.seeds,
            "shares": shares,
            "normals": [z.tolist() for z in normals],
            "ranges": [float(layer.input_max) for layer in quantized_layers(pl_module.backbone).values()],
            "weights": [float(p.double().sum()) for p in pl_module.parameters()],
        }
        everyone = gather(found)
        if trainer.is_global_zero:
            self.path.write_text(json.dumps(everyone))


def fit_on_two(folder: Path) -> None:
    original = MixUp.make_params

    def remembered(self: MixUp, inputs: Any) -> Any:
        found = original(self, inputs)
        shares.append(float(found["lam"]))
        return found

    MixUp.make_params = remembered
    watching = Watching(folder / "fit.json")
    model = make_model(
        backbone=BackboneConfig("resnet10t", KWARGS | {"drop_path_rate": 0.5}, small=True, image_size=28),
        train_noise=10.0,
        train_noise_model="tests.cli.test_processes.Recorded",
        mixup=0.4,
    )
    trainer = Trainer(**forked(2), max_epochs=2, callbacks=[watching], logger=False, enable_checkpointing=False)
    data = FashionMNIST(str(folder / "images"), batch_size=10, eval_batch_size=10)
    trainer.fit(model, datamodule=data)


def on(processes: int, strategy: str = "ddp_fork") -> list[str]:
    return ["--trainer.strategy", strategy, "--trainer.devices", str(processes)]


def write_config(folder: Path, data: Path, images: int | None = None) -> str:
    config = copy.deepcopy(TINY)
    del config["trainer"]["limit_train_batches"]
    config["model"].update(fidelity="simulated", train_noise=1.0, mixup=0.2)
    cells = {"column": "current", "column_args": {"cell_sigma": 2.0}}
    config["model"]["plan"] = {"macro": {"weight_bits": 4, "input_bits": 4, "random_noise": 1.0, **cells}}
    config["data"]["init_args"].update(root=str(data), batch_size=20, test_images=images)
    (folder / "tiny.yaml").write_text(yaml.safe_dump(config))
    return str(folder / "tiny.yaml")


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
    config = write_config(folder, data, 19)
    os.chdir(folder)
    (folder / "fit.txt").write_text(said_by("fit", "-c", config, *on(2), "--data.init_args.batch_size", "10"))
    compared = ("--compare", "[float, {macro: {random_noise: 0.2}}]", "--trials", "2")
    validated = [said_by("validate", *TRAINED, *compared, *on(count)) for count in COUNTS]
    validated = [[line for line in said.splitlines() if line.startswith("accuracy")] for said in validated]
    (folder / "validate.json").write_text(json.dumps(validated))
    fit_on_two(folder)
    (folder / "alone").mkdir()
    alone = said_by("validate", "-c", write_config(folder / "alone", data, 3), *on(1, "ddp"))  # starts threads
    (folder / "left.json").write_text(json.dumps([alone, torch.distributed.is_initialized()]))


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("processes")
    command = [sys.executable, "-m", "tests.cli.test_processes", str(folder)]
    done = subprocess.run(
        command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=2 * SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (folder / "stderr.txt").write_text(done.stderr)
    return folder


@pytest.fixture(scope="module")
def ranks(found: Path) -> list[dict[str, Any]]:
    return json.loads((found / "fit.json").read_text())  # type: ignore[no-any-return]


def test_each_image_is_validated_once_and_comparisons_are_the_same_on_any_number_of_processes(found: Path) -> None:
    said = json.loads((found / "validate.json").read_text())
    assert said == [said[0]] * len(COUNTS)
    float_line, noisy, last = said[0]
    assert re.fullmatch(r"accuracy [\d.]+ % \(float, \d+ of 19 images\)", float_line)
    assert re.search(r"\(simulated, random_noise 0\.2, [\d.]+ of 19 images, .* in 2 reads\)$", noisy)
    counted = re.fullmatch(r"accuracy ([\d.]+) % \(simulated, random_noise 0\.1, (\d+) of 19 images\)", last)
    assert counted
    assert float(counted[1]) == pytest.approx(100 * int(counted[2]) / 19, abs=0.01)
    assert 10 < float(counted[1]) < 100


def test_a_fit_on_two_leaves_one_run(found: Path) -> None:
    assert [path.name for path in (found / "runs" / "tiny").iterdir()] == ["version_0"]
    said = (found / "fit.txt").read_text()
    assert said.count("tensorboard --logdir runs") == 1
    assert "weights  runs/tiny/version_0/checkpoints/best.ckpt\n" in said
    assert {path.name for path in (found / "runs" / "tiny" / "version_0" / "checkpoints").iterdir()} == {
        "best.ckpt",
        "last.ckpt",
    }
    last = torch.load(found / "runs" / "tiny" / "version_0" / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["global_step"] == 4  # 80 images in batches of 10 on each of two


def test_no_sample_is_read_twice_in_an_epoch(ranks: list[dict[str, Any]]) -> None:
    for epoch in (0, 1):
        read = [index for rank in ranks for number, *batch in rank["samples"] if number == epoch for index in batch]
        assert sorted(read) == list(range(80))
    assert ranks[0]["samples"][0][1:] != ranks[0]["samples"][4][1:]


def test_noise_of_training_of_two_processes_is_uncorrelated(ranks: list[dict[str, Any]]) -> None:
    one, other = (torch.tensor(rank["normals"]) for rank in ranks)  # (steps, batch, 10)
    assert one.shape == other.shape == (8, 10, 10)
    count = one.numel()
    for z in (one, other):
        assert abs(float(z.mean())) < 4 / math.sqrt(count)
        assert abs(float(z.std()) - 1) < 4 / math.sqrt(2 * count)
    assert abs(float((one * other).mean())) < 4 / math.sqrt(count)
    assert len(torch.cat([one, other]).unique()) == 2 * count


def test_mixup_and_seeds_of_dropout_differ_from_process_to_process(ranks: list[dict[str, Any]]) -> None:
    one, other = ranks
    assert len({*one["shares"], *other["shares"]}) == 16
    assert len({*one["seeds"], *other["seeds"]}) == 16
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
    said, initialized = json.loads((found / "left.json").read_text())
    assert said.splitlines()[-1].endswith(" of 3 images)")
    assert "distributed_backend=gloo" in said + (found / "stderr.txt").read_text()
    assert not initialized


if __name__ == "__main__":
    # under its own name, so that the noise model's import path leads to the lists of this module
    from tests.cli import test_processes

    test_processes.program(Path(sys.argv[1]))
