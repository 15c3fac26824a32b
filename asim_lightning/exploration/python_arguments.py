"""Arguments that `study`, `search`, `spec` and `doctor` share: network, samples, and how to evaluate them."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from lightning.pytorch import LightningDataModule, Trainer
from torch import Tensor, nn

from asim_lightning.checks import check_choice, check_whole
from asim_lightning.circuit.voltage import NOISE_IN
from asim_lightning.classifier.network import CimModule, GivenNetwork
from asim_lightning.classifier.outcome import Outcome
from asim_lightning.cost import Technology
from asim_lightning.data.given import GivenData
from asim_lightning.data.image_data_module import ImageDataModule
from asim_lightning.evaluation.evaluate import quiet_trainer
from asim_lightning.evaluation.results import Measure
from asim_lightning.evaluation.target import target_texts
from asim_lightning.exploration.runner import RunnerSettings, Work, runner_of
from asim_lightning.nn.calibration import needs_calibration


@dataclass(frozen=True)
class SharedArguments:
    """Arguments of all calls; `study` explains them."""

    network: Any
    data: Any
    chips: int | None = None
    trials: int = 1
    outcome: str | Callable[..., Tensor] | Outcome = "accuracy"
    images: int | None = None
    seed: int = 0
    runner: str | RunnerSettings | Trainer | None = None
    folder: str | Path | None = None
    fresh: bool = False

    @cached_property
    def measured(self) -> Outcome:
        """The outcome."""
        return Outcome.of(self.outcome)

    def texts(self, name: str, targets: Sequence[str]) -> list[str]:
        """Targets as texts; the name of the outcome may stand for accuracy."""
        return target_texts(name, targets, Measure.of(self.measured))

    @contextmanager
    def opened(self) -> Iterator[Work]:
        """Network, data and trainer of a study; afterwards the network is on its device again, and in its modes."""
        network, runner = self.network, self.runner
        check_whole("`seed`", self.seed, 0, 2**32 - 1)
        found = samples(self.data, self.images)
        model = _model(network, found, self.measured, self.seed)
        _calibrate(model, self.data)
        device = next((each.device for each in network.parameters()), torch.device("cpu"))
        logger = logging.getLogger("lightning.pytorch")
        level = logger.level
        with ExitStack() as stack:
            stack.callback(network.to, device)  # Lightning leaves it on the CPU
            for module in network.modules():
                stack.callback(setattr, module, "training", module.training)
            stack.callback(logger.setLevel, level)
            logger.setLevel(logging.WARNING)  # its messages on devices do not help here
            # titles show the folder's name; a temporary folder has the network's name
            where = Path(self.folder or Path(stack.enter_context(TemporaryDirectory()), type(network).__name__))
            given = None if isinstance(runner, Trainer) else runner
            trainer = runner if isinstance(runner, Trainer) else _trainer(device)
            settings = given if isinstance(given, RunnerSettings) else RunnerSettings(given or "trainer")
            yield Work(trainer, model, found, where, runner_of(settings, trainer, model, found), self.fresh)


@dataclass(frozen=True)
class StudyArguments(SharedArguments):
    """Arguments of calls whose points have a cost."""

    until: str | None = None
    technology: Technology | None = None
    noise_in: str = "written"

    @contextmanager
    def opened(self) -> Iterator[Work]:
        """As `SharedArguments.opened`, with `noise_in`."""
        check_choice("`noise_in`", self.noise_in, NOISE_IN)
        with super().opened() as work:
            yield replace(work, noise_in=self.noise_in)

    @property
    def ends(self) -> str | None:
        """`until` as a text."""
        return None if self.until is None else self.texts("until", [self.until])[0]


def samples(data: Any, images: int | None) -> LightningDataModule:
    """The data module of a study: our own unchanged, or one with the user's samples."""
    if not isinstance(data, ImageDataModule):
        return GivenData(data, images)
    if images is not None:
        check_whole("`images`", images, 1)
        data = copy(data)
        data.test_images = images
    data.prepare_data()
    data.setup("test")
    return data


def _model(network: nn.Module, samples: LightningDataModule, outcome: Outcome, seed: int) -> CimModule:
    if isinstance(network, CimModule):
        if outcome != network.outcome:
            raise ValueError(
                f"`outcome` of a {type(network).__name__} is its {network.outcome.name}, got {outcome.name}; its "
                "`backbone` takes any"
            )
        network.check_data(samples)
        return network
    if isinstance(samples, GivenData):
        example = samples.example
    else:
        example = next(iter(samples.test_dataloader()))[0][:1]
    device = next((each.device for each in network.parameters()), None)
    model = GivenNetwork(network, outcome, example.to(device) if isinstance(example, Tensor) else None)
    model.noise_seed = seed
    return model


def _calibrate(model: CimModule, data: Any) -> None:
    """Fit missing input ranges to training images, if the data has any."""
    if not needs_calibration(model.backbone):
        return
    if not isinstance(data, LightningDataModule):
        raise ValueError(
            "`network` must have input ranges, got layers without; call calibrate_(network, batches) with training "
            "inputs first"
        )
    data.setup("fit")
    model.calibrate_where_missing(data)


def _trainer(device: torch.device) -> Trainer:
    if device.type == "cuda" and device.index is not None:
        return quiet_trainer(accelerator="gpu", devices=[device.index])
    return quiet_trainer(accelerator="gpu" if device.type == "cuda" else device.type, devices=1)
