"""`asim validate --compare`: a line for each way, each what a run of its own says; the network stays as it was."""

import re
from pathlib import Path

import pytest

from tests.cli.conftest import Asim, Run, Write

LINE = re.compile(r"accuracy ([\d.]+) % \((.*), ([\d.]+) of 20 images(?:, (\d+)(?: to (\d+))? in (\d+) reads)?\)")


def lines(out: str) -> list[tuple[str | None, ...]]:
    """Percent, way, count, least, largest and number of reads of each line of accuracy."""
    return [found.groups() for line in out.splitlines() if (found := LINE.fullmatch(line))]


def test_each_way_gets_the_line_that_it_has_alone(asim: Asim, run: Run) -> None:
    trained = ("-c", run.config, "--ckpt_path", run.checkpoint)
    noise = "{macro: {random_noise: 2}}"
    answer = asim("validate", *trained, "--trials", "2", "--compare", f"[float, {noise}, {{layers: {{'*': float}}}}]")
    real, noisy, mixed, configured = lines(answer.out)
    assert [each[1] for each in (real, noisy, mixed, configured)] == [
        "float",
        "simulated, random_noise 2",
        "simulated, * float",
        "quantized",
    ]
    assert mixed[2] == real[2]
    assert noisy[5] == "2"
    assert [each[5] for each in (real, mixed, configured)] == [None] * 3
    (alone,) = lines(asim("validate", *trained).out)
    assert alone == configured
    (float_alone,) = lines(asim("validate", *trained, "--model.fidelity", "float").out)
    assert float_alone == real
    changed = ("--model.fidelity", "simulated", "--model.plan.macro.random_noise", "2")
    reads = [lines(asim("validate", *trained, *changed, "--model.trial", trial).out)[0] for trial in range(2)]
    counts = [int(read[2] or "") for read in reads]
    assert (int(noisy[3] or ""), int(noisy[4] or noisy[3] or "")) == (min(counts), max(counts))
    assert float(noisy[0] or "") == pytest.approx(100 * sum(counts) / 40, abs=0.005)


def test_a_recipe_compares_and_still_serves_other_commands(asim: Asim, written: Write) -> None:
    path = written(compare=["float", {"fidelity": "quantized"}, {"layers": {"layer4.*": "quantized"}}], trials=2)
    said = [each[1] for each in lines(asim("validate", "-c", path).out)]
    assert said == ["float", "quantized", "simulated, layer4.* quantized, no noise", "quantized"]
    assert [each[1] for each in lines(asim("test", "-c", path).out)] == ["quantized"]


OWN_DATA = """
import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, IterableDataset


class Stream(IterableDataset):
    def __iter__(self):
        images = torch.rand(6, 1, 28, 28, generator=torch.Generator().manual_seed(0))
        return iter([(image, number % 3, number) for number, image in enumerate(images)])


class Own(LightningDataModule):
    def setup(self, stage):
        if stage == "validate":
            self.images = Stream()

    def train_dataloader(self):
        return DataLoader(Stream(), batch_size=4)

    def val_dataloader(self):
        return DataLoader(self.images, batch_size=4)
"""


def test_images_that_only_a_validation_sets_up_and_nobody_counts(asim: Asim, written: Write, folder: Path) -> None:
    (folder / "own_images.py").write_text(OWN_DATA)
    path = written(data={"class_path": "own_images.Own"}, trainer__enable_progress_bar=True)
    answer = asim("validate", "-c", path, "--compare", "[float, {layers: {'*': float}}]")
    first, second, _ = re.findall(r"accuracy ([\d.]+) % \(.*of 6 images\)", answer.out)
    assert first == second
