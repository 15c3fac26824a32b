"""Whether a checkpoint's BatchNorms are folded as the network's that is to take it."""

from collections.abc import Mapping
from typing import Any


def is_folded(checkpoint: Mapping[str, Any]) -> bool:
    """Whether the network of a checkpoint had its BatchNorms folded."""
    plan = (checkpoint.get("hyper_parameters") or {}).get("plan") or {}
    return bool(plan.get("fold_batchnorm", False))


def check_folding(checkpoint: Mapping[str, Any], plan: Mapping[str, Any], goes_on: bool = False) -> None:
    """Refuse a checkpoint that a network cannot take, as its BatchNorms are folded or are not.

    Weights from before folding are folded as they are loaded, so that these alone are welcome to a folded network.

    Args:
        checkpoint: A Lightning checkpoint.
        plan: Fields of the network's plan.
        goes_on: Whether a fit goes on from its optimizer's state too.

    Raises:
        ValueError: It cannot.
    """
    before, now = is_folded(checkpoint), bool(plan["fold_batchnorm"])
    if before and not now:
        raise ValueError(
            "`model.plan.fold_batchnorm` must be true, as the BatchNorms of the checkpoint's network are folded and "
            "cannot be had back, got false"
        )
    if goes_on and now and not before and checkpoint.get("optimizer_states"):
        raise ValueError(
            "`model.plan.fold_batchnorm` must be false where a fit goes on, as in the checkpoint, whose optimizer's "
            "state is that of a network with BatchNorms, got true; a checkpoint of weights alone starts anew"
        )
