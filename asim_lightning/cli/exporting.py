"""``asim export``: a checkpoint's weights to a file of others."""

from pathlib import Path
from typing import Any

import torch

from asim_lightning.backbone import BackboneConfig
from asim_lightning.checks import check_whole
from asim_lightning.classifier import CimClassifier
from asim_lightning.classifier.checkpoint_settings import settings_of
from asim_lightning.cli.command_line import shorter_path
from asim_lightning.cli.importing import KEPT, refuse_open, summary
from asim_lightning.cli.messages import UsageError
from asim_lightning.cli.start import read_checkpoint
from asim_lightning.evaluation.whole_file import write_whole
from asim_lightning.exchange.export import exported
from asim_lightning.exchange.keys import LAYOUTS
from asim_lightning.exchange.network import Network
from asim_lightning.resources import shipped_file

_SUFFIXES = {"published": (".pkl",), "torchvision": (".pth",), "timm": (".pth", ".safetensors")}
_PREFIX = "backbone."


def export_weights(file: str, to: str, layout: str, force: bool) -> None:
    """Write a checkpoint's weights as another's state dict, and print what became of every key.

    Args:
        file: The checkpoint, or the name of a shipped one.
        to: The file to write.
        layout: published, torchvision or timm.
        force: Whether the file is written though keys are not accounted for.

    Raises:
        UsageError: A key is not accounted for, or the format or the file's ending is none that is written.
        ValueError: The file is no checkpoint, or of a network that the format has not.
        FileNotFoundError: There is no such file.
    """
    if layout not in LAYOUTS:
        raise UsageError(f"`--format` must be one of {', '.join(LAYOUTS)}, got {layout!r}")
    if Path(to).suffix not in _SUFFIXES[layout]:
        raise UsageError(f"`--to` must end in {' or '.join(_SUFFIXES[layout])} for {layout}, got {to}")
    path = str(shipped_file("checkpoints", file))
    checkpoint = read_checkpoint(path)
    state = {key.removeprefix(_PREFIX): value for key, value in checkpoint["state_dict"].items()
             if key.startswith(_PREFIX)}  # fmt: skip
    settings = settings_of(path, checkpoint, CimClassifier.argument_types())
    network = _network(settings, path, layout)
    account = exported(state, network, _unused(checkpoint.get(KEPT, {}), path))
    refuse_open(account, path, force, network)
    tensors = {key: value.contiguous() for key, value in account.state.items()}
    write_whole(Path(to), lambda opened: _save(opened, tensors, layout, Path(to).suffix))
    print(f"{account}\n\n{summary(network, account)}")
    print(f"wrote    {shorter_path(to)}")


def _network(settings: Any, path: str, layout: str) -> Network:
    try:
        backbone, plan = dict(settings["backbone"]), dict(settings["plan"])
        clips = tuple(plan.get("pact_keep", ())) if plan.get("pact") else None
        check_whole(f"num_classes of {path}", settings["num_classes"], 2)
        return Network(layout, BackboneConfig(**backbone), settings["num_classes"], clips)
    except (KeyError, TypeError):
        raise ValueError(f"{path} does not say which network it is of: it is no checkpoint of this package") from None


def _unused(kept: Any, path: str) -> dict[str, torch.Tensor]:
    """What an import kept for the way back."""
    unused = kept.get("unused", {}) if isinstance(kept, dict) else None
    if not isinstance(unused, dict) or not all(isinstance(each, torch.Tensor) for each in unused.values()):
        raise ValueError(f"{path} must hold tensors by name as {KEPT}.unused: it is no checkpoint of this package")
    return unused


def _save(opened: Any, tensors: dict[str, torch.Tensor], layout: str, suffix: str) -> None:
    if suffix == ".safetensors":
        from safetensors.torch import save

        # tensors that share memory are refused there
        opened.write(save({key: value.clone() for key, value in tensors.items()}, {"format": "pt"}))
    else:
        torch.save({"model_state_dict": tensors} if layout == "published" else tensors, opened)
