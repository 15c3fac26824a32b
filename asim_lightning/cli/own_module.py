"""`asim fit`, `validate`, `test` and `predict` of a user's LightningModule, which a recipe names by its class."""

from collections.abc import Mapping
from typing import Any

from jsonargparse import Namespace
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser

from asim_lightning.callbacks import LastCheckpoint
from asim_lightning.cli.command_line import Arguments
from asim_lightning.cli.fitting import evaluation_arguments, fit_arguments, weights_line
from asim_lightning.cli.parser import CommandCLI, ending_processes
from asim_lightning.cli.start import newest_last
from asim_lightning.exchange.read import read_checkpoint

COMMANDS = ("fit", "validate", "test", "predict")


def names_a_module(arguments: Arguments) -> bool:
    """Whether the last recipe that has a model names its class."""
    models = [each.settings["model"] for each in arguments.recipes if isinstance(each.settings.get("model"), Mapping)]
    return bool(models) and "class_path" in models[-1]


class OwnModuleCLI(CommandCLI):
    """``asim COMMAND -c CONFIG`` with ``model: {class_path: my_mod.MyModule}``."""

    def __init__(self, arguments: Arguments) -> None:
        if arguments.command not in COMMANDS:
            raise ValueError(
                f"asim {arguments.command} takes no `model.class_path`: name the network as `model.backbone.network`, "
                "or call study or search in Python"
            )
        super().__init__(arguments, LightningModule)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the checkpoint."""
        parser.add_argument("--ckpt_path", type=str | None, help="Checkpoint of the module; `last` continues a fit.")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse recipes, without settings of other commands, and flags over them."""
        settings = self.with_recipes(self.arguments.recipes, Namespace())
        self.config = parser.parse_args(list(self.arguments.flags), namespace=settings)
        self.last = newest_last(self.run_folder) if self.config.ckpt_path == LastCheckpoint.NAME else None

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """A trainer that logs a fit in runs/NAME, and saves the state to continue."""
        given = self.config_init["trainer"]
        if self.command != "fit":
            return super().instantiate_trainer(**evaluation_arguments(given), **kwargs)
        step = 0 if self.last is None else int(read_checkpoint(str(self.last))["global_step"])
        found, _ = fit_arguments(given, self.run_folder, self.model, self.last, step)
        return super().instantiate_trainer(**found, **kwargs)

    def run(self) -> None:
        """Run the command."""
        path, trainer = self.last or self.config.ckpt_path, self.trainer
        with ending_processes(trainer):
            work = getattr(trainer, self.command)
            work(self.model, datamodule=self.datamodule, ckpt_path=path, weights_only=True)
        if self.command == "fit" and trainer.is_global_zero:
            print(f"run      {trainer.log_dir}\nweights  {weights_line(trainer.checkpoint_callbacks)}")
