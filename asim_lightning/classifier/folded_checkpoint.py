"""Checks that the BatchNorms of a checkpoint are folded, or are not, as in the network that loads it."""

from collections.abc import Mapping
from typing import Any

from torch import nn

_PREFIX = "backbone."


def is_folded(checkpoint: Mapping[str, Any]) -> bool:
    """Whether a checkpoint says that its network's BatchNorms were folded when it was saved."""
    plan = (checkpoint.get("hyper_parameters") or {}).get("plan") or {}
    return bool(plan.get("fold_batchnorm", False))


def check_folding(
    backbone: nn.Module, checkpoint: Mapping[str, Any], plan: Mapping[str, Any], goes_on: bool = False
) -> None:
    """Refuse a checkpoint that a network cannot load because BatchNorms are folded in only one of them.

    Weights from before folding are folded as they are loaded, so a folded network can load them.

    Args:
        backbone: The network.
        checkpoint: A Lightning checkpoint.
        plan: Fields of the network's plan.
        goes_on: Whether a fit resumes, with the checkpoint's optimizer state.

    Raises:
        ValueError: The network cannot load the checkpoint.
    """
    if not plan["fold_batchnorm"] and _lacks_batchnorms(backbone, checkpoint["state_dict"]):
        raise ValueError(
            "`model.plan.fold_batchnorm` must be true, as the BatchNorms of the checkpoint's network are folded and "
            "cannot be had back, got false"
        )
    if goes_on and plan["fold_batchnorm"] and checkpoint.get("optimizer_states") and not is_folded(checkpoint):
        raise ValueError(
            "`model.plan.fold_batchnorm` must be false where a fit goes on, as in the checkpoint, whose optimizer's "
            "state is that of a network with BatchNorms, got true; a checkpoint of weights alone starts anew"
        )


def _lacks_batchnorms(backbone: nn.Module, state: Mapping[str, Any]) -> bool:
    """Whether a state dict has every layer of a network and not every BatchNorm.

    The hyperparameters do not show it: load_from_checkpoint overwrites them with the caller's.
    """
    layers = [n for n, m in backbone.named_modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    norms = [n for n, m in backbone.named_modules() if getattr(m, "running_mean", None) is not None]
    if not all(f"{_PREFIX}{name}.weight" in state for name in layers):
        return False  # another network's, which loading will say
    return not all(f"{_PREFIX}{name}.running_mean" in state for name in norms)
