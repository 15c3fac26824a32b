"""Everything that an outcome depends on except point and trial: network, noise, data, code, trainer, versions."""

import functools
import hashlib
import json
import os
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from itertools import islice
from typing import Any

import torch
from lightning.pytorch import Callback, LightningDataModule, Trainer
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor

from asim_lightning import __version__
from asim_lightning.classifier.batches import calibration_images_of
from asim_lightning.classifier.network import CimModule
from asim_lightning.data.given import GivenData
from asim_lightning.data.image_data_module import ImageDataModule
from asim_lightning.engine import SavedChip
from asim_lightning.engine.noise import STREAM_VERSION
from asim_lightning.evaluation.results import digest_of
from asim_lightning.exploration.described_values import PACKAGE, Contents, file_of, is_own
from asim_lightning.nn.calibration import needs_calibration, quantized_layers

_PACKAGES = ("torch", "torchvision", "timm", "numpy")
_NO_SETTING = {"fidelity", "trial", "optimizer", "max_elements", "chip_file"}
"""Hyperparameters that a sweep sets, that decide no outcome, or whose content is in the key."""
_NO_DATA_SETTING = {
    "num_workers", "trainer", "prepare_data_per_node", "allow_zero_length_dataloader_with_multiple_devices"
}  # fmt: skip
_BATCHES = {"batch_size", "eval_batch_size"}
_OURS = ("lightning.", "asim_lightning.")
_HARMLESS_CALLBACKS = {
    "DeviceStatsMonitor", "EarlyStopping", "LastCheckpoint", "ModelCheckpoint", "NoiseSweep", "OnExceptionCheckpoint",
    "PredictionWriter", "RichProgressBar", "ThroughputMonitor", "TQDMProgressBar",
}  # fmt: skip
"""Callbacks of Lightning and of ours whose setup and teardown change no answer; a sweep calls only these hooks."""
_HOOKS = [name for name in dir(Callback) if name.startswith("on_test_")]


_read: dict[str, tuple[object, str]] = {}
"""By name of a module: its loader, and the digest of its file when first asked for.

An edit of the file has no effect until the module is loaded again."""


def loaded_code() -> dict[str, str]:
    """Digest of the file of every loaded module that is not installed, not Python's and not in this package."""
    found = {}
    for name in sorted(sys.modules):
        if is_own(file := file_of(name)):
            by = getattr(sys.modules[name], "__spec__", None) or sys.modules[name]  # a reload makes a new one
            if name not in _read or _read[name][0] is not by:
                _read[name] = by, _digest_of_file(file)
            found[name] = _read[name][1]
    return found


@functools.cache
def package_code() -> str:
    """Digest of this package's sources and kernels, because they may be edited without a new version."""
    files = [os.path.join(folder, name) for folder, _, names in os.walk(PACKAGE) for name in names]
    code = [file for file in files if file.endswith((".py", ".cpp", ".h"))]
    return digest_of({file.removeprefix(PACKAGE): _digest_of_file(file) for file in code})


def _digest_of_file(file: str) -> str:
    with open(file, "rb") as content:
        return hashlib.sha256(content.read()).hexdigest()


def fingerprint(
    model: CimModule,
    data: LightningDataModule,
    trainer: Trainer,
    swept: Iterable[str],
    columns: Contents | None = None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Everything that decides a trial's outcome except the point and the trial, as plain JSON values.

    Data modules of users are read in full. Points decide the `swept` fields of the plan's macro. `columns` has the
    descriptions of their columns. `without_fingerprint` has a line on each thing without a digest. The second mapping
    decides the answer to one image: without the plan's macro, which is in the point, and the number of images.
    """
    contents = columns or Contents()
    apart = images_are_apart(model, data, trainer)
    measured = {name: value for name, value in vars(model.outcome).items() if name != "loss"}
    chosen = {name: value for name, value in model.hparams.items() if name not in _NO_SETTING}
    settings: dict[str, Any] = {
        "weights": contents.of([type(model), model._parameters, model._buffers, model._modules], "model"),
        "model": _readable(chosen, contents, "model"),
        "outcome": contents.of([type(model.outcome), measured], "outcome"),
        "noise": {"seed": model.noise_seed, "chip": chip.digest if isinstance(chip := model.chip, SavedChip) else chip},
        "data": _data(model, data, apart, trainer, contents),
        "trainer": _trainer(trainer, contents),
        "code": loaded_code(),
    }
    for name in swept:
        settings["model"] = _without(settings["model"], "plan", "macro", name)
    settings["versions"] = _versions()
    if contents.unknown:
        settings["without_fingerprint"] = list(contents.unknown)
    shared = {**settings, "model": _without(settings["model"], "plan", "macro")}
    if apart:
        shared["data"] = _without(settings["data"], "test_images")
    return settings, shared


def _readable(value: object, contents: Contents, where: str) -> Any:
    """A value as JSON, with digests of parts that JSON cannot hold."""
    text = json.dumps(value, default=lambda part: contents.of(part, where))
    return json.loads(text, parse_constant=str)  # NaN and infinity are no JSON


def _without(settings: Any, name: str, *inside: str) -> Any:
    """Settings without one entry, or without a nested entry; unchanged if they have no such entry."""
    if not isinstance(settings, Mapping) or name not in settings:
        return settings
    rest = {key: value for key, value in settings.items() if key != name}
    return {**rest, name: _without(settings[name], *inside)} if inside else rest


def images_are_apart(model: CimModule, data: LightningDataModule, trainer: Trainer) -> bool:
    """Whether each answer is independent of other images of the run and batch; a user's loader may drop a batch."""
    if getattr(type(data), "test_dataloader", None) not in (ImageDataModule.test_dataloader, GivenData.test_dataloader):
        return False
    ranges = {layer.input_range for layer in quantized_layers(model.backbone).values()}
    return "batch" not in ranges and _takes_all_batches(trainer)


def _takes_all_batches(trainer: Trainer) -> bool:
    # 1 is one batch, and 1.0 all of them
    return isinstance(trainer.limit_test_batches, float) and trainer.limit_test_batches == 1.0


def _data(
    model: CimModule, data: LightningDataModule, apart: bool, trainer: Trainer, contents: Contents
) -> dict[str, object]:
    """Class, settings and test samples of the data; of users' modules all samples count, and no setting."""
    kind = type(data)
    found: dict[str, object] = {
        "class": f"{kind.__module__}.{kind.__qualname__}", "code": contents.of(kind, "data")
    }  # fmt: skip
    with isolate_rng():  # a pass must not change later random draws of a loader
        if needs_calibration(model.backbone):
            batches = calibration_images_of(data, model.calibration_images)
            found["calibration"] = digest_of([contents.of(batch, "data") for batch in batches])
        if isinstance(data, ImageDataModule) and type(data).__module__.startswith("asim_lightning.data."):
            idle = _NO_DATA_SETTING | (_BATCHES if apart else set())
            public = {name: each for name, each in vars(data).items() if not name.startswith("_") and name not in idle}
            return {**found, **_readable(public, contents, "data"), "samples": _samples(data, contents)}
        loader = data.test_dataloader()
        loader = loader[0] if isinstance(loader, (list, tuple)) else loader  # an evaluation refuses several loaders
        contents.of(type(getattr(loader, "dataset", None)), "data")
        most = trainer.limit_test_batches
        batches = islice(loader, most * trainer.world_size if isinstance(most, int) else None)
        return {**found, "samples": digest_of([contents.of(batch, "data") for batch in batches])}


def _samples(data: ImageDataModule, contents: Contents) -> str:
    """Digest of the test images of our data module, even if `test_images` takes fewer."""
    split = data.test_split()
    images: Any = split.images
    if not isinstance(images, Tensor):  # there may be too many files to read
        states = [(str(images.path(n)), os.stat(images.path(n))) for n in split.order.tolist()]
        images = [[path, state.st_size, state.st_mtime_ns] for path, state in states]
    return contents.of([images, split.labels, split.order], "data")


def _trainer(trainer: Trainer, contents: Contents) -> dict[str, object]:
    found: dict[str, object] = {
        "precision": str(trainer.precision),
        "float32_matmul": torch.get_float32_matmul_precision(),  # affects layers that stay float
        "limit_test_batches": repr(trainer.limit_test_batches),
    }
    if not _takes_all_batches(trainer):
        found["processes"] = trainer.world_size  # the limit counts the batches of each process
    for number, each in enumerate(_counting(trainer)):
        where = f"trainer.callbacks.{type(each).__name__}"
        found[f"callback {number}"] = contents.of(each, where)
    return found


def _counting(trainer: Any) -> list[Callback]:
    """Callbacks whose setup or teardown may change an answer."""

    def counts(callback: Callback) -> bool:
        hooks = [getattr(callback, name) for name in ("setup", "teardown")]  # also hooks set on the object
        is_idle = all(getattr(each, "__func__", None) in (Callback.setup, Callback.teardown) for each in hooks)
        kind = type(callback)  # exact classes only: a subclass may do anything
        return not (is_idle or (kind.__module__.startswith(_OURS) and kind.__name__ in _HARMLESS_CALLBACKS))

    return [each for each in trainer.callbacks if counts(each)]


def idle_callbacks(trainer: Any) -> list[str]:
    """Names of the user's callbacks that act in a test but are not called by a sweep."""
    own = [type(each) for each in trainer.callbacks if not type(each).__module__.startswith(_OURS)]
    return [kind.__name__ for kind in own if any(getattr(kind, name) is not getattr(Callback, name) for name in _HOOKS)]


def _versions() -> dict[str, object]:
    found = {"asim_lightning": __version__, "source": package_code(), "noise": STREAM_VERSION}
    return {**found, **{name: version(name) for name in _PACKAGES}}
