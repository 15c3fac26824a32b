"""`asim validate --compare`: a line for each way; the network stays as it was."""

import re
from collections.abc import Iterator
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, IterableDataset

from asim_lightning.evaluation.interval import mean_interval
from tests.cli.conftest import Asim, Run, Write

LINE = re.compile(
    r"accuracy ([\d.]+) % \[.*\] \((.*), ([\d.]+) of 20 images(?:, (\d+)(?: to (\d+))? in (\d+) reads)?\)"
)


def lines(out: str) -> list[tuple[str | None, ...]]:
    """Percent, way, count, least, largest and number of reads of each line of accuracy."""
    return [found.groups() for line in out.splitlines() if (found := LINE.fullmatch(line))]


def test_each_way_gets_a_line(asim: Asim, run: Run) -> None:
    trained = ("-c", run.config, "--ckpt_path", run.checkpoint)
    noise = "{macro: {random_noise: 2}}"
    answer = asim("validate", *trained, "--trials", "2", "--compare", f"[float, {noise}, {{layers: {{'*': float}}}}]")
    real, noisy, mixed = asked = lines(answer.out)
    assert [each[1] for each in asked] == ["float", "simulated, random_noise 2", "simulated, * float"]
    assert answer.last.startswith(f"accuracy {mixed[0]} %")
    assert "val/acc" not in answer.out
    assert mixed[2] == real[2]
    assert noisy[5] == "2"
    (quantized,) = lines(asim("validate", *trained, "--compare", "[quantized]").out)
    last = asim("validate", *trained)
    (configured,) = lines(last.out)
    assert configured == quantized
    assert configured[5] is None
    right = int(configured[2] or "")
    found = mean_interval([[True]] * right + [[False]] * (20 - right), True)
    assert f"[{100 * found.low:.2f}, {100 * found.high:.2f}]" in last.last
    spread = ("--model.fidelity", "simulated", "--model.plan.macro.static.offset", "0.3 lsb", "--model.chip", "3")
    assert [each[1] for each in lines(asim("test", *trained, *spread).out)] == ["simulated, no noise, chip 3"]


def test_a_recipe_compares_and_still_serves_other_commands(asim: Asim, written: Write) -> None:
    path = written(compare=["float", {"fidelity": "quantized"}, {"layers": {"layer4.*": "quantized"}}], trials=2)
    said = [each[1] for each in lines(asim("validate", "-c", path).out)]
    assert said == ["float", "quantized", "simulated, layer4.* quantized, no noise"]
    assert [each[1] for each in lines(asim("test", "-c", path).out)] == ["quantized"]


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        images = torch.rand(6, 1, 28, 28, generator=torch.Generator().manual_seed(0))
        return iter([(image, number % 3, number) for number, image in enumerate(images)])


class Own(LightningDataModule):
    def setup(self, stage: str) -> None:
        if stage == "validate":
            self.images = Stream()

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(Stream(), batch_size=4)

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.images, batch_size=4)


def test_images_that_only_a_validation_sets_up_and_nobody_counts(asim: Asim, written: Write) -> None:
    path = written(data={"class_path": f"{__name__}.Own"}, trainer__enable_progress_bar=True)
    answer = asim("validate", "-c", path, "--compare", "[float, {layers: {'*': float}}]")
    first, second = re.findall(r"accuracy ([\d.]+) % .*\(.*of 6 images\)", answer.out)
    assert first == second
