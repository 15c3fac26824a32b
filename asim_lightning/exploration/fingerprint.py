"""Everything that an outcome depends on except point and trial: network, noise, data, code, trainer, versions."""

import functools
import hashlib
import os
import pickle
import sys
import sysconfig
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from itertools import islice
from types import ModuleType
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
from asim_lightning.data.given import GivenData
from asim_lightning.data.image_data_module import ImageDataModule
from asim_lightning.engine import SavedChip
from asim_lightning.engine.noise import STREAM_VERSION
from asim_lightning.evaluation.results import digest_of
from asim_lightning.exploration.answers import Answers, answers_of
from asim_lightning.exploration.contents import array_content, class_name, plain
from asim_lightning.nn import OnMacro
from asim_lightning.nn.calibration import needs_calibration, quantized_layers
from asim_lightning.nn.quantized import QuantizedLayer
from asim_lightning.surgery.conversion_report import KEPT

PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_PATHS = [sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib", "scripts")]
_INSTALLED = tuple(each + os.sep for path in (*_PATHS, PACKAGE) for each in (path, os.path.realpath(path)))
_SITES = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")
_PACKAGES = ("torch", "torchvision", "timm", "numpy")
_NO_SETTING = {"fidelity", "trial", "optimizer", "max_elements", "chip_file"}
"""Hyperparameters that a sweep sets, that decide no outcome, or whose content is in the key."""
_OF_TRAINING = {"label_smoothing", "mixup", "train_noise", "train_adc"}
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
_MOST_READ = 64 * 2**20
"""Bytes of image files that are read for a key; from memory, 600 files or 10,000 take 0.1 to 0.4 s."""
_OURS = ("lightning.", "asim_lightning.")
_HARMLESS_CALLBACKS = {
    "DeviceStatsMonitor", "EarlyStopping", "LastCheckpoint", "ModelCheckpoint", "NoiseSweep", "OnExceptionCheckpoint",
    "PredictionWriter", "RichProgressBar", "ThroughputMonitor", "TQDMProgressBar",
}  # fmt: skip
"""Callbacks of Lightning and of ours whose setup and teardown change no answer; a sweep calls only these hooks."""
_HOOKS = [name for name in dir(Callback) if name.startswith("on_test_")]


@dataclass(frozen=True)
class Fingerprint:
    """Everything that decides a trial's outcome except the point and the trial.

    Attributes:
        settings: As plain JSON values; points decide the swept fields of the plan's macro.
        shared: Digest of what decides the answer to one image: without the plan's macro, which is in the point, and
            without the number of images.
        by_values: `shared` without the answers of the network.
        answers: The network's answers to its first samples; None in other processes than the first.
        never_again: Why no trial may be used again; empty if trials may.
    """

    settings: dict[str, Any]
    shared: str
    by_values: str
    answers: Answers | None
    never_again: str = ""


def fingerprint(model: CimModule, data: LightningDataModule, trainer: Trainer, swept: Iterable[str]) -> Fingerprint:
    """The fingerprint of a study whose axes are the fields `swept`.

    Settings, weights, samples and files of code count by their contents, layers and callbacks by their classes and
    plain attributes. Objects in memory count by what the network answers (`answers_of`), in the first process only:
    the other ones ask for the same trials. Test samples of users' data modules are read in full.
    """
    apart, unread = images_are_apart(model, data, trainer), list[str]()
    weights = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    outcome = {name: value for name, value in vars(model.outcome).items() if name not in ("loss", "note")}
    settings: dict[str, Any] = {
        "weights": digest_of([[name, array_content(value)] for name, value in weights]),
        "structure": _structure(model),
        "model": _hyperparameters(model, swept, trainer),
        "outcome": [class_name(model.outcome), plain(outcome)],
        "noise": {"seed": model.noise_seed, "chip": chip.digest if isinstance(chip := model.chip, SavedChip) else chip},
        "data": _data(model, data, trainer, unread),
        "trainer": _trainer(trainer, unread),
        "code": loaded_code(),
        "versions": _versions(),
    }
    shared = {**settings, "model": _without(settings["model"], "plan", "macro")}
    if apart:
        shared["data"] = _without(settings["data"], "test_images")
    if not trainer.is_global_zero:
        return Fingerprint(settings, digest_of(shared), "", None)
    answers = answers_of(model, data, trainer)
    never_again = "" if answers.repeat else "the float network gives other answers at a second call"
    never_again = never_again or (f"a {unread[0]} in samples or callbacks cannot be read" if unread else "")
    seen = never_again or answers.digest
    return Fingerprint(
        {**settings, "answers": seen}, digest_of([shared, seen]), digest_of(shared), answers, never_again
    )


def loaded_code() -> dict[str, str]:
    """Digest of the file of every loaded module that is not installed, not Python's and not in this package."""
    found = {}
    for name in sorted(sys.modules):
        if _is_own(file := _file_of(name)):
            by = getattr(sys.modules[name], "__spec__", None) or sys.modules[name]  # a reload makes a new one
            if name not in _read or _read[name][0] is not by:
                _read[name] = by, _digest_of_file(file)
            found[name] = _read[name][1]
    return found


_read: dict[str, tuple[object, str]] = {}
"""By name of a module: its loader, and the digest of its file when first asked for.

An edit of the file has no effect until the module is loaded again."""


@functools.cache
def package_code() -> str:
    """Digest of this package's sources and kernels, because they may be edited without a new version."""
    files = [os.path.join(folder, name) for folder, _, names in os.walk(PACKAGE) for name in names]
    code = [file for file in files if file.endswith((".py", ".cpp", ".h"))]
    return digest_of({file.removeprefix(PACKAGE): _digest_of_file(file) for file in code})


def _digest_of_file(file: str) -> str:
    with open(file, "rb") as content:
        return hashlib.sha256(content.read()).hexdigest()


def _file_of(module: str) -> str:
    """Path of a loaded module; empty if it has no file."""
    loaded = sys.modules.get(module)
    file = vars(loaded).get("__file__") if isinstance(loaded, ModuleType) else None
    return file if isinstance(file, str) and os.path.isabs(file) else ""


def _is_own(file: str) -> bool:
    """Whether a file is the user's: not Python's, not in an installed package, and not in this package."""
    if not file or _SITES[0] in file or _SITES[1] in file or file.startswith(_INSTALLED):
        return False
    return os.path.isfile(file) and not os.path.realpath(file).startswith(_INSTALLED)


def _structure(model: CimModule) -> str:
    """Digest of the class and the plain attributes of every module, and of hooks by name.

    They tell apart networks that only differ under noise.
    """
    found: list[object] = [class_name(model)]
    for name, module in model.named_modules(remove_duplicate=False):
        if isinstance(module, Metric) or module is model:
            continue  # the hyperparameters cover the classifier's attributes
        hooks = [*module._forward_pre_hooks.values(), *module._forward_hooks.values()]
        found.append([name, class_name(module), *map(class_name, hooks)])
        bare = LightningModule() if isinstance(module, LightningModule) else nn.Module()  # a trainer wraps a user's so
        idle = {*vars(bare), KEPT, *(_NO_LAYER_SETTING if isinstance(module, QuantizedLayer) else ())}
        idle |= {"_bits"} if isinstance(module, OnMacro) else set()  # the point has their macro
        found += [[key, plain(value)] for key, value in vars(module).items() if key not in idle]
    return digest_of(found)


def _hyperparameters(model: CimModule, swept: Iterable[str], trainer: Trainer) -> Any:
    idle = set(_NO_SETTING)
    if type(model) is CimClassifier:
        fits = needs_calibration(model.backbone) or _counting(trainer)
        idle |= _OF_TRAINING | (set() if fits else _OF_RANGES)
    found: Any = {name: plain(value) for name, value in model.hparams.items() if name not in idle}
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


def _data(model: CimModule, data: LightningDataModule, trainer: Trainer, unread: list[str]) -> dict[str, object]:
    found: dict[str, object] = {"class": class_name(data)}
    content = partial(_pickled, unread=unread)
    with isolate_rng():  # a pass must not change later random draws of a loader
        if needs_calibration(model.backbone):
            batches = calibration_images_of(data, model.calibration_images)
            found["calibration"] = digest_of([plain(batch, content) for batch in batches])
        if isinstance(data, ImageDataModule) and type(data).__module__.startswith("asim_lightning.data."):
            return {**found, **_our_data(data, images_are_apart(model, data, trainer), trainer)}
        loader = data.test_dataloader()
        loader = loader[0] if isinstance(loader, (list, tuple)) else loader  # an evaluation refuses several loaders
        most = trainer.limit_test_batches
        batches = islice(loader, most * trainer.world_size if isinstance(most, int) else None)
        return {**found, "samples": digest_of([plain(batch, content) for batch in batches])}


def _our_data(data: ImageDataModule, apart: bool, trainer: Trainer) -> dict[str, object]:
    """Settings of our data module, and its test images, even if `test_images` takes fewer."""
    idle = _HARMLESS | (_BATCHES if apart else set()) | (set() if _counting(trainer) else _OF_OTHER_IMAGES)
    split = data.test_split()  # before the attributes, of which a text has more once it is read
    public = {name: value for name, value in vars(data).items() if not name.startswith("_") and name not in idle}
    images: Any = split.images
    if not isinstance(images, Tensor):
        images = _of_files([str(images.path(number)) for number in split.order.tolist()])
    return {**plain(public), "samples": plain([images, split.labels, split.order])}


def _of_files(paths: Sequence[str]) -> str:
    """Digest of image files: of their contents if these are few bytes, else of their paths, sizes and times."""
    states = [os.stat(path) for path in paths]
    if sum(state.st_size for state in states) <= _MOST_READ:
        return digest_of([_digest_of_file(path) for path in paths])
    return digest_of([[path, each.st_size, each.st_mtime_ns] for path, each in zip(paths, states, strict=True)])


def _pickled(value: Any, unread: list[str]) -> str:
    """Digest of an object that is not plain; noted as `unread` if it cannot be pickled."""
    try:
        return hashlib.sha256(pickle.dumps(value)).hexdigest()
    except (pickle.PicklingError, AttributeError, TypeError):
        unread.append(class_name(value))
        return class_name(value)


def _trainer(trainer: Trainer, unread: list[str]) -> dict[str, object]:
    found: dict[str, object] = {
        "precision": str(trainer.precision),
        "float32_matmul": torch.get_float32_matmul_precision(),  # affects layers that stay float
        "limit_test_batches": repr(trainer.limit_test_batches),
    }
    if not _takes_all_batches(trainer):
        found["processes"] = trainer.world_size  # the limit counts the batches of each process
    for number, each in enumerate(_counting(trainer)):  # a probe does not call them
        found[f"callback {number}"] = [class_name(each), plain(vars(each), partial(_pickled, unread=unread))]
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
    return {
        "asim_lightning": __version__,
        "source": package_code(),
        "noise": STREAM_VERSION,
        **{name: version(name) for name in _PACKAGES},
    }
