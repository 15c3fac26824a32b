"""The parts of a Lightning checkpoint, checked: each of its type, and a state from which a fit can go on."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from packaging.version import InvalidVersion, Version
from torch import Tensor

from asim_lightning.exchange.read import has_values

_WHOLE = ("global_step", "epoch")
_LISTS = ("optimizer_states", "lr_schedulers")
_MAPPINGS = ("loops", "callbacks")

_PROGRESS = ("epoch_progress", "epoch_loop.batch_progress")
"""Without these a fit would begin at epoch 0, with the state of an optimizer that has gone further."""
_RATES = ("lr", "weight_decay")
_CONNECTOR = "lightning.pytorch.trainer.connectors.checkpoint_connector"


def check_parts(path: str, checkpoint: Mapping[Any, Any]) -> None:
    """Refuse a checkpoint whose parts are of other types.

    Args:
        path: The file.
        checkpoint: What it holds, with a state_dict.

    Raises:
        ValueError: A part is of another type.
    """
    for key, value in checkpoint["state_dict"].items():
        if not isinstance(key, str) or not has_values(value):
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


def check_state(path: str, checkpoint: Mapping[str, Any], parameters: Iterable[Tensor]) -> None:
    """Refuse a checkpoint whose optimizer, schedule or place in the training cannot go on.

    Args:
        path: The file.
        checkpoint: What it holds, of the types that `check_parts` asks for.
        parameters: The network's parameters, in the order in which the optimizer has them.

    Raises:
        ValueError: A part does not fit.
    """
    _check_loops(path, checkpoint["loops"]["fit_loop"])
    for key, value in checkpoint.get("callbacks", {}).items():
        if not isinstance(key, str) or not isinstance(value, dict):
            raise ValueError(
                f"{path} must hold mappings by name as callbacks, got {type(value).__name__} of {key!r:.60}"
            )
    states = checkpoint["optimizer_states"]
    if len(states) != 1:
        raise ValueError(f"{path} must hold the state of one optimizer, got that of {len(states)}")
    _check_optimizer(path, states[0], [tuple(each.shape) for each in parameters])
    for schedule in checkpoint.get("lr_schedulers", []):
        _check_schedule(path, schedule)


def is_of_restoring(error: BaseException) -> bool:
    """Whether an error came up while Lightning restored a checkpoint, and not in the training behind it."""
    place = error.__traceback__
    while place is not None:
        if place.tb_frame.f_globals.get("__name__") == _CONNECTOR:
            return True
        place = place.tb_next
    return False


def _check_loops(path: str, loop: Mapping[Any, Any]) -> None:
    for name in _PROGRESS:
        if not isinstance(loop.get(name), dict):
            raise ValueError(f"{path} must say in loops.fit_loop where a fit goes on, got none with {name}")
    for name, value in loop.items():
        if str(name).endswith("progress") and not _counts(value):
            raise ValueError(f"{path} must hold whole numbers of 0 or more in loops.fit_loop.{name}, got others")


def _counts(value: Any) -> bool:
    """Whether a value, or all in it, counts something."""
    if isinstance(value, dict):
        return all(_counts(each) for each in value.values())
    return isinstance(value, int) and 0 <= value < 2**63


def _check_optimizer(path: str, state: Mapping[str, Any], shapes: Sequence[tuple[int, ...]]) -> None:
    groups = state["param_groups"]
    numbers = [number for group in groups for number in _list(group.get("params")) if isinstance(number, int)]
    if len(groups) != 1 or len(numbers) != len(shapes):
        raise ValueError(
            f"{path} must hold the state of an optimizer with one group of {len(shapes)} parameters, as the network "
            f"has, got {len(groups)} of {len(numbers)}"
        )
    for name in _RATES:
        if not _is_number(groups[0].get(name)):
            raise ValueError(f"{path} must hold a number as {name} of its optimizer, got {groups[0].get(name)!r:.60}")
    for place, (number, shape) in enumerate(zip(numbers, shapes, strict=True)):
        moments = state["state"].get(number, {})
        for name, value in moments.items() if isinstance(moments, dict) else [("the state", moments)]:
            if not _fits(value, shape):
                given = tuple(value.shape) if isinstance(value, Tensor) else f"a {type(value).__name__}"
                raise ValueError(
                    f"{path} does not fit: {name} of its optimizer must be {shape} for parameter {place}, got {given}"
                )


def _fits(value: Any, shape: tuple[int, ...]) -> bool:
    """Whether a value is one for each number of a parameter, as a moment is, or one for all, as a count of steps is."""
    return value is None or (isinstance(value, Tensor) and tuple(value.shape) in (shape, ()))


def _check_schedule(path: str, schedule: Mapping[str, Any]) -> None:
    for name in ("last_epoch", "_step_count"):
        if not isinstance(schedule.get(name, 0), int):
            raise ValueError(f"{path} must hold a whole number as {name} of its schedule, got {schedule[name]!r:.60}")
    for name in ("base_lrs", "_last_lr"):
        rates = schedule.get(name, [])
        if not isinstance(rates, list) or not all(map(_is_number, rates)):
            raise ValueError(f"{path} must hold a list of numbers as {name} of its schedule, got {rates!r:.60}")


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)
