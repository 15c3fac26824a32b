"""The answers of a network to its first test samples: they tell networks apart, whatever their programs say."""

import platform
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from lightning.pytorch import LightningDataModule, Trainer
from lightning.pytorch.utilities.seed import isolate_rng
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, Subset

from asim_lightning.classifier.network import CimModule
from asim_lightning.classifier.outcome import OUTCOMES
from asim_lightning.data.given import GivenData, with_indices
from asim_lightning.data.image_data_module import ImageDataModule
from asim_lightning.evaluation.condition import Condition, under
from asim_lightning.evaluation.results import digest_of
from asim_lightning.exploration.contents import plain
from asim_lightning.nn.calibration import quantized_layers

PRODUCTS, LEAST, MOST = 2e10, 2, 512
"""Multiplications of a probe, and its least and most samples."""
_UNKNOWN = 64
"""Samples of a probe if the products of a network were not counted."""
OF_OUTCOME = 2048
"""Most samples of an outcome that is not this package's."""


@dataclass(frozen=True)
class Answers:
    """The answers of a network to the samples of its probe."""

    digest: str
    """Digest of the bytes of the float and quantised outputs, and of the numbers of a user's outcome."""
    repeat: bool
    """Whether the float network gives the same bytes twice."""
    processor: str
    """The instructions that rounded the answers, such as "x86_64 AVX512"."""


def answers_of(model: CimModule, data: LightningDataModule, trainer: Trainer | None = None) -> Answers:
    """The float and quantised answers to the first test samples, as many as cost 2e10 products: 2 to 512.

    They tell apart networks, data modules and outcomes that hold objects of the user's: tables, splines, closures,
    files and variables that a forward pass reads. The batch is always the same, on the CPU, in one thread, so that the
    bytes are equal in every process. An outcome that is not this package's gives its numbers on the float outputs of
    the first 2,048 samples. Random states, buffers, device and modes are as before afterwards.

    A probe does not see an effect on none of its samples, code that acts only under noise, and a change between the
    probe and the run.
    """
    size, is_own = _size(model), all(model.outcome.number is not each.number for each in OUTCOMES.values())
    with _at_rest(model), _with_trainer(data, trainer):
        given = _first_batches(data, max(size, OF_OUTCOME if is_own else 0), size)
        batches = (_transferred(model, data, batch) for batch in given)
        if (first := next(batches, None)) is None:
            raise ValueError("No image was evaluated; the data is empty")
        with under(model, Condition("float")):
            once, again = (_answered(model, first, is_own) for _ in range(2))
            others = [_answered(model, batch, is_own) for batch in batches]
        with _with_ranges(model, data), _quantized(model):
            quantized = _answered(model, first, False)
    instructions = torch.backends.cpu.get_cpu_capability()
    return Answers(digest_of([once, others, quantized]), once == again, f"{platform.machine()} {instructions}")


@contextmanager
def _with_ranges(model: CimModule, data: LightningDataModule) -> Iterator[None]:
    """The network with input ranges, which are removed again if it has none: a callback fits them in the run."""
    layers = quantized_layers(model.backbone).values()
    missing = [layer for layer in layers if layer.lacks_range]
    model.calibrate_where_missing(data)
    try:
        yield
    finally:
        for layer in missing:
            layer.clear_range(model.device)


@contextmanager
def _quantized(model: CimModule) -> Iterator[None]:
    """The quantised network with 8 bits, because each point has bits of its own; with its bits if 8 are refused."""
    with ExitStack() as stack:
        try:
            stack.enter_context(under(model, Condition("quantized", {"weight_bits": 8, "input_bits": 8})))
        except ValueError:
            stack.enter_context(under(model, Condition("quantized")))
        yield


def loss_of(model: CimModule, data: LightningDataModule, trainer: Trainer | None = None) -> str:
    """Digest of the outcome's loss of the float network on the samples of its probe."""
    with _at_rest(model), _with_trainer(data, trainer), under(model, Condition("float")):
        batch = next(iter(_first_batches(data, size := _size(model), size)))
        outputs, targets, _ = model.answered(_transferred(model, data, batch))
        return digest_of(plain(model.outcome.mean_loss(outputs, targets)))


def _size(model: CimModule) -> int:
    macs = sum(row.macs or 0 for row in model.report)
    return min(max(int(PRODUCTS / macs), LEAST), MOST) if macs else _UNKNOWN


def _answered(model: CimModule, batch: Any, with_numbers: bool) -> object:
    outputs, targets, _ = model.answered(batch)
    return [plain(outputs), plain(model.outcome.numbers(outputs, targets)) if with_numbers else None]


def _first_batches(data: LightningDataModule, samples: int, size: int) -> Iterator[Any]:
    """The first test samples in batches of a size; a loader without a data set to index gives its own batches."""
    if isinstance(data, (ImageDataModule, GivenData)):
        yield from data.first_test_batches(samples, size)
        return
    loader: Any = with_indices(data.test_dataloader())
    loader = loader[0] if isinstance(loader, (list, tuple)) else loader
    is_usual = isinstance(loader, DataLoader) and type(loader).__iter__ is DataLoader.__iter__
    if not is_usual or isinstance(loader.dataset, IterableDataset) or loader.batch_size is None:
        yield from islice(loader, max(samples // size, 1))
        return
    first = Subset(loader.dataset, list(islice(loader.sampler, samples)))
    yield from DataLoader(first, size, collate_fn=loader.collate_fn)


def _transferred(model: CimModule, data: LightningDataModule, batch: Any) -> Any:
    """A batch on the CPU, as hooks of the data module or of the network give it."""
    for name, others in (
        ("on_before_batch_transfer", ()),
        ("transfer_batch_to_device", (torch.device("cpu"),)),
        ("on_after_batch_transfer", ()),
    ):
        is_datas = getattr(type(data), name) is not getattr(LightningDataModule, name)
        batch = getattr(data if is_datas else model, name)(batch, *others, 0)
    return batch


@contextmanager
def _with_trainer(data: LightningDataModule, trainer: Trainer | None) -> Iterator[None]:
    """A data module whose hooks see the trainer, as in a run."""
    before, data.trainer = data.trainer, data.trainer or trainer
    try:
        yield
    finally:
        data.trainer = before


@contextmanager
def _at_rest(model: CimModule) -> Iterator[None]:
    """The network, and a network in its outcome, on the CPU in one thread; afterwards as before."""
    given: list[Any] = [model, model.outcome.number]
    networks = [each for each in given if isinstance(each, nn.Module)]
    modules = [module for each in networks for module in each.modules()]
    buffers = [
        (module, name, value, value.clone())
        for module in modules
        for name, value in module.named_buffers(recurse=False)
    ]
    parameters = [(value, value.data) for module in modules for value in module.parameters(recurse=False)]
    devices = [next((value.device for value, _ in parameters), torch.device("cpu")) for _ in networks]
    threads = torch.get_num_threads()
    with isolate_rng(), torch.no_grad():
        try:
            for each in networks:
                each.cpu()
            torch.set_num_threads(1)
            yield
        finally:
            torch.set_num_threads(threads)
            for each, device in zip(networks, devices, strict=True):
                each.to(device)  # also what a LightningModule knows of its device
            for parameter, value in parameters:
                parameter.data = value
            for module, name, value, before in buffers:
                setattr(module, name, value.copy_(before))
