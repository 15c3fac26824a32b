"""The settings of a command: parsed once by LightningCLI over those of a checkpoint, checked, and made into objects."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from inspect import signature
from pathlib import Path
from textwrap import fill
from typing import Any

from jsonargparse import set_parsing_settings
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from asim_lightning.callbacks import ImageCounter, PredictionWriter
from asim_lightning.circuit.columns import RENAMED
from asim_lightning.circuit.presets import Preset
from asim_lightning.classifier import CimClassifier
from asim_lightning.cli.checkpoint_checks import check_state
from asim_lightning.cli.checkpointing import (
    best_epoch,
    loggers,
    trains_with_noise,
    with_checkpoints,
    with_whole_files,
)
from asim_lightning.cli.command_line import Arguments, shorter_path
from asim_lightning.cli.commands import DESCRIPTIONS
from asim_lightning.cli.fitting import start_line
from asim_lightning.cli.messages import OneLineParser, UsageError
from asim_lightning.cli.running import COMMANDS, WITHOUT_PREFIX
from asim_lightning.cli.setting_checks import (
    check_functions,
    check_monitors,
    check_processes,
    check_trainer,
    with_summary,
)
from asim_lightning.cli.settled import preset_defaults, settle_axes, settle_preset, settle_pretrained
from asim_lightning.cli.start import PREDICTIONS, Setup, Start, load_weights, read_start
from asim_lightning.cli.strict_yaml import use_strict_loader
from asim_lightning.cli.trainer import AsimTrainer, ending_processes
from asim_lightning.cli.writable import check_callbacks, check_file, check_folder
from asim_lightning.data.image_data_module import ImageDataModule
from asim_lightning.surgery import macro_layers

use_strict_loader()

_DATA = "asim_lightning.data.FashionMNIST"


class AsimCLI(LightningCLI):
    """``asim COMMAND -c CONFIG``; precedence: defaults < checkpoint < YAML < flags.

    Args:
        arguments: The command line.
    """

    def __init__(self, arguments: Arguments) -> None:
        self.arguments, self.command = arguments, arguments.command
        self.start = Start()
        self.pictures = self.axes = self.monitored = ""
        self.preset: Preset | None = None
        # Lightning's source is read for the help alone, as that takes as long as parsing twice
        set_parsing_settings(docstring_parse_attribute_docstrings=arguments.asks_for_help)
        super().__init__(
            CimClassifier,
            trainer_class=AsimTrainer,
            save_config_kwargs={"overwrite": True},
            trainer_defaults={"use_distributed_sampler": False, "default_root_dir": "runs"},
            seed_everything_default=0,
            parser_class=OneLineParser,
            # no abbreviations of settings: their meaning would change with a new setting
            parser_kwargs={
                "prog": f"asim {self.command}",
                "description": DESCRIPTIONS[self.command],
                "allow_abbrev": False,
            },
            auto_configure_optimizers=False,
            run=False,  # the command is known before its settings are parsed
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the command's own options."""
        parser.add_argument(
            "--ckpt_path", type=str | Path | None, help="Checkpoint with trained weights; for fit, to go on from."
        )
        parser.add_argument("--weights_only", type=bool | None, help="Always true: no code of a checkpoint is run.")
        flat = {name: kind for name, kind in _parameters(self.command).items() if kind in WITHOUT_PREFIX}
        parser.add_function_arguments(COMMANDS[self.command], skip={"setup", *flat})
        for kind in flat.values():
            parser.add_class_arguments(kind)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse what is written over the settings of the checkpoint that it names."""
        names, arguments = list(parser.get_defaults().keys()), self.arguments
        if isinstance(parser, OneLineParser):
            parser.known_settings, parser.file_of = names, arguments.file_of
        if not arguments.asks_for_help:
            self.start = read_start(arguments)
            parser.set_defaults({"model": self.start.settings})
            arguments, self.preset = settle_preset(arguments)
            if self.preset is not None:
                parser.set_defaults(preset_defaults(self.preset, self.start.settings))
                if "technology" in own_options(self.command):
                    parser.set_defaults({"technology.preset": self.preset.name})
        if not arguments.names_data:  # as a default of all it would leave its arguments to other classes
            parser.set_defaults({"data": {"class_path": _DATA}})
        own = {name: own_options(name) for name in COMMANDS}
        switches = {name for name, kind in own[self.command].items() if kind is bool}
        others = {name for command in own for name in own[command]} - set(own[self.command])
        settings = self.config = parser.parse_args(arguments.for_parser(switches, others))
        if settings.get("weights_only") is False:
            raise UsageError("`weights_only` must be true: a checkpoint is read as tensors and plain values, got false")
        seed = settings.get("seed_everything")
        if isinstance(seed, int) and not 0 <= seed < 2**32:
            raise UsageError(f"`seed_everything` must be 0..{2**32 - 1}, true or false, got {seed}")
        settings.weights_only, settings.ckpt_path = True, self.start.path
        if self.preset is not None:
            settings.model.plan.preset = None  # its macro is resolved

    def before_instantiate_classes(self) -> None:
        """Settle what settings decide of each other; save the configuration with a fit alone."""
        settings, model = self.config, self.config.model
        self.pictures = settle_pretrained(settings, self.arguments.written, self.command)
        if settings.get("data") is None and (self.command != "explain" or settings.get("plot")):
            raise UsageError("`data` must be a data module, such as asim_lightning.data.CIFAR10, got null")
        if self.command == "sweep":
            until = settings.get("until")
            of_chips = settings.get("chips") is not None or (until is not None and not until.startswith("accuracy"))
            flags, axes = self.arguments.by_flags, settings.axes.as_dict()
            settled, self.axes = settle_axes(flags, axes, model.as_dict(), of_chips)
            for name, values in settled.items():
                settings.axes[name] = values
        if self.command == "fit" and self.start.resumes:
            self._settle_resume()
        if self.command != "fit":
            self.save_config_callback = None
        self._check_output()

    def _settle_resume(self) -> None:
        """Start from the weights only, if the user says so or the state of the optimizer is of another network."""
        model, start, resume = self.config.model, self.start, self.config.resume
        classes = start.settings.get("num_classes", model.num_classes)
        if model.plan.fold_batchnorm and not start.is_folded:
            name, value, given = "model.plan.fold_batchnorm", "false", "true"
        elif classes != model.num_classes:
            name, value, given = "model.num_classes", classes, model.num_classes
        elif resume:
            return
        else:
            name, value, given = "resume", "true", "false"
        if start.continued is not None and resume:
            raise UsageError(
                f"`{name}` must be {value} where {shorter_path(start.continued)} goes on, as it was there, got "
                f"{given}; --resume false starts anew from its weights"
            )
        self.start = start.anew(f"`--{name} {value}` continues at its epoch")

    def _check_output(self) -> None:
        """Refuse a folder that cannot be written before the work."""
        trainer, setting = self.config.get("trainer") or {}, "`trainer.default_root_dir`"
        if self.command == "predict":
            check_file(self.run_folder / PREDICTIONS, setting)
        elif self.command in ("sweep", "search") or (self.command == "fit" and not trainer.get("fast_dev_run")):
            check_folder(self.run_folder, setting)

    def instantiate_trainer(self, **kwargs: Any) -> AsimTrainer:
        """A trainer that logs a fit below runs/NAME, and nothing else."""
        given = self.config_init.get("trainer", {})
        check_functions(_as_list(given.get("callbacks")))
        kwargs.update(self._fit_arguments(given) if self.command == "fit" else self._evaluation_arguments(given))
        written = self.arguments.written.get("trainer", {})
        if not isinstance(self.datamodule, ImageDataModule) and "use_distributed_sampler" not in written:
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

    def _fit_arguments(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments of the trainer of a fit."""
        found: dict[str, Any] = {"callbacks": _as_list(given.get("callbacks"))}
        check_trainer(given, found["callbacks"])
        if given.get("enable_model_summary") is not False:
            found["callbacks"] = with_summary(found["callbacks"])
        if given.get("enable_checkpointing") is not False:
            found["callbacks"], metric, self.monitored = best_epoch(found["callbacks"], self.model)
            found["callbacks"] = with_checkpoints(found["callbacks"], metric)
            found["plugins"] = with_whole_files(given.get("plugins"))
        if given.get("logger") in (None, True):
            found["logger"] = loggers(self.root, self.arguments.run_name, self.start.continued, self.start.step)
        return found

    def _evaluation_arguments(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments of the trainer of another command."""
        kept = [callback for callback in _as_list(given.get("callbacks")) if not isinstance(callback, Checkpoint)]
        ours = PredictionWriter(self.run_folder / PREDICTIONS) if self.command == "predict" else ImageCounter()
        found: dict[str, Any] = {"callbacks": [*kept, ours], "logger": False}
        found.update(enable_checkpointing=False, enable_model_summary=False)
        if self.command in ("sweep", "search", "bench", "explain", "verify", "chip", "calibrate-adc", "cost"):
            found["enable_progress_bar"] = False  # a sweep has a bar of its own, over all points
        return found

    def after_instantiate_classes(self) -> None:
        """Load a checkpoint's weights, and say what they are; where a fit resumes, Lightning restores the rest."""
        if self.preset is not None:
            self._say(
                fill(f"macro    {self.preset.chip}; differs: {self.preset.differs}", 120, subsequent_indent=" " * 9)
            )
            technology = self.config.get("technology")
            if technology is not None and technology.preset != self.preset.name:
                self._say(
                    f"note     costs are of technology {technology.preset}, as configured; the chip has "
                    f"{self.preset.node} nm"
                )
        macros = [layer.macro for layer in macro_layers(self.model.backbone).values()]
        old = [macro for macro in macros if macro.column == "current" and macro.column_args.get("cell_sigma")]
        if any(not macro.weight_parallel for macro in old):
            self._say(f"note     {RENAMED}")
        if self.start.found_by_lightning:
            self._say(f"resumes from the checkpoint that Lightning finds as {self.start.path}")
        if self.start.found_by_lightning or not self._takes_weights:
            return
        for note in self.model.pretrained:
            self._say(f"weights  {note}")
        if self.axes:
            self._say(f"axes     {self.axes}")
        if self.pictures:
            self._say(f"pictures {self.pictures}")
        noisy = trains_with_noise(self.model, self.trainer.callbacks)  # type: ignore[attr-defined]
        if self.command == "fit" and noisy and not macro_layers(self.model.backbone):
            noisy = False
            self._say("noise    none in training, as no layer is on a macro")
        if self.monitored:
            self._say(f"monitor  {self.monitored}")
        start = self.start
        if start.path is not None:
            classes = start.settings.get("num_classes") if self.command == "fit" else None
            for note in load_weights(self.model, start.path, start.checkpoint, classes):
                self._say(f"weights  {note}")
            if start.resumes:
                check_state(start.path, start.checkpoint, self.model.parameters())
            self.start = replace(start, checkpoint={})  # its memory is free then
        if self.command == "fit":
            initial = "pretrained" if self.model.pretrained else "random"
            self._say(start_line(start, self.trainer, initial))
            if noisy and start.path is None and not self.model.pretrained:
                self._say("note     noise-aware training usually starts from a trained network")
        elif start.path is not None:
            self._say(f"weights  {shorter_path(start.path)}")
        elif not self.model.pretrained:
            self._say("weights  random, as there is no `ckpt_path`")

    def run(self) -> None:
        """Run the command."""
        preset = None if self.preset is None else self.preset.name
        setup = Setup(self.trainer, self.model, self.datamodule, self.start, self.run_folder, self.arguments, preset)
        given, options = self.config_init, dict[str, Any]()
        for name, kind in _parameters(self.command).items():
            flat = kind in WITHOUT_PREFIX
            options[name] = kind(**{each.name: given[each.name] for each in fields(kind)}) if flat else given[name]
        with ending_processes(self.trainer):
            COMMANDS[self.command](setup, **options)

    def _say(self, line: str) -> None:
        if self.trainer.is_global_zero:
            print(line)

    @property
    def _takes_weights(self) -> bool:
        """Whether anything depends on weights: what a macro does and costs does not, unless images are looked at."""
        if self.command == "cost":
            return bool(self.config.technology.charging != "fixed" and not self.config.validate)
        return self.command != "explain" or bool(self.config.get("plot"))

    @property
    def root(self) -> str:
        """Folder of all runs."""
        return str((self.config.get("trainer") or {}).get("default_root_dir") or "runs")

    @property
    def run_folder(self) -> Path:
        """Folder of this configuration's runs."""
        return Path(self.root) / self.arguments.run_name


def own_options(command: str) -> dict[str, Any]:
    """Types of the options that a command has of its own, by name."""
    found: dict[str, Any] = {}
    for name, kind in _parameters(command).items():
        found |= {each.name: each.type for each in fields(kind)} if kind in WITHOUT_PREFIX else {name: kind}
    return found


def _parameters(command: str) -> dict[str, Any]:
    """Types of the parameters of a command, behind the setup."""
    found = {name: each.annotation for name, each in signature(COMMANDS[command]).parameters.items()}
    return {name: kind for name, kind in found.items() if name != "setup"}


def _as_list(configured: Sequence[Callback] | Callback | None) -> list[Callback]:
    return [configured] if isinstance(configured, Callback) else list(configured or [])
