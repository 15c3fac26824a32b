"""`asim import` and `asim export`: weights and settings of other projects, and weights back to them."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning
import torch
from safetensors.torch import save

from asim_lightning.backbone import BackboneConfig
from asim_lightning.checks import check_choice
from asim_lightning.classifier import CimClassifier
from asim_lightning.classifier.checkpoint_settings import settings_of
from asim_lightning.cli.command_line import shorter_path, write_text
from asim_lightning.cli.weights import open_checkpoint
from asim_lightning.exchange.account import IGNORED, MISSING, UNKNOWN, USED, Account, imported
from asim_lightning.exchange.export import exported
from asim_lightning.exchange.layouts import LAYOUTS, SMALL_IMAGE, Network
from asim_lightning.exchange.read import read_weights
from asim_lightning.exchange.recognise import recognise
from asim_lightning.surgery import Plan, Rule
from asim_lightning.whole_file import write_whole

KEPT = "imported"
"""Key of a checkpoint for the data that an export needs to write the imported file again."""
_PREFIX = "backbone."
_SUFFIXES = {"published": (".pkl",), "torchvision": (".pth",), "timm": (".pth", ".safetensors")}


@dataclass(frozen=True)
class ImportOptions:
    """Files to read and write."""

    file: str
    """Weights (.pkl, .pth, .safetensors), or a published config.py."""
    to: str = field(kw_only=True)
    """Checkpoint (.ckpt), or recipe (.yaml), to write."""
    network: str | None = None
    """timm's name, if it does not follow from the keys."""
    kwargs: dict[str, Any] | None = None
    """Arguments of the network's constructor, such as {depth: 4}."""
    small: bool | None = None
    """Whether it is made for images of about 32 pixels; null: found from the keys."""
    force: bool = False
    """Write even if some keys are not accounted for."""


@dataclass(frozen=True)
class ExportOptions:
    """Files to read and write."""

    file: str
    """Checkpoint of this package, or the name of a shipped one."""
    to: str = field(kw_only=True)
    """File to write (.pkl, .pth, .safetensors)."""
    format: str = field(kw_only=True)
    """Layout: published, torchvision or timm."""
    force: bool = False
    """Write even if some keys are not accounted for."""


def import_file(options: ImportOptions) -> None:
    """Write a checkpoint with a file's weights, or a recipe with the settings of a published config.py."""
    if Path(options.file).suffix != ".py":
        _import_weights(options)
        return
    from asim_lightning.exchange.published.recipe import recipe_of

    if options.force or any(each is not None for each in (options.network, options.small, options.kwargs)):
        raise ValueError("`--network`, `--small`, `--kwargs` and `--force` are for weights, not for a config.py")
    if Path(options.to).suffix not in (".yaml", ".yml"):
        raise ValueError(f"`--to` must be a .yaml for a config.py (a .ckpt for weights), got {options.to}")
    path = shorter_path(options.to)
    text, notes = recipe_of(options.file, path)
    write_text(Path(options.to), text)
    print("\n".join([*notes, f"wrote    {path}", f"next     asim explain -c {path}"]))


def _import_weights(options: ImportOptions) -> None:
    """Write a checkpoint with a file's weights, and print what happened to every key."""
    file, to = options.file, options.to
    if options.kwargs is not None and options.network is None:
        raise ValueError("`--kwargs` needs `--network`, because its constructor takes them")
    if Path(to).suffix != ".ckpt":
        raise ValueError(f"`--to` must be a .ckpt for weights (a .yaml for a config.py), got {to}")
    weights = read_weights(file)
    if any(key.startswith(_PREFIX) for key in weights.state):
        raise ValueError(f"{file} is a checkpoint of this package already: give it to --ckpt_path directly")
    network = recognise(weights, options.network, options.small, options.kwargs)
    account = imported(weights, network)
    _refuse_open(account, file, options.force, network)
    model = CimClassifier(network.backbone, _plan(network), network.num_classes)
    missing = {row.target for row in account.open if row.status == MISSING}  # initialised at random
    state = {key: value for key, value in model.backbone.state_dict().items() if key in missing} | account.state
    model.backbone.load_state_dict(state)
    checkpoint = {
        "state_dict": {_PREFIX + key: value for key, value in state.items()},
        "hyper_parameters": dict(model.hparams),
        KEPT: {"layout": network.layout, "unused": account.unused},
        "epoch": 0,
        "global_step": 0,
        "pytorch-lightning_version": str(lightning.__version__),
    }
    write_whole(Path(to), lambda opened: torch.save(checkpoint, opened))
    _print_account(network, account, to)
    print(f"next     asim validate --ckpt_path {shorter_path(to)} {_data_flags(network)}".rstrip())


def export(options: ExportOptions) -> None:
    """Write a checkpoint's weights as a state dict of another project, and print what happened to every key."""
    layout, suffix = options.format, Path(options.to).suffix
    check_choice("`--format`", layout, LAYOUTS)
    if suffix not in _SUFFIXES[layout]:
        raise ValueError(f"`--to` must end in {' or '.join(_SUFFIXES[layout])} for {layout}, got {options.to}")
    path, checkpoint = open_checkpoint(options.file)
    state = {
        key.removeprefix(_PREFIX): value for key, value in checkpoint["state_dict"].items() if key.startswith(_PREFIX)
    }
    settings = settings_of(path, checkpoint, CimClassifier.argument_types())
    if not {"backbone", "num_classes"} <= settings.keys():
        raise ValueError(f"{path} does not name its network: it is not a checkpoint of this package")
    plan = settings.get("plan", {})
    clips = tuple(plan.get("pact_keep", ())) if plan.get("pact") else None
    network = Network(layout, BackboneConfig(**settings["backbone"]), settings["num_classes"], clips)
    account = exported(state, network, checkpoint.get(KEPT, {}).get("unused", {}))
    _refuse_open(account, path, options.force, network)
    # safetensors refuses tensors that share memory
    tensors = {key: value.clone(memory_format=torch.contiguous_format) for key, value in account.state.items()}
    if suffix == ".safetensors":
        content = save(tensors, {"format": "pt"})
        write_whole(Path(options.to), lambda opened: opened.write(content))
    else:
        whole = {"model_state_dict": tensors} if layout == "published" else tensors
        write_whole(Path(options.to), lambda opened: torch.save(whole, opened))
    _print_account(network, account, options.to)


def _refuse_open(account: Account, file: str, force: bool, network: Network) -> None:
    """Print the account; unless forced, refuse to go on if some keys are not accounted for."""
    if account.open and not force:
        print(account)
        row = account.open[0]
        first = f"{row.source or row.target} is {row.status}: {row.why}"
        raise ValueError(
            f"{len(account.open)} of {len(account.rows)} tensors of {file} as {network.layout} "
            f"{network.backbone.name} are not accounted for ({first}); nothing was written; --force writes all others"
        )


def _print_account(network: Network, account: Account, to: str) -> None:
    """Print the account of every key, the recognised network, and the file."""
    backbone = network.backbone
    size = " for small images" if backbone.small else ""
    clips = "" if network.clips is None else ", PACT"
    print(f"{account}\n\nnetwork  {network.layout} {backbone.name}{size}, {network.num_classes} classes{clips}")
    for said in account.notes:
        print(f"         {said}")
    counts = ", ".join(f"{account.count(status)} {status}" for status in (USED, IGNORED, MISSING, UNKNOWN))
    print(f"tensors  {counts}\nwrote    {shorter_path(to)}")


def _plan(network: Network) -> Plan:
    if network.layout != "published":
        return Plan()
    if network.backbone.name.startswith("vit"):  # as in the published examples
        return Plan(rules=[Rule(kind, {"input_bits": 9}) for kind in ("qk", "qkv", "proj")])
    return Plan() if network.clips is None else Plan(pact=True, pact_keep=list(network.clips))


def _data_flags(network: Network) -> str:
    """Flags for the data module that the network is likely made for, by its number of classes."""
    if network.backbone.kwargs.get("in_chans", 3) == 1 and network.num_classes == 10:
        return ""  # the images in the package
    name = {10: "CIFAR10", 100: "CIFAR100", 1000: "ImageNet"}.get(network.num_classes, "ImageFolder")
    flags = f"--data asim_lightning.data.{name} --data.init_args.root FOLDER"
    usual = SMALL_IMAGE if name.startswith("CIFAR") else 224
    size = network.backbone.image_size or network.backbone.kwargs.get("img_size", 224)
    flags = flags if size == usual else f"{flags} --data.init_args.image_size {size}"
    if network.layout in ("published", "torchvision") or network.backbone.small:
        return flags
    # timm's weights may need another normalisation than the published networks
    return f"{flags} --data.init_args.normalize pretrained --data.init_args.pretrained_cfg {network.backbone.name}"
