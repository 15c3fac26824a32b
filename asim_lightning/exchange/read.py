"""The state dict in a file of weights."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from asim_lightning.resources import local_path
from asim_lightning.safe_load import held, is_state, load_safetensors, load_torch

_WRAPPERS = ("model_state_dict", "state_dict", "model")
"""Keys of a file that may hold the state dict: of the published code, timm's training script and DeiT."""
_PREFIXES = ("module.", "_orig_mod.")
"""Prefixes that torch's DataParallel and torch.compile add to each key."""


@dataclass(frozen=True)
class WeightFile:
    """The state dict in a file.

    Attributes:
        path: The file.
        state: Tensors by key, without the prefixes of torch's DataParallel and compile.
        wrapper: Key of the file that holds the state dict; empty if the file is the state dict.
        stepped: Numbers of the parameters that the optimizer state in the file has updated; None if there is none.
        architecture: timm's name of the network, if the file or a config.json next to it has it.
    """

    path: str
    state: dict[str, Tensor]
    wrapper: str = ""
    stepped: frozenset[int] | None = None
    architecture: str | None = None


def read_weights(path: str | Path, mmap: bool = False) -> WeightFile:
    """The state dict in a file: .safetensors, or a file of torch.save, which is refused if it would run code.

    Args:
        path: The file, or ``package:NAME/PATH`` for one in an installed package.
        mmap: Whether to read tensors from the disk only when they are used.
    """
    file = local_path(str(path))
    if not file.is_file():
        raise FileNotFoundError(f"There is no file {str(path)!r}")
    found: Any = load_safetensors(file) if file.suffix == ".safetensors" else load_torch(file, mmap)
    wrapper = next((key for key in _WRAPPERS if isinstance(found, dict) and isinstance(found.get(key), dict)), "")
    state = found[wrapper] if wrapper else found
    if not is_state(state) or not state:
        raise ValueError(f"{path} must hold a state dict, tensors by name, got {held(state)}")
    architecture = (found.get("arch") if wrapper else None) or _architecture_of(file)
    return WeightFile(
        str(path),
        _by_todays_names(state),
        wrapper,
        _stepped(found.get("optimizer_state_dict")) if wrapper else None,
        architecture if isinstance(architecture, str) else None,
    )


def _architecture_of(file: Path) -> Any:
    """timm's name of the network in a hub's config.json next to the weights."""
    with suppress(OSError, ValueError, AttributeError):  # there is none, or it is something else
        return json.loads(file.with_name("config.json").read_text(encoding="utf-8")).get("architecture")
    return None


def _by_todays_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    named = dict(state)
    while prefix := next((each for each in _PREFIXES if named and all(key.startswith(each) for key in named)), ""):
        named = {key.removeprefix(prefix): value for key, value in named.items()}
    # names in torchvision's first transformers
    names = {key: key.replace(".mlp.linear_1.", ".mlp.0.").replace(".mlp.linear_2.", ".mlp.3.") for key in named}
    return {names[key]: value for key, value in named.items()}


def _stepped(optimizer: Any) -> frozenset[int] | None:
    state = optimizer.get("state") if isinstance(optimizer, dict) else None
    return frozenset(state) if isinstance(state, dict) and state else None
