"""The command line on LightningCLI: subcommands, precedence, where a run's files go, what is printed last."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from jsonargparse import Namespace, set_parsing_settings
from lightning.pytorch import Callback, LightningDataModule
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from asim_lightning.callbacks import ImageCounter, LastCheckpoint, NoiseRamp, PredictionWriter
from asim_lightning.callbacks.output import tensorboard_loggers
from asim_lightning.classifier import BackboneConfig, CimClassifier
from asim_lightning.classifier.checkpoint_settings import settings_of
from asim_lightning.classifier.folded_checkpoint import is_folded
from asim_lightning.classifier.network_size import SizeLimits, check_size
from asim_lightning.cli.axes import settle_axes
from asim_lightning.cli.checkpoint import load_weights, read_checkpoint
from asim_lightning.cli.checkpointing import (
    loggers,
    newest_last,
    put_back_metrics,
    weights_line,
    with_checkpoints,
    with_whole_files,
)
from asim_lightning.cli.comparison import accuracy_line
from asim_lightning.cli.configs import (
    check_group_files,
    checkpoint_of_run,
    configs_first,
    names_data,
    run_name,
    shorter_path,
    without_other_commands_keys,
)
from asim_lightning.cli.debris import folders_without_logger, is_of_no_use, log_folders, nothing_left
from asim_lightning.cli.groups import check_groups, group_names
from asim_lightning.cli.messages import OneLineParser, UsageError
from asim_lightning.cli.monitors import check_monitors
from asim_lightning.cli.own_options import NO_FLAGS, own_options, with_own_options
from asim_lightning.cli.pretrained import settle_pretrained
from asim_lightning.cli.resumed_state import check_state, is_of_restoring
from asim_lightning.cli.reworded import is_refusal
from asim_lightning.cli.strict_yaml import use_strict_loader
from asim_lightning.cli.trainer import AsimTrainer
from asim_lightning.cli.trainer_settings import check_functions, check_processes, check_trainer, with_summary
from asim_lightning.cli.writable import check_callbacks, check_file, check_folder
from asim_lightning.data.image_data_module import ImageDataModule
from asim_lightning.evaluation.whole_file import naming, remove_partials
from asim_lightning.resources import shipped_file
from asim_lightning.surgery import macro_layers

set_parsing_settings(docstring_parse_attribute_docstrings=True)
use_strict_loader()

COMMANDS = ("fit", "validate", "test", "predict", "sweep", "bench", "explain", "verify")
_DATA = "asim_lightning.data.FashionMNIST"
_PREDICTIONS = "predictions.csv"
_RESUMED = ("best", "hpc")
"""What Lightning takes for the checkpoint of a fit beside a path; `last` is ours, as its own starts at epoch 0."""


class AsimCLI(LightningCLI):
    """``asim COMMAND -c CONFIG``; precedence: defaults < checkpoint < YAML < flags."""

    def __init__(self, args: list[str]) -> None:
        self.command = next((word for word in args if word in COMMANDS), None)
        self.run_name = run_name(args)
        self.images = ImageCounter()
        by_flag = any(argument.split("=")[0] == "--ckpt_path" for argument in args)
        self.trained = None if by_flag or self.command == "fit" else checkpoint_of_run(args)
        self.resumes, self.step = False, 0
        self.folds = False  # whether a fit would go on from a network whose BatchNorms are folded now
        self.continued: Path | None = None
        self._stored: dict[str, Any] = {}  # settings in a checkpoint
        self._room: SizeLimits | None = None
        self.pictures = self.axes = ""
        super().__init__(
            CimClassifier,
            LightningDataModule,
            trainer_class=AsimTrainer,
            save_config_kwargs={"overwrite": True},
            trainer_defaults={"use_distributed_sampler": False, "default_root_dir": "runs"},
            seed_everything_default=0,
            parser_class=OneLineParser,
            subclass_mode_data=True,
            auto_configure_optimizers=False,
            args=args,
        )

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Lightning's commands and ours, with the arguments that are no flags."""
        return {name: set(NO_FLAGS) for name in COMMANDS}

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        """A parser that takes full names of settings alone: an abbreviation would change its meaning with a new one."""
        return super().init_parser(prog="asim", allow_abbrev=False, **kwargs)

    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: Any) -> LightningArgumentParser:
        if subcommand == self.command:
            return super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        # the other commands are there for --help alone, and their flags would take half of the start-up time
        return self.init_parser(**kwargs)

    def add_core_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """As in LightningCLI, but a command needs no data module on the command line or in YAML: there is a default."""
        parser.add_lightning_class_args(self.trainer_class, "trainer")
        parser.set_defaults({f"trainer.{name}": value for name, value in self.trainer_defaults.items()})
        parser.add_lightning_class_args(CimClassifier, "model")
        parser.add_lightning_class_args(LightningDataModule, "data", subclass_mode=True, required=False)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse, and keep apart what the user wrote.

        LightningCLI merges a checkpoint's hyperparameters last, over flags and YAML; `before_instantiate_classes`
        puts what was written back on top.
        """
        if self.command is not None:
            for each in (parser, self._subcommand_parsers[self.command]):
                if isinstance(each, OneLineParser):
                    each.known_settings = self._names
        self._args = args = with_own_options(args, self.command)
        if self.command is not None:
            check_group_files(args, group_names(self._names()))
            args = configs_first(args, self.command)
        args = without_other_commands_keys(args, {name: own_options(name) for name in COMMANDS})
        if self.command is not None and not names_data(args):
            # not as the parser's default: another class would inherit the arguments that share a name
            place = args.index(self.command) + 1
            args = [*args[:place], f"--data={_DATA}", *args[place:]]
        self.config = parser.parse_args(args)
        self._written = parser.parse_args(args, defaults=False)
        settings, written = self.config[self.config.subcommand], self._written[self.config.subcommand]
        check_groups(settings, self._names())
        if settings.get("weights_only") is False:
            raise UsageError("`weights_only` must be true: a checkpoint is read as tensors and plain values, got false")
        seed = settings.get("seed_everything")
        if isinstance(seed, int) and not 0 <= seed < 2**32:
            raise UsageError(f"`seed_everything` must be 0..{2**32 - 1}, true or false, got {seed}")
        settings.weights_only = written.weights_only = True
        # a saved configuration says where its fit started, and what else is done with it is about what came out
        given = self.trained or settings.get("ckpt_path")
        if given == LastCheckpoint.NAME:
            trainer = settings.get("trainer") or {}
            last = newest_last(Path(trainer.get("default_root_dir") or "runs") / self.run_name, self.command == "fit")
            self.continued = last if self.command == "fit" else None
            given = shorter_path(last)
        if given is not None and not (self.command == "fit" and given in _RESUMED):
            path = str(shipped_file("checkpoints", str(given)))
            settings.ckpt_path = written.ckpt_path = path
            checkpoint = read_checkpoint(path)
            self._stored = settings_of(path, checkpoint, CimClassifier.argument_types(), _plain(written.get("model")))
            self._room = SizeLimits(path, Path(path).stat().st_size, len(checkpoint["state_dict"]))
            self.resumes = self.command == "fit" and "optimizer_states" in checkpoint
            self.folds = self.resumes and not is_folded(checkpoint)
            if self.continued is not None and not self.resumes:
                raise UsageError(
                    f"`ckpt_path: {LastCheckpoint.NAME}` goes on from the state of an optimizer, which {path} lacks; "
                    "`ckpt_path` with the file's path starts anew from its weights"
                )
            self.step = int(checkpoint.get("global_step", 0))

    def _names(self) -> list[str]:
        """Full names of the command's settings."""
        return list(self._subcommand_parsers[str(self.command)].get_defaults().keys())

    def _parse_ckpt_path(self) -> None:
        # not as Lightning does: it reads the file again, and gives the parser whatever is in it
        if not self._stored:
            return
        try:
            self.config = self.parser.parse_object({self.command: {"model": self._stored}}, self.config)
            check_groups(self.config[self.command], self._names())
        except UsageError as error:
            raise UsageError(f"The settings in {self.config[self.command].ckpt_path} do not fit: {error}") from None

    def before_instantiate_classes(self) -> None:
        """Put what the user wrote over a checkpoint's hyperparameters; save the configuration with a fit alone."""
        self.config = self.parser.parse_object(self._written, self.config)
        mine = self.config.subcommand
        self.pictures = settle_pretrained(self.config[mine], self._written[mine], mine)
        if self._room is not None:
            model = self.config[mine].model
            check_size(BackboneConfig(**model.backbone.as_dict()), model.num_classes, self._room)
        if self.command != "explain" and self.config[self.command].get("data") is None:
            raise UsageError("`data` must be a data module, such as asim_lightning.data.CIFAR10, got null")
        if self.command == "sweep":
            self._settle_axes()
        self.folds = self.folds and self.config[self.command].model.plan.fold_batchnorm
        if self.folds and self.continued is not None:
            raise UsageError(
                f"`model.plan.fold_batchnorm` must be false where {shorter_path(self.continued)} goes on, as it was "
                "there, got true; `ckpt_path` with the file's path starts anew from its weights"
            )
        self.resumes = self.resumes and not self.folds
        if self.command != "fit":
            self.save_config_callback = None
        self._check_output()

    def _check_output(self) -> None:
        """Refuse a folder that cannot be written before the work, and tidy up after processes that were killed."""
        trainer = self.config[self.command].get("trainer") or {}
        folder, setting = Path(trainer.get("default_root_dir") or "runs") / self.run_name, "`trainer.default_root_dir`"
        if self.command == "predict":
            check_file(folder / _PREDICTIONS, setting)
        elif self.command == "sweep" or (self.command == "fit" and not trainer.get("fast_dev_run")):
            check_folder(folder, setting)
        if self.command in ("fit", "predict", "sweep", "bench"):
            remove_partials(folder)

    def _settle_axes(self) -> None:
        settings = self.config[self.command]
        axes, macro = settings.axes.as_dict(), settings.model.plan.macro.as_dict()
        settled, self.axes = settle_axes(self._args, axes, macro)
        for name, values in settled.items():
            settings.axes[name] = values

    def instantiate_trainer(self, **kwargs: Any) -> AsimTrainer:
        """A trainer that logs a fit below runs/NAME, and nothing else."""
        trainer_config = self._get(self.config_init, "trainer", default={})
        check_functions(_as_list(trainer_config.get("callbacks")))
        if self.command != "fit":
            kwargs.update(logger=False, enable_checkpointing=False, enable_model_summary=False)
            kwargs["callbacks"] = self._evaluation_callbacks(trainer_config.get("callbacks"))
            if self.command in ("sweep", "bench", "explain", "verify"):
                kwargs["enable_progress_bar"] = False  # a sweep has a bar of its own, over all points
        else:
            configured = _as_list(trainer_config.get("callbacks"))
            check_trainer(trainer_config, configured)
            if trainer_config.get("enable_model_summary") is not False:
                configured = with_summary(configured)
            kwargs["callbacks"] = configured
            if trainer_config.get("enable_checkpointing") is not False:
                kwargs["callbacks"] = with_checkpoints(configured, self._best)
                kwargs["plugins"] = with_whole_files(trainer_config.get("plugins"))
        if self.command == "fit" and trainer_config.get("logger") in (None, True):
            kwargs["logger"] = loggers(self.root, self.run_name, self.continued, self.step)
        if not isinstance(self.datamodule, ImageDataModule) and "use_distributed_sampler" not in self._trainer_written:
            kwargs["use_distributed_sampler"] = True  # our data modules share out their images themselves
        try:
            trainer: AsimTrainer = super().instantiate_trainer(**kwargs)  # type: ignore[assignment]
        except TypeError as error:  # Lightning's for some values
            raise UsageError(f"`trainer` has a value that Lightning does not take: {error}") from None
        check_processes(trainer)
        if self.command == "fit":
            check_monitors(trainer, self.model)
        trainer.run_folder = str(self.run_folder)
        if not getattr(trainer, "fast_dev_run", False):
            check_callbacks(trainer.callbacks, None if self.command == "fit" else self.run_folder)  # type: ignore[attr-defined]
        return trainer

    def _evaluation_callbacks(self, configured: Sequence[Callback] | Callback | None) -> list[Callback]:
        kept = [callback for callback in _as_list(configured) if not isinstance(callback, Checkpoint)]
        ours = PredictionWriter(self.predictions) if self.command == "predict" else self.images
        return [*kept, ours]

    def after_instantiate_classes(self) -> None:
        """Load a checkpoint's weights; where a fit resumes, Lightning restores the rest."""
        settings = self.config_init[self.command]
        path = settings.get("ckpt_path")
        if path in _RESUMED or self.command == "explain":
            return
        for note in self.model.pretrained:
            self._print(f"weights  {note}")
        if self.axes:
            self._print(f"axes     {self.axes}")
        if self.pictures:
            self._print(f"pictures {self.pictures}")
        noisy = self._is_noisy and bool(macro_layers(self.model.backbone))
        if self.command == "fit" and self._is_noisy and not noisy:
            self._print("noise    none in training, as no layer is on a macro")
        if path is None:
            if not self._brings_weights and (self.command != "fit" or noisy):
                hint = "; noise-aware training usually starts from a trained network" if self.command == "fit" else ""
                self._print(f"weights  random, as there is no `ckpt_path`{hint}")
            return
        checkpoint = load_weights(self.model, path)
        if self.resumes:
            check_state(path, checkpoint, self.model.parameters())
        if self.continued is not None:
            self._print(f"goes on from {path}, at step {self.step}")
        if self.command != "fit":
            self._print(f"weights  {shorter_path(path)}")
        elif not self.resumes:
            what = "with BatchNorms that are folded now" if self.folds else "without optimizer state"
            self._print(f"{path} holds weights {what}: training starts from them, at epoch 0")
        if not self.resumes:
            settings.ckpt_path = None

    def _run_subcommand(self, subcommand: str) -> None:
        trainer: AsimTrainer = self.trainer  # type: ignore[assignment]
        with trainer.ending_processes():
            super()._run_subcommand(subcommand)

    def fit(self, **settings: Any) -> None:
        """Train; where that is refused before anything came of it, no file is left."""
        folders = log_folders(self.trainer)
        for folder in folders:  # a logger of the user's own may have another one than the runs'
            check_folder(folder, "the place of `trainer.logger`")
        places = [*folders, *folders_without_logger(self.trainer)]
        start = self.step if self.resumes else 0
        is_refused = partial(is_of_no_use, self.trainer, start)
        try:
            with naming(folders), nothing_left(places, is_refused):
                self.trainer.fit(**settings)
        except Exception as error:
            if self.continued is not None:
                put_back_metrics(self.continued.parent.parent)
            if self.resumes and not is_refusal(error) and is_of_restoring(error):
                said = f"{type(error).__name__}: {error}"
                raise UsageError(f"{settings['ckpt_path']} holds a state from which no fit goes on: {said}") from error
            raise

    def after_fit(self) -> None:
        """Say where the run is."""
        if getattr(self.trainer, "fast_dev_run", False):
            return
        if self.continued is not None:
            put_back_metrics(self.continued.parent.parent)
            if self.trainer.global_step == self.step:
                self._print("the run had ended: nothing was trained; `--trainer.max_epochs`, or steps, can be raised")
        elif self.trainer.global_step == 0:
            self._print("nothing was trained; `trainer.max_epochs`, `max_steps` and `limit_train_batches` bound it")
        self._print(f"run      {self.trainer.log_dir}")
        if weights := weights_line(self.trainer.checkpoint_callbacks):
            self._print(f"weights  {weights}")
        for folder in dict.fromkeys(logger.root_dir for logger in tensorboard_loggers(self.trainer)):
            self._print(f"charts   tensorboard --logdir {Path(folder).parent}")

    def after_validate(self) -> None:
        """Say the accuracy in one line."""
        self._print(accuracy_line(self.trainer, self.model, "val/acc"))

    def after_test(self) -> None:
        """Say the accuracy in one line."""
        self._print(accuracy_line(self.trainer, self.model, "test/acc"))

    def after_predict(self) -> None:
        """Say where the predictions are."""
        if not sum(self.trainer.num_predict_batches):
            raise UsageError("No image was predicted; `trainer.limit_predict_batches` bounds them")
        self._print(f"predictions  {self.predictions}")

    def _print(self, line: str) -> None:
        if self.trainer.is_global_zero:
            print(line)

    @property
    def _trainer_written(self) -> Mapping[str, Any]:
        """What the user wrote of the trainer."""
        return self._written[self.config.subcommand].get("trainer", {})  # type: ignore[no-any-return]

    @property
    def _brings_weights(self) -> bool:
        """Whether the network was made with weights."""
        return bool(self.model.pretrained)

    @property
    def _best(self) -> str:
        """Metric of the best epoch."""
        return "val/acc_estimate" if self.model.fidelity == "estimated" else "val/acc"

    @property
    def _is_noisy(self) -> bool:
        """Whether noise of training is asked for."""
        callbacks: list[Callback] = self.trainer.callbacks  # type: ignore[attr-defined]
        ramps = [each for each in callbacks if isinstance(each, NoiseRamp)]
        return bool(self.model.train_noise > 0 or ramps)

    @property
    def root(self) -> str:
        """Folder of all runs."""
        return str(self._get(self.config_init, "trainer", default=Namespace()).get("default_root_dir") or "runs")

    @property
    def run_folder(self) -> Path:
        """Folder of this configuration's runs."""
        return Path(self.root) / self.run_name

    @property
    def predictions(self) -> Path:
        """File of `asim predict`."""
        return self.run_folder / _PREDICTIONS


def _as_list(configured: Sequence[Callback] | Callback | None) -> list[Callback]:
    return [configured] if isinstance(configured, Callback) else list(configured or [])


def _plain(settings: Any) -> Any:
    """Settings as plain values."""
    return settings.as_dict() if isinstance(settings, Namespace) else settings
