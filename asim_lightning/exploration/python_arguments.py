"""Arguments that `study`, `search`, `spec` and `doctor` share: network, samples, and how to evaluate them."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from copy import copy, deepcopy
from difflib import get_close_matches
from inspect import signature
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias, get_type_hints

import torch
from lightning.pytorch import LightningDataModule, Trainer
from torch import Tensor, nn
from typing_extensions import TypedDict

from asim_lightning.checks import check_choice, check_kind, check_whole
from asim_lightning.circuit.voltage import NOISE_IN
from asim_lightning.classifier.batches import first_of
from asim_lightning.classifier.network import CimModule, GivenNetwork
from asim_lightning.classifier.outcome import Outcome
from asim_lightning.cost import Technology
from asim_lightning.data.given import GivenData
from asim_lightning.data.image_data_module import ImageDataModule
from asim_lightning.evaluation.evaluate import quiet_trainer
from asim_lightning.exploration.axes import base_macro
from asim_lightning.exploration.corners import Corners
from asim_lightning.exploration.runner import RunnerSettings, Work, runner_of
from asim_lightning.nn.calibration import calibrate_, needs_calibration
from asim_lightning.nn.inputs import moved, some_of
from asim_lightning.surgery import Plan, convert_, macro_layers

OutcomeLike: TypeAlias = str | Callable[..., Tensor] | Outcome


class WorkArguments(TypedDict, total=False):
    """Arguments of all calls."""

    plan: Plan | None
    """Plan of a network that is not converted; a copy of it is converted, and calibrated on `data`."""
    outcome: OutcomeLike
    """Number measured for a sample."""
    images: int | None
    """Number of random samples; None: all."""
    seed: int
    """Seed of the noise."""
    runner: str | RunnerSettings | Trainer | None
    """Who computes the trials."""
    folder: str | Path | None
    """Folder of the store; None: nothing is saved."""
    fresh: bool
    """Whether to ignore trials of earlier calls."""
    trials: int
    """Reads of the chip for each noisy point."""
    corners: Mapping[str, Mapping[str, Any]]
    """Corners with their fields; each point is evaluated at all of them."""


class PricedArguments(WorkArguments, total=False):
    """Arguments of calls whose points have a cost."""

    until: str | None
    """A target that ends the samples of each point."""
    technology: Technology | None
    """Technology of the costs."""
    noise_in: str
    """Meaning of noise in LSB at other ADCs: written or volts."""


def check_keywords(call: Callable[..., Any], kind: type, given: Mapping[str, Any]) -> None:
    """Refuse keyword arguments that are not in a TypedDict, as Python does, and values of another class."""
    known = [*signature(call).parameters, *get_type_hints(kind)]
    for name in given:
        if name not in get_type_hints(kind):
            near = get_close_matches(name, known, 1)
            meant = f"; did you mean '{near[0]}'?" if near else ""
            raise TypeError(f"{call.__name__}() got an unexpected keyword argument '{name}'{meant}")
    for name, its, such_as in (("technology", Technology, "Technology('28nm')"), ("plan", Plan, "Plan(macro=...)")):
        if given.get(name) is not None:
            check_kind(f"`{name}`", given[name], its, such_as)


def outcome_of(given: WorkArguments, network: nn.Module) -> Outcome:
    """The outcome of a call: as asked for, else a classifier's own, else accuracy."""
    if "outcome" not in given and isinstance(network, CimModule):
        return network.outcome
    return Outcome.of(given.get("outcome", "accuracy"))


@contextmanager
def opened_work(network: nn.Module, data: Any, given: WorkArguments, noise_in: str = "written") -> Iterator[Work]:
    """Network, data and trainer of a study; afterwards the network is on its device again, and in its modes.

    Raises:
        ValueError: An argument is not allowed, or the network has no input ranges.
    """
    seed, runner, folder = given.get("seed", 0), given.get("runner"), given.get("folder")
    check_whole("`seed`", seed, 0, 2**32 - 1)
    check_choice("`noise_in`", noise_in, NOISE_IN)
    corners = Corners.read(given.get("corners"))
    evaluated = samples(data, given.get("images"))
    if (plan := given.get("plan")) is not None:
        network = _converted(network, plan, data, evaluated)
    model = _model(network, evaluated, outcome_of(given, network), seed)
    if corners.fields:
        corners = corners.following(base_macro(model))
    _calibrate(model, data)
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
        where = Path(folder or Path(stack.enter_context(TemporaryDirectory()), type(network).__name__))
        named = None if isinstance(runner, Trainer) else runner
        trainer = runner if isinstance(runner, Trainer) else _trainer(device)
        settings = named if isinstance(named, RunnerSettings) else RunnerSettings(named or "trainer")
        computes, fresh = runner_of(settings, trainer, model, evaluated), given.get("fresh", False)
        yield Work(trainer, model, evaluated, where, computes, fresh, noise_in=noise_in, corners=corners)


def _converted(network: nn.Module, plan: Plan, data: Any, evaluated: LightningDataModule) -> nn.Module:
    """A copy of a network on macros, with input ranges from training samples of a data module, else from `data`."""
    if macro_layers(network):
        raise ValueError("`plan` is for a network that is not converted, got one with layers on macros")
    network = deepcopy(network)
    convert_(network, plan, _example(evaluated))
    if not isinstance(data, LightningDataModule):
        first = first_of(evaluated.test_dataloader(), CimModule.calibration_images)
        calibrate_(network, ((inputs,) for inputs in first))
    return network


def _example(evaluated: LightningDataModule) -> Any:
    """The first input, as a batch of one."""
    if isinstance(evaluated, GivenData):
        return evaluated.example
    return some_of(next(iter(evaluated.test_dataloader()))[0], slice(1))


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
    example = _example(samples)
    device = next((each.device for each in network.parameters()), torch.device("cpu"))
    model = GivenNetwork(network, outcome, moved(example, device))
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
