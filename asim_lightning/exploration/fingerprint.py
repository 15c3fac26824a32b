"""What a sweep's outcomes depend on beside the point and the trial: weights, settings, data, code, versions."""

import hashlib
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from typing import Any

import torch
from lightning.pytorch import Callback, LightningDataModule, Trainer, callbacks
from torch import nn

from asim_lightning import __version__
from asim_lightning.classifier import CimClassifier
from asim_lightning.data.image_data_module import ImageDataModule
from asim_lightning.engine import SavedChip
from asim_lightning.engine.noise import STREAM_VERSION
from asim_lightning.exploration.contents import Contents
from asim_lightning.exploration.sources import is_installed, package_content
from asim_lightning.nn.calibration import needs_calibration, quantized_layers

_PACKAGES = ("torch", "torchvision", "timm", "numpy")
_NO_SETTING = {"fidelity", "trial", "optimizer", "max_elements", "chip_file"}
"""Hyperparameters that a sweep sets itself, that no outcome depends on, or that stand elsewhere by their content."""
_OF_TRAINING = {"label_smoothing", "mixup", "train_noise"}
"""Hyperparameters that our own classifier uses in a training step alone."""
_OF_RANGES = {"calibration_images", "calibration_method"}
"""Those that our own classifier uses to fit input ranges alone, which are then among the weights."""
_NO_LAYER_SETTING = {
    "training", "name", "has_range", "warned", "_fidelity", "_train_noise", "_has_train_noise", "_max_elements",
    "_steps", "pool", "first_tile",
}  # fmt: skip
"""Attributes of a layer that a sweep sets itself, or that no simulated answer depends on."""
_BATCHES = {"batch_size", "eval_batch_size", "val_batch_size", "test_batch_size", "train_batch_size"}
_HARMLESS = {
    "num_workers", "pin_memory", "persistent_workers", "prefetch_factor", "multiprocessing_context",
    # Lightning's own
    "trainer", "prepare_data_per_node", "allow_zero_length_dataloader_with_multiple_devices", "_log_hyperparams",
    "_hparams_name", "_hparams_initial",
}  # fmt: skip
"""Attributes of a data module on which no answer of the network depends."""
_HARMLESS_CALLBACKS = {
    callbacks.DeviceStatsMonitor, callbacks.EarlyStopping, callbacks.LearningRateMonitor, callbacks.ModelCheckpoint,
    callbacks.ModelSummary, callbacks.OnExceptionCheckpoint, callbacks.RichModelSummary, callbacks.RichProgressBar,
    callbacks.TQDMProgressBar, callbacks.ThroughputMonitor, callbacks.Timer,
}  # fmt: skip
_OUR_HARMLESS_CALLBACKS = {
    f"asim_lightning.callbacks.{name}"
    for name in (
        "confusion_matrix.ConfusionMatrix", "hparams_table.HparamsTable", "image_counter.ImageCounter",
        "last_checkpoint.LastCheckpoint", "misclassified.Misclassified", "network_summary.NetworkSummary",
        "noise_ramp.NoiseRamp", "noise_sweep.NoiseSweep", "predictions.PredictionWriter",
        "simulated_accuracy.SimulatedAccuracy",
    )
}  # fmt: skip
"""Those that look on, or act in a fit alone; by name, since callbacks stand above sweeps."""
_HOOKS = [name for name in dir(Callback) if name.startswith("on_test_")]
_OF_OTHER_IMAGES = {"held_out", "seed"}
"""Arguments of our own data modules that decide on training, validation and calibration images alone."""
_CACHES = {"_splits", "_training_loader", "_resumed"}
"""Attributes of our own data modules that follow from the others and from the files."""


@dataclass(frozen=True)
class Fingerprint:
    """What outcomes depend on, and what of it could not be told."""

    settings: dict[str, object]
    """Values as JSON has them."""
    unknown: tuple[str, ...]
    """What has no fingerprint, a line each; outcomes are not to be used again where there is any."""
    shared: dict[str, object]
    """Those that decide what an image's answer is at a point: without the plan's macro, which the point has, and the
    number of images."""


def fingerprint(
    model: CimClassifier,
    data: LightningDataModule,
    trainer: Trainer,
    swept: Iterable[str],
    contents: Contents,
    columns: Contents | None = None,
) -> Fingerprint:
    """All that decides a trial's outcome beside the point and the trial.

    Args:
        model: The classifier.
        data: Its data; every attribute counts that is not known to be harmless.
        trainer: The trainer.
        swept: Fields of the plan's macro that a point decides.
        contents: Describes values.
        columns: What described the points' columns, whose packages and gaps count as well.
    """
    if columns is not None:
        contents.unknown.update(columns.unknown)
        contents.packages.update(columns.packages)
    for value, name in ((model, "model"), (data, "data"), (trainer, "trainer")):
        contents.described_elsewhere(value, name)
    settings: dict[str, object] = {
        "weights": _digest(model.backbone),
        "model": contents.of(_hyperparameters(model, set(swept), ranges_are_fitted(model, trainer)), "model"),
        "network": _network(model, contents),
        "noise": {"seed": model.noise_seed, "chip": chip.digest if isinstance(chip := model.chip, SavedChip) else chip},
        "data": _data(data, contents, _idle_arguments(model, data, trainer)),
        "trainer": _trainer(trainer, contents),
    }
    settings["named by code"] = contents.named()
    settings["versions"] = _versions(contents)
    unknown = tuple(contents.unknown)
    settings = {**settings, **({"without_fingerprint": list(unknown)} if unknown else {})}
    shared: dict[str, Any] = {**settings, "model": _without(settings["model"], "plan", "macro")}
    if images_are_apart(model, data, trainer):
        shared["data"] = _without(_without(settings["data"], "test_images"), "hparams", "test_images")
    return Fingerprint(settings, unknown, shared)


def _without(settings: Any, *names: str) -> Any:
    """Settings without one of them, which lies in groups in one another."""
    name, *inside = names
    if not isinstance(settings, Mapping) or name not in settings:
        return settings
    rest = {key: value for key, value in settings.items() if key != name}
    return {**rest, name: _without(settings[name], *inside)} if inside else rest


def ranges_are_fitted(model: CimClassifier, trainer: Trainer) -> bool:
    """Whether no test fits input ranges any more: all layers have theirs, and no callback may fit them anew."""
    installed: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
    return not needs_calibration(model.backbone) and all(map(_is_harmless, installed))


def _idle_arguments(model: CimClassifier, data: LightningDataModule, trainer: Trainer) -> set[str]:
    """Arguments of a data module on which no answer depends in this run."""
    if not images_are_apart(model, data, trainer):
        return set()
    own = type(data).__module__.startswith("asim_lightning.data.") and ranges_are_fitted(model, trainer)
    return _BATCHES | (_OF_OTHER_IMAGES if own else set())


def _hyperparameters(model: CimClassifier, swept: set[str], has_ranges: bool) -> dict[str, Any]:
    idle = set(_NO_SETTING)
    if type(model) is CimClassifier:
        idle |= _OF_TRAINING | (_OF_RANGES if has_ranges else set())
    found = {name: value for name, value in model.hparams.items() if name not in idle}
    plan = found.get("plan")
    if isinstance(plan, Mapping) and isinstance(plan.get("macro"), Mapping):
        macro = {name: value for name, value in plan["macro"].items() if name not in swept}
        found["plan"] = {**plan, "macro": macro}
    return found


def _network(model: CimClassifier, contents: Contents) -> dict[str, object]:
    """What weights and settings do not say: how layers quantise, and code of the user's own."""
    layers = {name: _layer_settings(layer) for name, layer in quantized_layers(model.backbone).items()}
    own = {type(module) for module in model.modules() if not is_installed(type(module).__module__)}
    own |= {type(noise) for module in model.modules() if (noise := getattr(module, "train_noise_model", None))}
    classes = sorted(own, key=lambda kind: f"{kind.__module__}.{kind.__qualname__}")
    return {"layers": layers, "classes": [contents.of(kind, "model") for kind in classes]}


def _layer_settings(layer: nn.Module) -> dict[str, object]:
    """Class and plain attributes of a layer: all but those on which no answer depends, so that a new one counts."""
    plain = {name: value for name, value in vars(layer).items() if isinstance(value, (bool, int, float, str))}
    counting = {name: value for name, value in plain.items() if name not in _NO_LAYER_SETTING}
    return {"class": type(layer).__name__, **counting}


def images_are_apart(model: CimClassifier, data: LightningDataModule, trainer: Trainer) -> bool:
    """Whether no answer depends on other images of the run or of its batch: a user's loader may drop the last one."""
    if getattr(type(data), "test_dataloader", None) is not ImageDataModule.test_dataloader:
        return False
    ranges = {layer.input_range for layer in quantized_layers(model.backbone).values()}
    return "batch" not in ranges and _takes_all_batches(trainer)


def _takes_all_batches(trainer: Trainer) -> bool:
    # 1 is one batch, and 1.0 all of them
    return isinstance(trainer.limit_test_batches, float) and trainer.limit_test_batches == 1.0


def _data(data: LightningDataModule, contents: Contents, harmless: set[str]) -> dict[str, object]:
    left_out = _HARMLESS | harmless | (_CACHES if isinstance(data, ImageDataModule) else set())
    given = dict(getattr(data, "hparams", {}))
    state = {name: value for name, value in vars(data).items() if name != "_hparams"}
    kept = [{name: value for name, value in each.items() if name not in left_out} for each in (state, given)]
    found: dict[str, object] = {"class": contents.of(type(data), "data")}
    for name, value in kept[0].items():
        found[name] = contents.of(value, f"data.{name}")
    if kept[1]:
        found["hparams"] = contents.of(kept[1], "data.hparams")
    return found


def _trainer(trainer: Trainer, contents: Contents) -> dict[str, object]:
    installed: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
    counting = [each for each in installed if not _is_harmless(each)]
    limit = repr(trainer.limit_test_batches)
    found: dict[str, object] = {"precision": str(trainer.precision), "limit_test_batches": limit}
    if (precision := torch.get_float32_matmul_precision()) != "highest":
        found["float32_matmul"] = precision  # of layers that stay float
    if not _takes_all_batches(trainer):
        found["processes"] = trainer.world_size  # each takes so many batches
    if counting:
        found["callbacks"] = [contents.of(each, f"trainer.callbacks.{type(each).__name__}") for each in counting]
    return found


def _is_harmless(callback: object) -> bool:
    # of these very classes: one that inherits may do anything
    kind = type(callback)
    return kind in _HARMLESS_CALLBACKS or f"{kind.__module__}.{kind.__qualname__}" in _OUR_HARMLESS_CALLBACKS


def idle_callbacks(trainer: Trainer) -> list[str]:
    """Names of callbacks of the user's own that do something in a test, where a sweep does not call them."""
    installed: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    own = (type(each) for each in installed if not type(each).__module__.startswith(("lightning.", "asim_lightning.")))
    return [kind.__name__ for kind in own if any(getattr(kind, name) is not getattr(Callback, name) for name in _HOOKS)]


def _versions(contents: Contents) -> dict[str, object]:
    names = {*_PACKAGES, *contents.packages} - {"asim_lightning", *sys.stdlib_module_names}
    found: dict[str, object] = {"asim_lightning": __version__, "source": package_content(), "noise": STREAM_VERSION}
    for name in sorted(names):
        known = _version(name)
        if known is not None:
            found[name] = known
    return found


def _version(package: str) -> str | None:
    """Version of an installed package by the name that is imported; None of Python's own."""
    try:
        return version(package)
    except PackageNotFoundError:
        distributions = _distributions().get(package)
        return version(distributions[0]) if distributions else None


_distributions = cache(packages_distributions)


def _digest(model: nn.Module) -> str:
    """Digest of all parameters and buffers, those too that are not saved."""
    digest = hashlib.sha256()
    for values in (model.named_parameters(remove_duplicate=False), model.named_buffers(remove_duplicate=False)):
        for name, value in values:
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
