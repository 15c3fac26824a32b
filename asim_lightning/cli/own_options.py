"""Options that a command has of its own, beside those of trainer, model and data."""

from inspect import signature

from asim_lightning.cli.trainer import AsimTrainer

NO_FLAGS = {"model", "dataloaders", "datamodule", "train_dataloaders", "val_dataloaders", "return_predictions"}
"""Arguments of the trainer's methods that are no options."""


def own_options(command: str) -> set[str]:
    """Names of the settings that a command has of its own."""
    return set(signature(getattr(AsimTrainer, command)).parameters) - NO_FLAGS - {"self"}


def with_own_options(args: list[str], command: str | None) -> list[str]:
    """The arguments, where a command's own options may have dashes for underscores, and a switch needs no value."""
    if command is None:
        return args
    own, parameters = own_options(command), signature(getattr(AsimTrainer, command)).parameters
    found: list[str] = []
    for place, argument in enumerate(args):
        option, equals, value = argument.partition("=")
        name = option[2:].replace("-", "_") if option.startswith("--") else ""
        if name not in own:
            found.append(argument)
            continue
        found.append(f"--{name}{equals}{value}")
        alone = place + 1 == len(args) or args[place + 1].startswith("-")
        if alone and not equals and parameters[name].annotation is bool:
            found[-1] += "=true"
    return found
