"""``asim import``: a file of weights to a checkpoint, a published config.py to a recipe."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from asim_lightning.classifier import CimClassifier
from asim_lightning.cli.command_line import shorter_path
from asim_lightning.cli.messages import UsageError
from asim_lightning.evaluation.whole_file import write_whole
from asim_lightning.exchange.account import IGNORED, MISSING, UNKNOWN, USED, Account, imported
from asim_lightning.exchange.network import SMALL_IMAGE, Network
from asim_lightning.exchange.read import read_weights
from asim_lightning.exchange.recognise import recognise
from asim_lightning.surgery import Plan, Rule

KEPT = "imported"
"""Key of a checkpoint under which an import keeps what `asim export` needs to write the same file."""


def import_weights(
    file: str, to: str, name: str | None, small: bool | None, kwargs: dict[str, Any] | None, force: bool
) -> None:
    """Write a checkpoint that holds a file's weights, and print what became of every key.

    Args:
        file: The weights.
        to: The checkpoint to write.
        name: timm's name of the network; None: as the keys tell.
        small: Whether it is made for small images; None: as the keys tell.
        kwargs: Arguments of that network's constructor; None: those that the keys tell.
        force: Whether the checkpoint is written though keys are not accounted for.

    Raises:
        UsageError: Keys are not accounted for, or the file to write is no .ckpt.
        ValueError: The file holds no weights, or of no network that is known.
        FileNotFoundError: There is no such file.
    """
    if Path(to).suffix != ".ckpt":
        raise UsageError(f"`--to` must be a .ckpt for weights (a .yaml for a config.py), got {to}")
    weights = read_weights(file)
    if any(key.startswith("backbone.") for key in weights.state):
        raise UsageError(f"{file} is a checkpoint of this package already: give it to --ckpt_path as it is")
    network = recognise(weights, name, small, kwargs)
    if network.num_classes < 2:
        raise UsageError(
            f"{file} holds no classifier of 2 classes or more; `model.backbone.pretrained` takes such files"
        )
    account = imported(weights, network)
    refuse_open(account, file, force, network)
    model = CimClassifier(network.backbone, _plan(network), network.num_classes)
    state = {**(_random(model, account) if account.open else {}), **account.state}
    model.backbone.load_state_dict(state)
    checkpoint = {
        "state_dict": {f"backbone.{key}": value for key, value in state.items()},
        "hyper_parameters": dict(model.hparams),
        KEPT: {"layout": network.layout, "unused": account.unused},
        "epoch": 0,
        "global_step": 0,
        "pytorch-lightning_version": _lightning_version(),
    }
    write_whole(Path(to), lambda opened: torch.save(checkpoint, opened))
    print(f"{account}\n\n{summary(network, account)}")
    print(f"wrote    {shorter_path(to)}")
    print(f"next     asim validate --ckpt_path {shorter_path(to)} {_data(network)}".rstrip())


def import_settings(file: str, to: str) -> None:
    """Write a recipe that says what a published config.py says, and print what has no counterpart.

    Args:
        file: The config.py; it is read as text and never run.
        to: The recipe to write.

    Raises:
        UsageError: The file to write is no .yaml.
        ValueError: The file is no published configuration.
        FileNotFoundError: There is no such file.
    """
    from asim_lightning.exchange.published import recipe_of

    if Path(to).suffix not in (".yaml", ".yml"):
        raise UsageError(f"`--to` must be a .yaml for a config.py (a .ckpt for weights), got {to}")
    recipe = recipe_of(file, shorter_path(to))
    write_whole(Path(to), lambda opened: opened.write(recipe.text.encode()))
    for note in recipe.notes:
        print(note)
    print(f"wrote    {shorter_path(to)}")
    print(f"next     asim explain -c {shorter_path(to)}")


def refuse_open(account: Account, file: str, force: bool, network: Network) -> None:
    """Print the account and refuse to go on where keys are not accounted for, unless asked.

    Raises:
        UsageError: Some are not.
    """
    if account.open and not force:
        print(account)
        row = account.open[0]
        first = f"{row.source or row.target} is {row.status}: {row.why}"
        raise UsageError(
            f"{len(account.open)} of {len(account.rows)} tensors of {file} as {network.layout} "
            f"{network.backbone.name} are not accounted for ({first}); nothing was written, and --force writes all else"
        )


def summary(network: Network, account: Account) -> str:
    """What was recognised, and how many keys became what, in a few lines."""
    backbone = network.backbone
    size = " for small images" if backbone.small else ""
    clips = "" if network.clips is None else ", PACT"
    lines = [f"network  {network.layout} {backbone.name}{size}, {network.num_classes} classes{clips}"]
    lines += [f"         {said}" for said in account.notes]
    counts = (f"{account.count(status)} {status}" for status in (USED, IGNORED, MISSING, UNKNOWN))
    return "\n".join([*lines, f"tensors  {', '.join(counts)}"])


def _plan(network: Network) -> Plan:
    if network.layout != "published":
        return Plan()
    if network.backbone.name.startswith("vit"):  # as in the published examples
        return Plan(rules=[Rule(kind, {"input_bits": 9}) for kind in ("qk", "qkv", "proj")])
    return Plan() if network.clips is None else replace(Plan(), pact=True, pact_keep=list(network.clips))


def _random(model: CimClassifier, account: Account) -> dict[str, Tensor]:
    missing = {row.target for row in account.open if row.status == MISSING}
    own: dict[str, Any] = model.backbone.state_dict()
    return {key: value for key, value in own.items() if key in missing}


def _data(network: Network) -> str:
    """The data module that a network is likely made for, by its classes, as flags."""
    if network.backbone.kwargs.get("in_chans", 3) == 1 and network.num_classes == 10:
        return ""  # the images in the package
    name = {10: "CIFAR10", 100: "CIFAR100", 1000: "ImageNet"}.get(network.num_classes, "ImageFolder")
    flags = f"--data asim_lightning.data.{name} --data.init_args.root FOLDER"
    usual = SMALL_IMAGE if name.startswith("CIFAR") else 224
    size = network.backbone.image_size or network.backbone.kwargs.get("img_size", 224)
    flags = flags if size == usual else f"{flags} --data.init_args.image_size {size}"
    if network.layout in ("published", "torchvision") or network.backbone.small:
        return flags
    # timm's weights were trained on pictures that are not always normalised as the published ones
    return f"{flags} --data.init_args.normalize pretrained --data.init_args.pretrained_cfg {network.backbone.name}"


def _lightning_version() -> str:
    import lightning

    return str(lightning.__version__)
