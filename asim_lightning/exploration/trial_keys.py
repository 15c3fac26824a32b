"""What an outcome depends on next to the point and the trial: network, noise, data, code, trainer, versions."""

import dataclasses
import enum
import functools
import hashlib
import math
import os
import sys
import sysconfig
from collections.abc import Iterable, Mapping
from contextlib import suppress
from importlib.metadata import version
from itertools import islice
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningDataModule, Trainer
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor, nn
from torchmetrics import Metric

from asim_lightning import __version__
from asim_lightning.classifier import CimClassifier
from asim_lightning.classifier.batches import calibration_images_of
from asim_lightning.classifier.network import CimModule
from asim_lightning.data.given import GivenData
from asim_lightning.data.image_data_module import ImageDataModule
from asim_lightning.engine import SavedChip
from asim_lightning.engine.noise import STREAM_VERSION
from asim_lightning.evaluation.results import digest_of
from asim_lightning.nn.calibration import needs_calibration, quantized_layers, warn_of_missing_ranges
from asim_lightning.nn.quantized import QuantizedLayer
from asim_lightning.surgery.conversion_report import KEPT

_PACKAGES = ("torch", "torchvision", "timm", "numpy")
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_PATHS = [sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib", "scripts")]
_INSTALLED = tuple(each + os.sep for path in (*_PATHS, _PACKAGE) for each in (path, os.path.realpath(path)))
_SITES = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")

_NO_SETTING = {"fidelity", "trial", "optimizer", "max_elements", "chip_file"}
"""Hyperparameters that a sweep sets itself, that no outcome depends on, or that the key has by their content."""
_OF_TRAINING = {"label_smoothing", "mixup", "train_noise"}
"""Hyperparameters that our own classifier only uses in a training step."""
_OF_RANGES = {"calibration_images", "calibration_method"}
"""Hyperparameters that our own classifier only uses to fit input ranges, which are then among the weights."""
_NO_LAYER_SETTING = {
    "name", "has_range", "_assignment", "warned", "_fidelity", "_train_noise", "_has_train_noise",
    "_max_elements", "_engine", "_steps", "pool", "first_tile",
}  # fmt: skip
"""Attributes of a layer of ours that a point has or sets, or on which no simulated answer depends."""
_BATCHES = {"batch_size", "eval_batch_size"}
_HARMLESS = {
    "num_workers", "trainer", "prepare_data_per_node", "allow_zero_length_dataloader_with_multiple_devices"
}  # fmt: skip
_OF_OTHER_IMAGES = {"held_out", "seed", "augment"}
"""Of our own data modules: arguments that only decide on training, validation and calibration images."""
_OURS = ("lightning.", "asim_lightning.")
_HARMLESS_CALLBACKS = {
    "DeviceStatsMonitor", "EarlyStopping", "LastCheckpoint", "ModelCheckpoint", "NoiseSweep", "OnExceptionCheckpoint",
    "PredictionWriter", "RichProgressBar", "ThroughputMonitor", "TQDMProgressBar",
}  # fmt: skip
"""Callbacks of Lightning and of ours that change no answer by the hooks that a sweep calls, setup and teardown."""
_HOOKS = [name for name in dir(Callback) if name.startswith("on_test_")]


class Contents:
    """Describes plain values, classes and functions as JSON has them, and notes what it cannot describe."""

    def __init__(self) -> None:
        self.unknown: dict[str, None] = {}
        """What could not be described, such as "data: my.Data, whose code is in no file"."""
        self.packages: set[str] = set()
        """Top-level names of installed packages whose classes and functions were met."""
        self._met: set[object] = set()

    def of(self, value: object, where: str) -> object:
        """A value by content: numbers, texts, tensors, functions, and containers and dataclasses of them.

        What is not plain is noted in `unknown` under the name that the user knows it by.
        """
        try:
            return self.plain(value, where)
        except _NOT_PLAIN as error:
            self.unknown[f"{where}: {error}"] = None
            return {"unknown": str(error)}

    def plain(self, value: Any, where: str) -> Any:
        """A value as `of` has it; raises one of `_NOT_PLAIN` if there is no such description."""
        if value is None or type(value) in (bool, int, str):
            return value
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else repr(float(value))
        if isinstance(value, (torch.dtype, torch.device, complex, os.PathLike)):
            return str(value)
        if isinstance(value, enum.Enum):
            return [self.code(type(value), where), value.name]
        if isinstance(value, (Tensor, np.ndarray, np.generic)):
            return _array(value)
        if type(value) in (list, tuple, torch.Size):
            return [self.plain(each, where) for each in value]
        if isinstance(value, (set, frozenset)):
            return sorted(self.plain(list(value), where), key=repr)
        if isinstance(value, Mapping) and all(type(key) is str for key in value):
            return {key: self.plain(each, f"{where}.{key}") for key, each in value.items()}
        if isinstance(value, Mapping):
            return self.plain(list(value.items()), where)
        if isinstance(value, functools.partial):
            return self.plain([value.func, value.args, value.keywords], where)
        if isinstance(value, (type, FunctionType, BuiltinFunctionType)):
            return self.code(value, where)
        if dataclasses.is_dataclass(value):
            fields = {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
            return [self.code(type(value), where), self.plain(fields, where)]
        raise _OpaqueError(f"a {type(value).__qualname__}, which is not plain")

    def code(self, value: Any, where: str) -> object:
        """A class or function by its full name, and what a function holds; its code is among the loaded files."""
        for each in value.__mro__ if isinstance(value, type) else [value]:
            self._meet(each, where)
        name = _name_of(value)
        if not isinstance(value, FunctionType):
            return name
        held = [*(cell.cell_contents for cell in value.__closure__ or ()), value.__defaults__, value.__kwdefaults__]
        return [f"{name}:{value.__code__.co_firstlineno}", self.plain(held, where)]

    def state(self, value: object, where: str) -> object:
        """A plain value, or class and attributes of an object, noted in `unknown` if a user's class has others."""
        with suppress(*_NOT_PLAIN):
            return self.plain(value, where)
        kind = self.code(type(value), where)
        if _is_own(_file_of(type(value).__module__)):
            return [kind, self.of(vars(value) if hasattr(value, "__dict__") else value, where)]
        try:
            return [kind, self.plain(vars(value), where)]
        except (TypeError, *_NOT_PLAIN):  # of a library, which its version stands for
            return kind

    def _meet(self, value: Any, where: str) -> None:
        """Note a class or function without a file, or the package that has it."""
        module = value.__module__ or "builtins"
        if value not in self._met and not _has_code(value, module):
            self.unknown[f"{where}: {_name_of(value)}, whose code is in no file"] = None
        elif value not in self._met and not _is_own(_file_of(module)):
            self.packages.add(module.partition(".")[0])
        self._met.add(value)


class _OpaqueError(Exception):
    """A value is not plain."""


_NOT_PLAIN = (_OpaqueError, RecursionError, ValueError)
"""Of values that are not plain, that hold themselves, and of functions that are not defined to their end."""


def _name_of(value: Any) -> str:
    return f"{value.__module__ or 'builtins'}.{value.__qualname__}"


def _array(value: Any) -> list[object]:
    try:
        held = value.detach().cpu().contiguous() if isinstance(value, Tensor) else np.ascontiguousarray(value)
        content = held.flatten().view(torch.uint8).numpy() if isinstance(held, Tensor) else held.view(np.uint8)
    except (RuntimeError, NotImplementedError, TypeError) as error:
        raise _OpaqueError(f"a {type(value).__name__} of type {value.dtype}") from error
    return [str(value.dtype), list(value.shape), hashlib.sha256(content.data).hexdigest()]


def _file_of(module: str) -> str:
    """Path of a loaded module; empty if it has none."""
    loaded = sys.modules.get(module)
    file = vars(loaded).get("__file__") if isinstance(loaded, ModuleType) else None
    return file if isinstance(file, str) and os.path.isabs(file) else ""


def _is_own(file: str) -> bool:
    """Whether a file is the user's: neither of Python nor installed, which versions stand for, nor of this package."""
    if not file or _SITES[0] in file or _SITES[1] in file or file.startswith(_INSTALLED):
        return False
    return os.path.isfile(file) and not os.path.realpath(file).startswith(_INSTALLED)


def _has_code(value: Any, module: str) -> bool:
    """Whether a class or function is Python's own or from the file of a loaded module."""
    if isinstance(value, FunctionType) and not os.path.isfile(value.__code__.co_filename):
        return value.__code__.co_filename.startswith("<frozen")
    if module == "builtins" and isinstance(value, type):
        return not value.__flags__ & 1 << 9  # as classes have that exec defines in a module without a name
    file = _file_of(module)
    return os.path.isfile(file) if file else module.partition(".")[0] in sys.stdlib_module_names - {"__main__"}


_read: dict[str, tuple[object, str]] = {}
"""By name of a module: what it was loaded by, and the digest of its file when it was first asked for.

An edit of the file does not change the module until it is loaded again."""


def loaded_code() -> dict[str, str]:
    """Digest of the file of every loaded module that is neither installed nor Python's own nor of this package."""
    found = {}
    for name in sorted(sys.modules):
        if _is_own(file := _file_of(name)):
            by = getattr(sys.modules[name], "__spec__", None) or sys.modules[name]  # another one after a reload
            if name not in _read or _read[name][0] is not by:
                _read[name] = by, _digest_of_file(file)
            found[name] = _read[name][1]
    return found


@functools.cache
def package_code() -> str:
    """Digest of this package's sources, also those of its kernels, which may be edited under one version."""
    files = [os.path.join(folder, name) for folder, _, names in os.walk(_PACKAGE) for name in names]
    code = [file for file in files if file.endswith((".py", ".cpp", ".h"))]
    return digest_of({file.removeprefix(_PACKAGE): _digest_of_file(file) for file in code})


def _digest_of_file(file: str) -> str:
    with open(file, "rb") as content:
        return hashlib.sha256(content.read()).hexdigest()


@dataclasses.dataclass(frozen=True)
class Fingerprint:
    """What outcomes depend on, and what of it could not be told."""

    settings: dict[str, object]
    """Values as JSON has them."""
    unknown: tuple[str, ...]
    """What has no fingerprint, a line each; outcomes are not to be used again if there is any."""
    shared: dict[str, object]
    """The settings that decide an image's answer at a point: without the plan's macro, which the point has, and the
    number of images."""


def fingerprint(
    model: CimModule,
    data: LightningDataModule,
    trainer: Trainer,
    swept: Iterable[str],
    columns: Contents | None = None,
) -> Fingerprint:
    """All that decides a trial's outcome next to the point and the trial.

    Args:
        model: The classifier.
        data: Its data, set up; of other data modules than ours all test images are read.
        trainer: The trainer.
        swept: Fields of the plan's macro that a point decides.
        columns: What described the points' columns, whose gaps count as well.
    """
    contents = columns or Contents()
    apart = images_are_apart(model, data, trainer)
    weights = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    settings: dict[str, Any] = {
        "weights": digest_of([[name, _array(value)] for name, value in weights]),
        "structure": _structure(model, contents),
        "model": _hyperparameters(model, swept, trainer, contents),
        "outcome": contents.state(model.outcome, "outcome"),
        "noise": {"seed": model.noise_seed, "chip": chip.digest if isinstance(chip := model.chip, SavedChip) else chip},
        "data": _data(model, data, trainer, contents),
        "trainer": _trainer(trainer, contents),
        "code": loaded_code(),
    }
    settings["versions"] = _versions(contents.packages)
    unknown = tuple(contents.unknown)
    if unknown:
        settings["without_fingerprint"] = list(unknown)
    # a point has the plan's macro
    shared = {**settings, "model": _without(settings["model"], "plan", "macro")}
    if apart:
        shared["data"] = _without(settings["data"], "test_images")
    return Fingerprint(settings, unknown, shared)


def _structure(model: CimModule, contents: Contents) -> str:
    """Digest of the class and the plain attributes of every module, so that a new attribute counts."""
    found = [contents.code(type(model), "model")]
    for name, module in model.named_modules(remove_duplicate=False):
        if isinstance(module, Metric) or module is model:
            continue  # hyperparameters stand for the classifier's own attributes
        found.append([name, contents.code(type(module), f"model.{name}")])
        own = [*module._forward_pre_hooks.values(), *module._forward_hooks.values()]
        hooks = [("hook", each) for each in own if each is not warn_of_missing_ranges]  # which goes once it has run
        idle = {*vars(nn.Module()), KEPT, *(_NO_LAYER_SETTING if isinstance(module, QuantizedLayer) else ())}
        for key, value in [*vars(module).items(), *hooks]:
            if key not in idle:
                found.append([key, contents.state(value, f"model.{name}.{key}")])
    return digest_of(found)


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
    """Settings without one of them, or without one within it; as they are if they have none."""
    if not isinstance(settings, Mapping) or name not in settings:
        return settings
    rest = {key: value for key, value in settings.items() if key != name}
    return {**rest, name: _without(settings[name], *inside)} if inside else rest


def images_are_apart(model: CimModule, data: LightningDataModule, trainer: Trainer) -> bool:
    """Whether no answer depends on other images of the run or of its batch: a user's loader may drop the last one."""
    if getattr(type(data), "test_dataloader", None) not in (ImageDataModule.test_dataloader, GivenData.test_dataloader):
        return False
    ranges = {layer.input_range for layer in quantized_layers(model.backbone).values()}
    return "batch" not in ranges and _takes_all_batches(trainer)


def _takes_all_batches(trainer: Trainer) -> bool:
    # 1 is one batch, and 1.0 all of them
    return isinstance(trainer.limit_test_batches, float) and trainer.limit_test_batches == 1.0


def _data(model: CimModule, data: LightningDataModule, trainer: Trainer, contents: Contents) -> dict[str, object]:
    found: dict[str, object] = {"class": contents.code(type(data), "data")}
    with isolate_rng():  # a pass must not change what a loader draws later
        if needs_calibration(model.backbone):
            batches = calibration_images_of(data, model.calibration_images)
            found["calibration"] = digest_of([contents.of(batch, "data") for batch in batches])
        if isinstance(data, ImageDataModule) and type(data).__module__.startswith("asim_lightning.data."):
            return {**found, **_our_data(data, images_are_apart(model, data, trainer), trainer, contents)}
        loader = data.test_dataloader()
        loader = loader[0] if isinstance(loader, (list, tuple)) else loader  # an evaluation refuses several
        contents.code(type(getattr(loader, "dataset", None)), "data")
        most = trainer.limit_test_batches
        batches = islice(loader, most * trainer.world_size if isinstance(most, int) else None)
        return {**found, "samples": digest_of([contents.of(batch, "data") for batch in batches])}


def _our_data(data: ImageDataModule, apart: bool, trainer: Trainer, contents: Contents) -> dict[str, object]:
    """Settings of one of our data modules, and its test images, also if `test_images` takes fewer."""
    idle = _HARMLESS | (_BATCHES if apart else set()) | (set() if _counting(trainer) else _OF_OTHER_IMAGES)
    public = {name: value for name, value in vars(data).items() if not name.startswith("_") and name not in idle}
    split = data.test_split()
    images: Any = split.images
    if not isinstance(images, Tensor):  # files, which may be too many to read
        states = [(str(images.path(n)), os.stat(images.path(n))) for n in split.order.tolist()]
        images = digest_of([[path, state.st_size, state.st_mtime_ns] for path, state in states])
    samples = [contents.of(each, "data") for each in (images, split.labels, split.order)]
    return {**{name: contents.of(value, f"data.{name}") for name, value in public.items()}, "samples": samples}


def _trainer(trainer: Trainer, contents: Contents) -> dict[str, object]:
    found: dict[str, object] = {
        "precision": str(trainer.precision),
        "float32_matmul": torch.get_float32_matmul_precision(),  # of layers that stay float
        "limit_test_batches": repr(trainer.limit_test_batches),
    }
    if not _takes_all_batches(trainer):
        found["processes"] = trainer.world_size  # each takes so many batches
    for number, each in enumerate(_counting(trainer)):
        where = f"trainer.callbacks.{type(each).__name__}"
        found[f"callback {number}"] = [contents.code(type(each), where), contents.of(vars(each), where)]
    return found


def _counting(trainer: Any) -> list[Callback]:
    """Callbacks that may change an answer by the hooks that a sweep calls."""

    def counts(callback: Callback) -> bool:
        hooks = [getattr(callback, name) for name in ("setup", "teardown")]  # also one that an object was given
        is_idle = all(getattr(each, "__func__", None) in (Callback.setup, Callback.teardown) for each in hooks)
        kind = type(callback)  # of these very classes: one that inherits may do anything
        return not (is_idle or (kind.__module__.startswith(_OURS) and kind.__name__ in _HARMLESS_CALLBACKS))

    return [each for each in trainer.callbacks if counts(each)]


def idle_callbacks(trainer: Any) -> list[str]:
    """Names of the user's own callbacks that do something in a test: a sweep does not call them."""
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
