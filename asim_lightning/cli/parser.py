"""The command line on LightningCLI: subcommands, precedence, where a run's files go."""

import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import Namespace, set_parsing_settings
from lightning.pytorch import LightningDataModule
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from asim_lightning.classifier import CimClassifier
from asim_lightning.cli.trainer import AsimTrainer
from asim_lightning.resources import shipped_file

set_parsing_settings(docstring_parse_attribute_docstrings=True)

_HIDDEN = {"model", "dataloaders", "datamodule", "train_dataloaders", "val_dataloaders", "return_predictions"}
_DATA = {"class_path": "asim_lightning.data.FashionMNIST"}


class AsimCLI(LightningCLI):
    """``asim SUBCOMMAND -c CONFIG``; precedence: defaults < checkpoint < YAML < flags."""

    def __init__(self, args: list[str]) -> None:
        self.config_name = _config_name(args)
        super().__init__(
            CimClassifier,
            LightningDataModule,
            trainer_class=AsimTrainer,
            save_config_callback=SaveConfigCallback,
            trainer_defaults={"use_distributed_sampler": False, "default_root_dir": "runs"},
            seed_everything_default=0,
            subclass_mode_data=True,
            auto_configure_optimizers=False,
            args=args,
        )

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Lightning's commands and ours, with the arguments that are no flags."""
        names = ("fit", "validate", "test", "predict", "sweep", "explain", "verify")
        return {name: set(_HIDDEN) for name in names}

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        """A parser whose errors are one line."""
        parser = super().init_parser(**kwargs)
        parser.print_usage = lambda *_: None  # type: ignore[method-assign,assignment]
        return parser

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Defaults of ours."""
        parser.set_defaults({"data": _DATA})

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse, and keep apart what the user wrote.

        LightningCLI merges a checkpoint's hyperparameters last, over flags and YAML; `before_instantiate_classes`
        puts what was written back on top.
        """
        args = self._without_other_commands_keys(args)
        self.config = parser.parse_args(args)
        self._written = parser.parse_args(args, defaults=False)
        settings = self.config[self.config.subcommand]
        if isinstance(settings.get("ckpt_path"), str) and settings.ckpt_path not in ("best", "last", "hpc"):
            path = str(shipped_file("checkpoints", settings.ckpt_path))
            settings.ckpt_path = path
            self._written[self.config.subcommand]["ckpt_path"] = path

    def _without_other_commands_keys(self, args: list[str]) -> list[str]:
        """The arguments, where a configuration file's keys for other commands are left out.

        So one file serves every command: a recipe's axes are there for sweep, and do not disturb validate.
        """
        accepted = self._subcommand_method_arguments
        mine = next((set(accepted[word]) for word in args if word in accepted), set())
        others = set().union(*accepted.values()) - mine
        kept = list(args)
        for place, flag in enumerate(args[:-1]):
            if flag in ("-c", "--config") and Path(args[place + 1]).is_file():
                text = Path(args[place + 1]).read_text()
                try:
                    values = yaml.safe_load(text)
                except yaml.YAMLError as error:
                    raise ValueError(f"{args[place + 1]} is no YAML: {error}") from None
                if not isinstance(values, dict):
                    raise ValueError(f"{args[place + 1]} must hold a mapping of settings, got {type(values).__name__}")
                if others & set(values):
                    values = {key: value for key, value in values.items() if key not in others}
                    kept[place + 1] = yaml.safe_dump(values, sort_keys=False)
        return kept

    def before_instantiate_classes(self) -> None:
        """Put what the user wrote over a checkpoint's hyperparameters; save the configuration with a fit alone."""
        self.config = self.parser.parse_object(self._written, self.config)
        if self.config.subcommand != "fit":
            self.save_config_callback = None

    def instantiate_trainer(self, **kwargs: Any) -> AsimTrainer:
        """A trainer that logs a fit below runs/NAME, and nothing else."""
        trainer_config = self._get(self.config_init, "trainer", default={})
        if self.subcommand != "fit":
            kwargs.setdefault("logger", False)
            kwargs.setdefault("enable_checkpointing", False)
            kwargs.setdefault("enable_model_summary", False)
            if self.subcommand in ("sweep", "explain", "verify"):
                kwargs.setdefault("enable_progress_bar", False)  # a sweep has a bar of its own, over all points
        elif trainer_config.get("logger") in (None, True):
            tensorboard = TensorBoardLogger(self.root, self.config_name, default_hp_metric=False)
            kwargs["logger"] = [tensorboard, CSVLogger(self.root, self.config_name, tensorboard.version)]
        trainer: AsimTrainer = super().instantiate_trainer(**kwargs)  # type: ignore[assignment]
        trainer.run_folder = str(Path(self.root) / self.config_name)
        return trainer

    @property
    def root(self) -> str:
        """Folder of all runs."""
        return str(self._get(self.config_init, "trainer", default=Namespace()).get("default_root_dir") or "runs")


def _config_name(args: list[str]) -> str:
    """Name of a run: the last configuration file's, without suffix."""
    name = "default"
    for flag, value in pairwise(args):
        if flag in ("-c", "--config"):
            name = _run_name(Path(value))
    return name


def _run_name(path: Path) -> str:
    # a run's own saved config.yaml stands in runs/NAME/version_N
    if path.stem == "config" and path.parent.name.startswith("version_"):
        return path.parent.parent.name
    return path.stem


def resolve_configs(args: list[str]) -> list[str]:
    """The arguments, with each ``-c NAME`` turned into the path of a file or of a shipped recipe.

    Raises:
        FileNotFoundError: There is no such recipe.
    """
    resolved = list(args)
    for place, flag in enumerate(args):
        if flag in ("-c", "--config") and place + 1 < len(args):
            resolved[place + 1] = str(shipped_file("configs", args[place + 1]))
        elif flag.startswith("--config="):
            resolved[place : place + 1] = ["--config", str(shipped_file("configs", flag.removeprefix("--config=")))]
            return resolve_configs(resolved)
    return resolved


def standard_error(message: str) -> None:
    """Print one line to standard error."""
    print(message, file=sys.stderr)
