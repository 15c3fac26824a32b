"""Pretrained weights of a network before its conversion: from a file, or downloaded by timm."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor, nn

from asim_lightning.backbone import BackboneConfig
from asim_lightning.backbone.build import check_name
from asim_lightning.exchange.account import imported
from asim_lightning.exchange.layouts import Network
from asim_lightning.exchange.read import WeightFile, read_weights
from asim_lightning.exchange.recognise import recognise
from asim_lightning.hub import asked_once
from asim_lightning.resources import PACKAGE

_SUFFIXES = (".pth", ".pt", ".bin", ".safetensors", ".pkl", ".ckpt", ".tar")


def is_file(pretrained: bool | str) -> bool:
    """Whether `BackboneConfig.pretrained` names a file, and not a tag."""
    if not isinstance(pretrained, str):
        return False
    named = pretrained.startswith(PACKAGE) or pretrained.endswith(_SUFFIXES) or os.sep in pretrained
    return named or Path(pretrained).is_file()


def timm_weights(config: BackboneConfig) -> str | None:
    """timm's name of the weights whose image preparation the network expects; None for other weights.

    torchvision's transformers were trained on images with another normalisation than timm's.
    """
    base, given = config.name.split(".")[0], config.pretrained
    if isinstance(given, str) and not is_file(given):
        return f"{base}.{given.removeprefix(base + '.')}"
    of_torchvision = isinstance(given, str) and "encoder.pos_embedding" in read_weights(given, mmap=True).state
    return config.name if given and not of_torchvision else None


def read_pretrained(config: BackboneConfig) -> WeightFile:
    """The weights that a network starts from, read or downloaded before it is built."""
    return read_weights(str(config.pretrained)) if is_file(config.pretrained) else _download(config)


def check_tag(config: BackboneConfig) -> None:
    """Refuse a tag that timm does not know."""
    if config.pretrained and not is_file(config.pretrained):
        check_name("model.backbone.name", config.name)
        check_name("model.backbone.pretrained", timm_weights(config) or config.name)


def _download(config: BackboneConfig) -> WeightFile:
    import timm

    check_tag(config)
    name = timm_weights(config) or config.name
    try:
        with asked_once():
            return WeightFile(name, timm.create_model(name, pretrained=True, **config.kwargs).state_dict())
    except Exception as error:  # of the hub, of the network, of the disk
        reason = str(error).strip().splitlines()[:1] or [type(error).__name__]
        raise ValueError(
            f"The weights {name} could not be downloaded ({reason[0]}); `model.backbone.pretrained` also takes a file"
        ) from error


def load_pretrained_(model: nn.Module, config: BackboneConfig, num_classes: int, file: WeightFile) -> tuple[str, ...]:
    """Load the weights of `read_pretrained`, in place; return notes on loaded and missing weights, a line each.

    The head stays unchanged if class counts differ; weights of another network are refused.
    """
    if any(key.startswith("backbone.") for key in file.state):
        raise ValueError(
            f"{file.path} is a checkpoint of this package, with settings and weights: use it with --ckpt_path"
        )
    network = recognise(file, config.name, kwargs=config.kwargs)
    if network.layout == "published":
        raise ValueError(
            f"{file.path} is a checkpoint of the published simulator, which has settings next to weights; "
            f"asim import {file.path} --to weights.ckpt makes one for --ckpt_path"
        )
    here = Network(network.layout, replace(config, pretrained=False), network.num_classes)
    account = imported(file, here)
    state, notes = dict(account.state), [f"{file.path}: {account.count('used')} of {len(file.state)} tensors"]
    problems = list(account.open)
    stem = [row for row in problems if row.target == "conv1.weight"]
    if stem and config.small and "conv1.weight" in model.state_dict():
        problems.remove(stem[0])
        notes.append("first convolution: new, with random weights, because `model.backbone.small` changes its kernel")
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise ValueError(
            f"{file.path} does not fit {config.name} as `model.backbone` describes it: {problems[0]}{more}"
        )
    if network.num_classes != num_classes:
        take_out_head_(state, model, num_classes)
        own = model.state_dict()
        head = [key for key in own if key not in state and own[key].shape[:1] == (num_classes,)]
        notes.append(new_head(head, network.num_classes, num_classes))
    model.load_state_dict(state, strict=False)
    return tuple(notes)


def load_state_(model: nn.Module, path: str) -> str:
    """Load a state dict with the network's names, in place; return a note."""
    file = read_weights(path)
    try:
        model.load_state_dict(file.state)
    except RuntimeError as error:
        reasons = [" ".join(line.split()) for line in str(error).splitlines()[1:]]
        raise ValueError(f"`model.backbone.weights` {path} does not fit the network: {reasons[0]}") from None
    return f"{path}: {len(file.state)} tensors"


def take_out_head_(state: dict[str, Tensor], model: nn.Module, num_classes: int) -> list[str]:
    """Remove the tensors whose shape depends on the number of classes, in place; return their names."""
    head = []
    for key, own in model.state_dict().items():
        given, wanted = state[key].shape if key in state else own.shape, own.shape
        if wanted[:1] == (num_classes,) != given[:1] and given[1:] == wanted[1:] and len(given) == len(wanted):
            head.append(key)
            del state[key]
    return head


def new_head(names: Sequence[str], classes: int, num_classes: int) -> str:
    """A note that a head's tensors are new: the file has other classes (0: no head) than the data."""
    has = f"{classes} classes" if classes else "none"
    return f"{', '.join(names)}: new, with random weights, because the file has {has} and the data {num_classes}"
