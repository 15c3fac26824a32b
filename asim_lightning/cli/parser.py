"""The settings of a command: parsed once by LightningCLI over a checkpoint's settings, checked, made into objects."""

import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from textwrap import fill
from typing import Any, Literal

import yaml
from jsonargparse import Namespace, set_loader, set_parsing_settings
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback

from asim_lightning import callbacks
from asim_lightning.callbacks import ImageValues, LastCheckpoint, PredictionWriter
from asim_lightning.callbacks.own_module import OwnBatches
from asim_lightning.circuit.presets import Preset, preset
from asim_lightning.classifier import CimClassifier
from asim_lightning.classifier.arguments import image_size_of
from asim_lightning.classifier.outcome import Outcome
from asim_lightning.classifier.processes import leave
from asim_lightning.classifier.resumed_checkpoint import is_folded, rotation_of
from asim_lightning.cli.command_line import Arguments, dump_yaml, load_value, read_text, shorter_path
from asim_lightning.cli.commands import COMMANDS
from asim_lightning.cli.fitting import evaluation_arguments, fit_arguments, start_line, weights_line
from asim_lightning.cli.main import kill_raises
from asim_lightning.cli.merge import Level, level_of, level_of_flags, merge_, plain, settle_full_scale, value_at
from asim_lightning.cli.options import add_options, own_options, take_options, with_switches
from asim_lightning.cli.setting_names import Names, check_arguments
from asim_lightning.cli.unused_settings import unused_notes, used_settings
from asim_lightning.cli.weights import Start, load_weights, newest_last, read_start, settle_pretrained
from asim_lightning.data.given import input_of
from asim_lightning.data.image_data_module import ImageDataModule
from asim_lightning.evaluation.measure import Measure
from asim_lightning.evaluation.target import target_texts
from asim_lightning.lightning_private import first_logged_step
from asim_lightning.safe_load import read_checkpoint
from asim_lightning.surgery import macro_layers

PREDICTIONS = "predictions.csv"
_DATA = "asim_lightning.data.FashionMNIST"
_PRESET, _MACRO, _ARGUMENTS = "model.plan.preset", "model.plan.macro", "model.plan.macro.column_args"
_OPEN = ("weight_bits", "input_bits")
"""Fields of a macro that many chips leave to the network."""

set_loader("yaml", load_value, (yaml.YAMLError, ValueError))
_FEW = 8
"""Processes that any machine may start on its CPU."""


class AsimTrainer(Trainer):
    """Lightning's Trainer, which a kill stops at once."""

    run_folder: str = "runs/default"
    """Folder of this configuration's runs."""

    def _run_stage(self) -> Any:
        """Run Lightning's loops; Lightning's handler of a kill is installed just before, and removed at their end."""
        kill_raises()
        return super()._run_stage()


class CommandCLI(LightningCLI):
    """A command; its settings are parsed once.

    Attributes:
        start: Source of the weights.
        given: All given settings as nested mappings, before they are parsed.
    """

    given: dict[str, Any]

    def __init__(self, arguments: Arguments, model: type[LightningModule]) -> None:
        self.arguments, self.command = arguments, arguments.command
        self.start, self.notes = Start(), list[str]()
        # read Lightning's source only for the help, because that doubles the time of parsing
        set_parsing_settings(docstring_parse_attribute_docstrings=arguments.asks_for_help)
        super().__init__(
            model,
            trainer_class=AsimTrainer,
            save_config_callback=SaveConfigCallback if self.command == "fit" else None,
            save_config_kwargs={"overwrite": True},
            trainer_defaults={"default_root_dir": "runs"},
            seed_everything_default=0,
            # no abbreviations of settings: their meaning would change with a new setting
            parser_kwargs={
                "prog": f"asim {self.command}",
                "description": COMMANDS[self.command].what,
                "allow_abbrev": False,
                "exit_on_error": False,
            },
            auto_configure_optimizers=False,
            run=False,
            subclass_mode_model=model is LightningModule,
        )

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Merge the settings of all levels, and parse them once."""
        flags = with_switches(self.arguments.flags, self.command)
        if self.arguments.asks_for_help:
            for name in callbacks.__all__:  # the help lists imported classes
                getattr(callbacks, name)
            parser.parse_args(["--help" if flag == "--help.all" else flag for flag in flags])
        shown = [flag for flag in flags if flag.split("=")[0] == "--print_config"]
        names = Names.of(parser)
        recipes = [
            level_of(used_settings(recipe.settings, names), names, recipe.path.parent)
            for recipe in self.arguments.recipes
        ]
        self.given = self.merged(names, recipes, level_of_flags([flag for flag in flags if flag not in shown], names))
        for name in ("data", "model", *(name for name in names.settings if name.startswith("trainer."))):
            check_arguments(name, value_at(self.given, name))
        self.config = parser.parse_args([f"--config={dump_yaml(self.given)}", *shown])

    def merged(self, names: Names, recipes: Sequence[Level], flags: Level) -> dict[str, Any]:
        """The settings of all levels as nested mappings."""
        settings: dict[str, Any] = {}
        for level in (*recipes, flags):
            merge_(settings, level, names)
        return settings

    @property
    def run_folder(self) -> Path:
        """Folder of this configuration's runs."""
        return Path(self.config.trainer.default_root_dir or "runs") / self.arguments.run_name

    def instantiate_trainer(self, **kwargs: Any) -> AsimTrainer:
        """A trainer that logs a fit in runs/NAME and saves the state to continue, and nothing else."""
        given = self.config_init.get("trainer", {})
        if self.command == "fit":
            found, said = fit_arguments(given, self.run_folder, self.model, self.start)
            self.notes += said
        else:
            found = evaluation_arguments(given)
        found["callbacks"].append(OwnBatches(isinstance(self.model, CimClassifier)))
        if self.command != "fit" and isinstance(self.model, CimClassifier):
            predicts = self.command == "predict"
            found["callbacks"] += [PredictionWriter(self.run_folder / PREDICTIONS) if predicts else ImageValues()]
            if self.command not in ("validate", "test", "predict"):
                found["enable_progress_bar"] = False  # a sweep has another bar, over all points
        if isinstance(self.datamodule, ImageDataModule):
            found["use_distributed_sampler"] = False  # it splits its images itself
        trainer: AsimTrainer = super().instantiate_trainer(**found, **kwargs)  # type: ignore[assignment]
        most = max(os.cpu_count() or 1, _FEW)
        if isinstance(trainer.accelerator, CPUAccelerator) and trainer.num_devices > most:  # more fill the memory
            raise ValueError(f"`trainer.devices` must be 1..{most} on this machine's CPU, got {trainer.num_devices}")
        trainer.run_folder = str(self.run_folder)
        return trainer

    def run(self) -> None:
        """Run the command; if it is stopped, end the processes that this one started.

        Lightning does so at Ctrl-C only, and not for forked processes, which train on while this process waits.
        """
        try:
            self.work()
        except (KeyboardInterrupt, SystemExit):  # Lightning's exit(1) after Ctrl-C, and a kill
            kill = getattr(self.trainer.strategy.launcher, "kill", None)
            if kill is not None:
                kill(signal.SIGKILL)
            raise
        leave()

    def work(self) -> None:
        """Do what the command is for."""
        raise NotImplementedError

    def say(self, line: str) -> None:
        """Print a line, on the first process only."""
        if self.trainer.is_global_zero:
            print(line, flush=True)


class AsimCLI(CommandCLI):
    """``asim COMMAND -c CONFIG``; precedence: defaults < checkpoint < YAML < flags.

    Attributes:
        by_recipes: Settings in recipes, as nested mappings.
        by_flags: Settings in flags, as nested mappings.
        preset: The published macro that a setting names.
    """

    model: CimClassifier
    trainer: AsimTrainer
    by_recipes: dict[str, Any]
    by_flags: dict[str, Any]

    def __init__(self, arguments: Arguments) -> None:
        self.preset: Preset | None = None
        super().__init__(arguments, CimClassifier)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the command's options."""
        parser.add_argument(
            "--ckpt_path", type=str | Path | None, help="Checkpoint with trained weights; for fit, to continue."
        )
        # the configurations of earlier fits have it
        parser.add_argument("--weights_only", type=Literal[True] | None, help="No code of a checkpoint is run.")
        add_options(parser, self.command)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse the settings; paths and presets are resolved in them."""
        super().parse_arguments(parser, args)
        self.config.ckpt_path = self.start.path
        self.config.model.plan.preset = None  # its macro is merged

    def merged(self, names: Names, recipes: Sequence[Level], flags: Level) -> dict[str, Any]:
        """The settings of the checkpoint, and of recipes and flags over it.

        The last preset that one of them names is between it and those below, and replaces their macro.
        """
        self.by_recipes, given = {}, dict[str, Any]()
        for level in recipes:
            merge_(self.by_recipes, level, names)
        merge_(given, flags, names)
        self.by_flags = plain(given)
        self.start = read_start(self.arguments, self.by_recipes, self.by_flags)
        levels, below, name = (*recipes, flags), 0, None
        for number, level in enumerate(levels):
            for setting, value in level:
                if setting == _PRESET:
                    below, name = number, read_text(value)
        settings: dict[str, Any] = {"data": {"class_path": _DATA}}
        merge_(settings, level_of({"model": self.start.settings}, names), names)
        if any(name == f"{_ARGUMENTS}.file" for name, _ in flags):  # the checkpoint has the content of another file
            (value_at(settings, _ARGUMENTS) or {}).pop("content", None)
        for number, level in enumerate(levels):
            if number == below and name is not None:
                self._take_preset(str(name), settings, names)
            merge_(settings, level, names)
        return settings

    def _take_preset(self, name: str, settings: dict[str, Any], names: Names) -> None:
        """Replace the macro by a published one, in place; bits that the published macro leaves open stay."""
        self.preset = preset(name)
        below = value_at(settings, _MACRO) or {}
        kept = {each: below[each] for each in _OPEN if each in below}
        settings.get("model", {}).get("plan", {}).pop("macro", None)
        merge_(settings, level_of({_MACRO: {**kept, **self.preset.macro}}, names), names)
        if "technology" in own_options(self.command):
            self.parser.set_defaults({"technology.preset": self.preset.name})

    def before_instantiate_classes(self) -> None:
        """Apply settings that depend on other settings."""
        settings, model = self.config, self.config.model
        if pictures := settle_pretrained(settings, self.given, self.command):
            self.notes.append(f"pictures {pictures}")
        if settings.get("data") is None and (self.command != "explain" or settings.get("plot")):
            raise ValueError("`data` must be a data module, such as asim_lightning.data.CIFAR10, got null")
        measure, search = Measure.of(Outcome.of(model.outcome)), settings.get("search")
        for name in ("until", "target", "search.until"):
            if settings.get(name) is not None:
                (settings[name],) = target_texts(name, [settings[name]], measure)
        if search is not None:
            search.constraints = target_texts("search.constraints", search.constraints, measure)
            search.objectives = ["accuracy" if each == measure.name else each for each in search.objectives]
        if self.command == "fit" and self.start.resumes:
            self._settle_resume()
        named = "28nm" if self.preset is None else self.preset.name
        settle_full_scale(settings, [each.settings for each in self.arguments.recipes], named)

    def instantiate_classes(self) -> None:
        """Make the objects; the input size comes from the data, unless it is set."""
        backbone, given = self.config.model.backbone, self.config.data
        if backbone.image_size is None and backbone.input_shape is None:
            data = self.parser.instantiate(Namespace(data=given)).data
            self.config.data = data  # which is not made, and perhaps read, twice
            if backbone.network is None:
                backbone.image_size = image_size_of(data)
            else:
                backbone.input_shape, backbone.input_values = input_of(data)
        super().instantiate_classes()
        self.config.data = given

    def _settle_resume(self) -> None:
        """Start from the weights only, if the user asks for it or the optimizer's state is of another network."""
        model, start = self.config.model, self.start
        classes = start.settings.get("num_classes", model.num_classes)
        adc = start.settings.get("train_adc", False)
        ways = {
            "model.plan.fold_batchnorm false": not model.plan.fold_batchnorm or is_folded(start.checkpoint),
            f"model.plan.rotate {rotation_of(start.checkpoint) or 'null'}": (
                model.plan.rotate == rotation_of(start.checkpoint)
            ),
            f"model.num_classes {classes}": classes == model.num_classes,
            f"model.train_adc {str(adc).lower()}": adc == model.train_adc,  # its groups have other parameters
            "resume true": self.config.resume,
        }
        if missing := [way for way, holds in ways.items() if not holds]:
            resumed_by = f"`--{missing[0]}` continues at its epoch"
            self.start = Start(start.path, start.checkpoint, start.settings, resumed_by=resumed_by)

    def after_instantiate_classes(self) -> None:
        """Load a checkpoint's weights, and say what the command works with; Lightning restores the rest of a fit."""
        if self.preset is not None:
            chip = f"macro    {self.preset.chip}; differs: {self.preset.differs}"
            self.say(fill(chip, 120, subsequent_indent=" " * 9))
            technology = self.config.get("technology")
            if technology is not None and technology.preset != self.preset.name:
                configured = f"costs are of technology {technology.preset}, as configured"
                self.say(f"note     {configured}; the chip has {self.preset.node} nm")
        varied = str([self.given.get(name) for name in ("axes", "search", "given", "compare")])
        macros = dict.fromkeys(layer.macro for layer in macro_layers(self.model.backbone).values())
        idle = {setting: off for macro in macros for setting, off in macro.idle_settings.items()}
        for setting, off in idle.items():
            if not any(name in varied for name in off):  # else the command itself switches it on
                self.say(f"macro    no effect: {setting}")
        for doubt in dict.fromkeys(each for macro in macros for each in macro.doubts):
            self.say(f"macro    {doubt}")
        backbone = self.config.model.backbone
        named = None if backbone.network is not None else backbone.name
        for note in unused_notes(self.arguments, self.by_flags, named, self.start.path is not None):
            self.say(note)
        uses_images = self.config.get("technology.charging") != "fixed" and not self.config.get("validate")
        learnt = getattr(self.model, "hparams", {}).get("train_adc")  # a checkpoint has the ranges
        if not ({"cost": uses_images, "explain": self.config.get("plot")}.get(self.command, True) or learnt):
            return  # a macro's cycles and cost do not depend on weights, unless images are used
        model, start, fits = self.model, self.start, self.command == "fit"
        for note in (*(f"weights  {each}" for each in model.pretrained), *self.notes):
            self.say(note)
        if described := getattr(self.datamodule, "described", ""):
            self.say(f"data     {described}")
        if start.path is not None:
            classes = start.settings.get("num_classes") if fits else None
            for note in load_weights(model, start.path, start.checkpoint, classes):
                self.say(f"weights  {note}")
            self.start = replace(start, checkpoint={})  # frees its memory
        own = self.config.model.backbone.network
        initial = "pretrained weights" if model.pretrained else "random weights"
        if own is not None and not model.pretrained:  # they may be random or trained
            initial = f"the weights that {own} was made with"
        if fits:
            self.say(start_line(start, self.trainer, initial))
        elif start.path is not None:
            self.say(f"weights  {shorter_path(start.path)}")
        elif not model.pretrained:
            self.say(f"weights  {initial.removesuffix(' weights')}, because there is no `ckpt_path`")

    def say(self, line: str) -> None:
        """Print a line, in the words of the outcome and of the inputs."""
        super().say(Measure.of_module(self.model).words(line))

    def work(self) -> None:
        """Call the command's function."""
        COMMANDS[self.command].function(self, *take_options(self.command, self.config_init))


class OwnModuleCLI(CommandCLI):
    """A command of Lightning's with a user's module: ``asim fit -c CONFIG`` with ``model: {class_path: my.Module}``."""

    def __init__(self, arguments: Arguments) -> None:
        if arguments.command not in ("fit", "validate", "test", "predict"):
            raise ValueError(
                f"asim {arguments.command} takes no `model.class_path`: name the network as `model.backbone.network`, "
                "or call study or search in Python"
            )
        super().__init__(arguments, LightningModule)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the checkpoint."""
        parser.add_argument("--ckpt_path", type=str | None, help="Checkpoint of the module; `last` continues a fit.")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse the settings, and find the checkpoint of a fit that goes on."""
        super().parse_arguments(parser, args)
        if self.config.ckpt_path == LastCheckpoint.NAME:
            last = newest_last(self.run_folder)
            logged_from = first_logged_step(read_checkpoint(str(last))["loops"]["fit_loop"])
            self.start = Start(str(last), continued=last, logged_from=logged_from)

    def work(self) -> None:
        """Call Lightning's function of the command."""
        path, trainer = self.start.path or self.config.ckpt_path, self.trainer
        getattr(trainer, self.command)(self.model, datamodule=self.datamodule, ckpt_path=path, weights_only=True)
        if self.command == "fit":
            self.say(f"run      {trainer.log_dir}\nweights  {weights_line(trainer.checkpoint_callbacks)}")


def cli_of(arguments: Arguments) -> CommandCLI:
    """The command, with a user's module if the last recipe that has a model names its class."""
    models = [each.settings["model"] for each in arguments.recipes if isinstance(each.settings.get("model"), Mapping)]
    return OwnModuleCLI(arguments) if models and "class_path" in models[-1] else AsimCLI(arguments)
