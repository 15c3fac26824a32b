"""Checks and changes of a checkpoint that a classifier loads or a fit resumes."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from asim_lightning.surgery import Plan

_PATHS = ("best_model_path", "kth_best_model_path", "last_model_path")
_BEST = "best_k_models"


def is_folded(checkpoint: Mapping[str, Any]) -> bool:
    """Whether a checkpoint says that its network's BatchNorms were folded when it was saved."""
    return bool(_plan(checkpoint).get("fold_batchnorm", False))


def rotation_of(checkpoint: Mapping[str, Any]) -> str | None:
    """How a checkpoint's network was rotated when it was saved, as in `Plan.rotate`."""
    found: str | None = _plan(checkpoint).get("rotate")
    return found


def _plan(checkpoint: Mapping[str, Any]) -> Mapping[str, Any]:
    return (checkpoint.get("hyper_parameters") or {}).get("plan") or {}


def check_rewritten(checkpoint: Mapping[str, Any], plan: Plan) -> None:
    """Refuse a checkpoint of a network with folded BatchNorms or rotated weights, if the plan folds or rotates none."""
    if is_folded(checkpoint) and not plan.fold_batchnorm:
        raise ValueError(
            "`model.plan.fold_batchnorm` must be true, because the BatchNorms of the checkpoint's network are folded "
            "and cannot be restored, got false"
        )
    if plan.rotate is None and (rotation := rotation_of(checkpoint)):
        raise ValueError(f"the weights are rotated ({rotation}); set `model.plan.rotate {rotation}`")


def change_optimizer_(checkpoint: dict[str, Any], wanted: Mapping[str, Any]) -> None:
    """Put the wanted learning rate, momentum and weight decay into a checkpoint's optimizer state, in place.

    State is restored after flags are read, and would override them. The schedule keeps its shape: current rates are
    scaled by the ratio of the learning rates. Another optimizer or schedule is refused.
    """
    before = (checkpoint.get("hyper_parameters") or {}).get("optimizer")
    if not before or "optimizer_states" not in checkpoint:
        return
    for name in ("name", "schedule", "warmup"):
        kind = bool if name == "warmup" else str  # a schedule that rises first has two parts
        if kind(before.get(name)) != kind(wanted[name]):
            raise ValueError(
                f"`model.optimizer.{name}` must be {before.get(name, 0)} to resume this fit, as in the checkpoint, "
                f"got {wanted[name]}; a checkpoint without optimizer state starts anew"
            )
    ratio = wanted["lr"] / before["lr"]
    changed = [n for n in ("momentum", "weight_decay") if before.get(n) != wanted[n]]
    for group in (group for state in checkpoint["optimizer_states"] for group in state["param_groups"]):
        group.update({name: wanted[name] for name in changed if name in group})
        group.update({name: group[name] * ratio for name in ("lr", "initial_lr") if name in group})
    for schedule in checkpoint.get("lr_schedulers", []):
        for part in (schedule, *schedule.get("_schedulers", [])):  # a sequence has parts
            part.update({name: [x * ratio for x in part[name]] for name in ("base_lrs", "_last_lr") if name in part})


def forget_paths_elsewhere_(checkpoint: Mapping[str, Any], folders: Iterable[str]) -> None:
    """Remove the states of callbacks that name a file outside the folders of a fit's checkpoints, in place, because
    Lightning deletes such a file when the fit saves a better one."""
    own, states = list(folders), checkpoint.get("callbacks")
    if not isinstance(states, dict):
        return
    for key, state in [each for each in states.items() if isinstance(each[1], dict)]:
        best = state.get(_BEST)
        files = [path for path in map(state.get, _PATHS) if path] + [*(best if isinstance(best, Mapping) else ())]
        if not all(any(_is_below(path, folder) for folder in own) for path in files):
            del states[key]


def _is_below(path: Any, folder: str) -> bool:
    if not isinstance(path, str):
        return False
    if ":/" in path or "::" in path:  # a file on another filesystem
        return path.startswith(f"{folder.rstrip('/')}/") and "::" not in path and ".." not in path.split("/")
    return Path(folder).resolve() in Path(path).resolve().parents
