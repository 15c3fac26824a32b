"""The weights of a command: a checkpoint, read once, as tensors and plain values and never as code."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from jsonargparse import Namespace
from lightning.pytorch import LightningDataModule, Trainer

from asim_lightning import exchange
from asim_lightning.backbone import BackboneConfig
from asim_lightning.callbacks import LastCheckpoint, RangeCalibration
from asim_lightning.classifier import CimClassifier
from asim_lightning.classifier.arguments import image_size_of
from asim_lightning.classifier.checkpoint_settings import settings_of
from asim_lightning.classifier.resumed_checkpoint import check_rewritten
from asim_lightning.cli.command_line import Arguments, shorter_path
from asim_lightning.data.colour import ColourDataModule
from asim_lightning.lightning_private import first_logged_step
from asim_lightning.nn.calibration import needs_calibration
from asim_lightning.resources import shipped_file
from asim_lightning.safe_load import read_checkpoint
from asim_lightning.surgery.conversion_report import with_macros_of

_RANGES = ("input_max", "weight_max")


@dataclass(frozen=True)
class Start:
    """Source of a command's weights."""

    path: str | None = None
    """The checkpoint; None if there is none."""
    checkpoint: Mapping[str, Any] = field(default_factory=dict)
    """Content of the checkpoint."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """The classifier's settings in the checkpoint."""
    resumes: bool = False
    """Whether a fit continues with the optimizer's state."""
    continued: Path | None = None
    """last.ckpt in the folder of the run that a fit continues."""

    epoch: int = 0
    """Completed epochs, if it resumes."""
    step: int = 0
    """Completed optimizer steps, if it resumes."""
    logged_from: int = 0
    """The first step that it logs, if it resumes."""
    resumed_by: str = "to resume a stopped fit, give `--ckpt_path last`"
    """How to resume instead, if a fit starts from the weights only."""


def read_start(arguments: Arguments, by_recipes: Mapping[str, Any], by_flags: Mapping[str, Any]) -> Start:
    """Read the checkpoint that a flag, a recipe or the run of a saved configuration names.

    The checkpoint may use the classes that the user's settings of the model name.
    """
    given, fits, continued = {**by_recipes, **by_flags}.get("ckpt_path"), arguments.command == "fit", None
    # a saved configuration names the start of its fit; other commands need the result of the fit
    if not fits and "ckpt_path" not in by_flags and (run := arguments.saved_run) is not None:
        saved = (run / "checkpoints" / f"{name}.ckpt" for name in ("best", LastCheckpoint.NAME))
        given = next((shorter_path(path) for path in saved if path.is_file()), given)
    if given is None:
        return Start()
    if given == LastCheckpoint.NAME:
        trainers = [each.get("trainer") or {} for each in (by_flags, by_recipes)]
        roots = (each["default_root_dir"] for each in trainers if each.get("default_root_dir"))
        last = newest_last(Path(next(roots, "runs")) / arguments.run_name)
        continued, given = last if fits else None, shorter_path(last)
    path, checkpoint = open_checkpoint(str(given))
    named = [each.get("model") for each in (by_recipes, by_flags)]
    settings = settings_of(path, checkpoint, CimClassifier.argument_types(), named)
    if not fits or "optimizer_states" not in checkpoint:
        return Start(path, checkpoint, settings)
    # at the end of an epoch, Lightning saves an "epoch" that is one less
    loop = checkpoint["loops"]["fit_loop"]
    epoch, logged_from = loop["epoch_progress"]["current"]["processed"], first_logged_step(loop)
    return Start(path, checkpoint, settings, True, continued, epoch, checkpoint["global_step"], logged_from)


def open_checkpoint(given: str) -> tuple[str, dict[str, Any]]:
    """Path and content of a checkpoint; a name finds a shipped one."""
    path = str(shipped_file("checkpoints", given))
    return path, read_checkpoint(path)


def newest_last(folder: Path) -> Path:
    """The newest last.ckpt in version_0, version_1, ... of a folder."""
    pattern = f"version_*/checkpoints/{LastCheckpoint.NAME}.ckpt"
    found = sorted(folder.glob(pattern), key=lambda path: path.stat().st_mtime_ns)
    if not found:
        raise FileNotFoundError(
            f"`ckpt_path: {LastCheckpoint.NAME}` is the newest {folder / pattern}, and there is none; asim fit without "
            "ckpt_path starts a new run and writes one"
        )
    return found[-1]


def load_weights(
    model: CimClassifier, path: str, checkpoint: Mapping[str, Any], classes: int | None = None
) -> list[str]:
    """Load a checkpoint's weights and input ranges, in place; return a note if the model keeps its new head.

    It keeps the head if it has not the checkpoint's number of classes, `classes`; None: the head must fit. If the
    model's BatchNorms are folded, the weights are folded, too.
    """
    state, own, head = dict(checkpoint["state_dict"]), model.state_dict(), list[str]()
    if classes is not None and classes != model.num_classes:
        head = exchange.take_out_head_(state, model, model.num_classes)
    # a layer in float may have had an input range in training
    known = {name: value for name, value in state.items() if name in own or name.rpartition(".")[2] not in _RANGES}
    try:
        check_rewritten(checkpoint, model.plan)
        model.load_state_dict(known | {name: own[name] for name in head})
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"{path} does not fit: {' '.join(str(error).split()):.300}") from None
    if model.hparams["train_adc"]:  # the weights have the ranges of the ADCs
        model.report = with_macros_of(model.backbone, model.report)
    if classes is None or not head:
        return []
    note = exchange.new_head([name.removeprefix("backbone.") for name in head], classes, model.num_classes)
    model.report = replace(model.report, notes=(note, *model.report.notes))
    return [note]


def read_data(model: CimClassifier, data: LightningDataModule, stage: str = "test") -> None:
    """Read the data for one of Lightning's stages."""
    model.check_data(data)
    data.prepare_data()
    data.setup(stage)
    # a user's data module may not know the size of its images
    if model.example is None and stage != "fit":
        loaders = data.val_dataloader() if stage == "validate" else data.test_dataloader()
        loader = loaders[0] if isinstance(loaders, (list, tuple)) else loaders
        batch = next(iter(loader))
        model.check_image_size(image_size_of(batch[0]) if isinstance(batch, (list, tuple)) else None)


def prepare(trainer: Trainer, model: CimClassifier, data: LightningDataModule, stage: str = "test") -> None:
    """Read the data of a stage, and fit missing input ranges."""
    read_data(model, data, stage)
    callback = next((each for each in trainer.callbacks if isinstance(each, RangeCalibration)), None)  # type: ignore
    if callback is None:
        model.calibrate_where_missing(data)
    elif needs_calibration(model.backbone):
        callback.calibrate(trainer, model, data, missing=True)
    with suppress(AttributeError):
        trainer.strategy.barrier()


def settle_pretrained(settings: Namespace, written: Mapping[str, Any], command: str) -> str:
    """Leave pretrained weights out if a checkpoint brings weights, else adapt pictures to them; in place.

    Returns the changed form of pictures in words, or an empty text. `written` has the settings before they were parsed.
    """
    backbone, has_own = settings.model.backbone, bool(settings.get("ckpt_path"))
    weights = None
    # a checkpoint may have started from these weights, so the pictures stay the same
    if backbone.pretrained and command != "explain" and _adapts(settings, written):
        try:
            weights = exchange.timm_weights(BackboneConfig(**backbone.as_dict()))
        except FileNotFoundError:
            if not has_own:
                raise
            weights = backbone.name  # the file is gone, and not needed any more
    if has_own or (command == "explain" and not exchange.is_file(backbone.pretrained)):
        backbone.pretrained = False
    if weights is None:
        return ""
    settings.data.init_args.normalize, settings.data.init_args.pretrained_cfg = "pretrained", weights
    return f"as {weights} expects them (data.init_args.pretrained_cfg)"


def _adapts(settings: Namespace, written: Mapping[str, Any]) -> bool:
    """Whether pictures follow the weights: not those of small networks, and not if the user wrote their form."""
    data = written.get("data") or {}
    given = {**data, **(data.get("init_args") or {})}
    if settings.model.backbone.small or not settings.get("data") or {"normalize", "pretrained_cfg"} & given.keys():
        return False
    return issubclass(resolve_name(settings.data.class_path), ColourDataModule)
