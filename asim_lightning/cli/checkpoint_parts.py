"""The parts of a Lightning checkpoint, each of the type that Lightning and this package read it as."""

from collections.abc import Mapping
from typing import Any

from packaging.version import InvalidVersion, Version
from torch import Tensor

_WHOLE = ("global_step", "epoch")
_LISTS = ("optimizer_states", "lr_schedulers")
_MAPPINGS = ("loops", "callbacks")


def check_parts(path: str, checkpoint: Mapping[Any, Any]) -> None:
    """Refuse a checkpoint whose parts are of other types.

    Args:
        path: The file.
        checkpoint: What it holds, with a state_dict.

    Raises:
        ValueError: A part is of another type.
    """
    for key, value in checkpoint["state_dict"].items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            given = f"{key!r:.60} of {type(value).__name__}"
            raise ValueError(f"{path} must hold tensors by name as its state_dict, got {given}")
    for name in _WHOLE:
        value = checkpoint.get(name, 0)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise ValueError(f"{path} must hold a whole number of 0 or more as {name}, got {_kind(value)}")
    seed = checkpoint.get("training_seed")
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int) or seed < 0):
        raise ValueError(f"{path} must hold a whole number of 0 or more as training_seed, or none, got {_kind(seed)}")
    for name in _LISTS:
        value = checkpoint.get(name, [])
        if not isinstance(value, list) or not _are_mappings(value):
            raise ValueError(f"{path} must hold a list of mappings as {name}, got {_kind(value)}")
    for state in checkpoint.get("optimizer_states", []):
        groups = state.get("param_groups")
        if not isinstance(state.get("state"), dict) or not isinstance(groups, list) or not _are_mappings(groups):
            raise ValueError(f"{path} must hold a state and a list of param_groups in each of its optimizer_states")
    for name in _MAPPINGS:
        value = checkpoint.get(name, {})
        if not isinstance(value, dict):
            raise ValueError(f"{path} must hold a mapping as {name}, got {_kind(value)}")
    if "optimizer_states" in checkpoint and not isinstance(checkpoint.get("loops", {}).get("fit_loop"), dict):
        raise ValueError(
            f"{path} must say in loops.fit_loop where a fit goes on, as it holds the state of an optimizer"
        )
    version = checkpoint.get("pytorch-lightning_version", "")
    if not isinstance(version, str) or (version and not _is_version(version)):
        raise ValueError(f"{path} must hold a version as pytorch-lightning_version, got {_kind(version)}")


def _is_version(text: str) -> bool:
    try:
        Version(text)
    except InvalidVersion:
        return False
    return True


def _are_mappings(values: list[Any]) -> bool:
    return all(isinstance(each, dict) for each in values)


def _kind(value: Any) -> str:
    plain = isinstance(value, (int, float, str)) or value is None
    return f"{value!r:.60}" if plain else f"a {type(value).__name__}"
