"""Loading of a classifier from a checkpoint alone."""

from collections.abc import Mapping
from os import PathLike
from typing import IO, Any

import torch

from asim_lightning.classifier.checkpoint_settings import settings_of
from asim_lightning.exchange.read import read_checkpoint


def load_classifier(
    kind: Any,
    types: Mapping[str, Any],
    file: str | PathLike[str] | IO[bytes],
    map_location: Any,
    strict: bool | None,
    given: Mapping[str, Any],
) -> Any:
    """Make a classifier with a checkpoint's settings and weights, as `CimClassifier.load_from_checkpoint` says.

    Lightning's own reader is not used, as it takes settings from several keys of the file and instantiates the classes
    that they name.

    Args:
        kind: Its class.
        types: Types of its arguments.
        file: The checkpoint, by its path or opened.
        map_location: Where its tensors go, as in torch.load; None: where they were, or the CPU.
        strict: Whether the state dict must have every key of the network and no other; None: as the class says.
        given: Arguments of the classifier, which take precedence over those in the checkpoint.
    """
    path = file if isinstance(file, (str, PathLike)) else getattr(file, "name", "the opened file")
    checkpoint = read_checkpoint(file, map_location or _where_it_was)
    state = checkpoint["state_dict"]
    own = checkpoint.get("hyper_parameters", {})
    if isinstance(own, dict):
        checkpoint["hyper_parameters"] = {name: value for name, value in own.items() if name not in given}
    model = kind(**{**settings_of(str(path), checkpoint, types, given), **given})
    checkpoint["hyper_parameters"] = dict(model.hparams)
    model.on_load_checkpoint(checkpoint)
    model.load_state_dict(state, strict=model.strict_loading if strict is None else strict)
    device = next((each.device for each in state.values()), torch.device("cpu"))
    return model.to(device)


def _where_it_was(storage: Any, location: str) -> Any:
    """torch.load's map_location: the device that a tensor was saved from, or the CPU if there is no such device."""
    device = location.partition(":")[0]
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    return None if there.get(device, False) else storage.cpu()
