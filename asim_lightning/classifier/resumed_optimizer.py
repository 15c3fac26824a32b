"""The user's changes of optimizer settings in the state that a fit resumes."""

from collections.abc import Mapping
from typing import Any

_RATE = "lr"
_PLAIN = ("momentum", "weight_decay")
_RATES_OF_A_SCHEDULE = ("base_lrs", "_last_lr")


def change_optimizer_(checkpoint: dict[str, Any], wanted: Mapping[str, Any]) -> None:
    """Put learning rate, momentum and weight decay into a checkpoint's optimizer state, in place.

    State is restored after flags are read, and would override them. The schedule keeps its shape: current rates are
    scaled by the ratio of the learning rates.

    Args:
        checkpoint: A checkpoint with optimizer state.
        wanted: Fields of the optimizer's configuration.

    Raises:
        ValueError: The optimizer or its schedule is another one, for which the state is of no use.
    """
    before = (checkpoint.get("hyper_parameters") or {}).get("optimizer")
    if not before or "optimizer_states" not in checkpoint:
        return
    for name in ("name", "schedule"):
        if before[name] != wanted[name]:
            raise ValueError(
                f"`model.optimizer.{name}` must be {before[name]} where a fit goes on, as in the checkpoint, got "
                f"{wanted[name]}; a checkpoint of weights alone starts anew"
            )
    ratio = wanted[_RATE] / before[_RATE]
    for group in (group for state in checkpoint["optimizer_states"] for group in state["param_groups"]):
        group.update({name: wanted[name] for name in _PLAIN if name in group and before[name] != wanted[name]})
        group.update({name: group[name] * ratio for name in (_RATE, "initial_lr") if name in group and ratio != 1.0})
    if ratio != 1.0:
        for schedule in checkpoint.get("lr_schedulers", []):
            _scale_(schedule, ratio)


def _scale_(schedule: dict[str, Any], ratio: float) -> None:
    for name in _RATES_OF_A_SCHEDULE:
        if name in schedule:
            schedule[name] = [rate * ratio for rate in schedule[name]]
    for part in schedule.get("_schedulers", []):  # those of a sequence
        _scale_(part, ratio)
