"""Everything that an outcome depends on except point and trial: network, noise, data, code, trainer, versions."""

import functools
import hashlib
import os
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from itertools import islice
from typing import Any

import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor, nn
from torchmetrics import Metric

from asim_lightning import __version__
from asim_lightning.classifier import CimClassifier
from asim_lightning.classifier.batches import calibration_images_of
from asim_lightning.classifier.network import CimModule
from asim_lightning.classifier.outcome import Outcome
from asim_lightning.data.given import GivenData
from asim_lightning.data.image_data_module import ImageDataModule
from asim_lightning.engine import SavedChip
from asim_lightning.engine.noise import STREAM_VERSION
from asim_lightning.evaluation.results import digest_of
from asim_lightning.exploration.described_values import PACKAGE, Contents, array_content, file_of, is_own
from asim_lightning.nn import OnMacro
from asim_lightning.nn.calibration import needs_calibration, quantized_layers
from asim_lightning.nn.quantized import QuantizedLayer
from asim_lightning.surgery.conversion_report import KEPT

_PACKAGES = ("torch", "torchvision", "timm", "numpy")
_NO_SETTING = {"fidelity", "trial", "optimizer", "max_elements", "chip_file"}
"""Hyperparameters that a sweep sets, that decide no outcome, or whose content is in the key."""
_OF_TRAINING = {"label_smoothing", "mixup", "train_noise"}
"""Hyperparameters that our classifier uses only in a training step."""
_OF_RANGES = {"calibration_images", "calibration_method"}
"""Hyperparameters that our classifier uses only to fit input ranges, which are part of the weights."""
_NO_LAYER_SETTING = {
    "name", "has_range", "_assignment", "warned", "fidelity", "_train_noise", "_has_train_noise", "_train_noise_model",
    "max_elements", "engine", "_steps", "_held", "pool", "first_tile",
}  # fmt: skip
"""Attributes of our layers that a point has or sets, or that change no simulated answer."""
_BATCHES = {"batch_size", "eval_batch_size"}
_HARMLESS = {
    "num_workers", "trainer", "prepare_data_per_node", "allow_zero_length_dataloader_with_multiple_devices"
}  # fmt: skip
_OF_OTHER_IMAGES = {"held_out", "seed", "augment"}
"""Arguments of our data modules that only affect training, validation and calibration images."""
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
    descriptions of their columns. `without_fingerprint` has a line on each thing without a description. The second
    mapping decides the answer to one image: without the plan's macro, which is in the point, and the number of images.
    """
    contents = columns or Contents()
    apart = images_are_apart(model, data, trainer)
    weights = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    settings: dict[str, Any] = {
        "weights": digest_of([[name, array_content(value)] for name, value in weights]),
        "structure": _structure(model, contents),
        "model": _hyperparameters(model, swept, trainer, contents),
        "outcome": _outcome(model.outcome, contents),
        "noise": {"seed": model.noise_seed, "chip": chip.digest if isinstance(chip := model.chip, SavedChip) else chip},
        "data": _data(model, data, trainer, contents),
        "trainer": _trainer(trainer, contents),
        "code": loaded_code(),
    }
    settings["versions"] = _versions(contents.packages)
    if contents.unknown:
        settings["without_fingerprint"] = list(contents.unknown)
    shared = {**settings, "model": _without(settings["model"], "plan", "macro")}
    if apart:
        shared["data"] = _without(settings["data"], "test_images")
    return settings, shared


def _structure(model: CimModule, contents: Contents) -> str:
    """Digest of the class and the plain attributes of every module, so a new attribute changes it."""
    found = [contents.code(type(model), "model")]
    for name, module in model.named_modules(remove_duplicate=False):
        if isinstance(module, Metric) or module is model:
            continue  # the hyperparameters cover the classifier's attributes
        found.append([name, contents.code(type(module), f"model.{name}")])
        own = [*module._forward_pre_hooks.values(), *module._forward_hooks.values()]
        hooks = [("hook", each) for each in own]
        plain = LightningModule() if isinstance(module, LightningModule) else nn.Module()  # a trainer wraps a user's so
        idle = {*vars(plain), KEPT, *(_NO_LAYER_SETTING if isinstance(module, QuantizedLayer) else ())}
        idle |= {"_bits"} if isinstance(module, OnMacro) else set()  # the point has their macro
        for key, value in [*vars(module).items(), *hooks]:
            if key not in idle:
                if getattr(value, "__self__", None) is module:  # a method of this module
                    value = value.__func__
                found.append([key, contents.of(value, f"model.{name}.{key}", objects=True)])
    return digest_of(found)


def _outcome(outcome: Outcome, contents: Contents) -> list[object]:
    """An outcome; its function may be an object that is called, from the user or a network."""
    known = isinstance(outcome.number, nn.Module) or is_own(file_of(type(outcome.number).__module__))
    number = contents.of(outcome.number, "outcome", objects=known)
    rest = {name: value for name, value in vars(outcome).items() if name not in ("loss", "number")}
    return [contents.code(type(outcome), "outcome"), contents.of(rest, "outcome", objects=True), number]


def _hyperparameters(model: CimModule, swept: Iterable[str], trainer: Trainer, contents: Contents) -> Any:
    idle = set(_NO_SETTING)
    if type(model) is CimClassifier:
        fits = needs_calibration(model.backbone) or _counting(trainer)
        idle |= _OF_TRAINING | (set() if fits else _OF_RANGES)
    found = {name: contents.of(value, f"model.{name}") for name, value in model.hparams.items() if name not in idle}
    for name in swept:
        found = _without(found, "plan", "macro", name)
    return found


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


def _data(model: CimModule, data: LightningDataModule, trainer: Trainer, contents: Contents) -> dict[str, object]:
    kind = type(data)
    found: dict[str, object] = {
        "class": f"{kind.__module__}.{kind.__qualname__}", "code": contents.code(kind, "data")
    }  # fmt: skip
    with isolate_rng():  # a pass must not change later random draws of a loader
        if needs_calibration(model.backbone):
            batches = calibration_images_of(data, model.calibration_images)
            found["calibration"] = digest_of([contents.of(batch, "data") for batch in batches])
        if isinstance(data, ImageDataModule) and type(data).__module__.startswith("asim_lightning.data."):
            return {**found, **_our_data(data, images_are_apart(model, data, trainer), trainer, contents)}
        loader = data.test_dataloader()
        loader = loader[0] if isinstance(loader, (list, tuple)) else loader  # an evaluation refuses several loaders
        contents.code(type(getattr(loader, "dataset", None)), "data")
        most = trainer.limit_test_batches
        batches = islice(loader, most * trainer.world_size if isinstance(most, int) else None)
        return {**found, "samples": digest_of([contents.of(batch, "data") for batch in batches])}


def _our_data(data: ImageDataModule, apart: bool, trainer: Trainer, contents: Contents) -> dict[str, object]:
    """Settings of our data module, and its test images, even if `test_images` takes fewer."""
    idle = _HARMLESS | (_BATCHES if apart else set()) | (set() if _counting(trainer) else _OF_OTHER_IMAGES)
    public = {name: value for name, value in vars(data).items() if not name.startswith("_") and name not in idle}
    split = data.test_split()
    images: Any = split.images
    if not isinstance(images, Tensor):  # there may be too many files to read
        states = [(str(images.path(n)), os.stat(images.path(n))) for n in split.order.tolist()]
        images = digest_of([[path, state.st_size, state.st_mtime_ns] for path, state in states])
    samples = [contents.of(each, "data") for each in (images, split.labels, split.order)]
    return {**{name: contents.of(value, f"data.{name}") for name, value in public.items()}, "samples": samples}


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
        found[f"callback {number}"] = [contents.code(type(each), where), contents.of(vars(each), where)]
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


def _versions(packages: set[str]) -> dict[str, object]:
    others = {name: getattr(sys.modules[name], "__version__", None) for name in sorted(packages)}
    return {
        "asim_lightning": __version__,
        "source": package_code(),
        "noise": STREAM_VERSION,
        **{name: str(each) for name, each in others.items() if each is not None},
        **{name: version(name) for name in _PACKAGES},
    }
