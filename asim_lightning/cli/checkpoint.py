"""Checkpoints: read as tensors and plain values, never as code."""

from typing import Any

from asim_lightning.classifier import CimClassifier
from asim_lightning.classifier.folded_checkpoint import check_folding
from asim_lightning.cli.checkpoint_parts import check_parts
from asim_lightning.exchange.read import read_plain

_RANGES = ("input_max", "weight_max")


def read_checkpoint(path: str) -> dict[str, Any]:
    """A Lightning checkpoint, on the CPU; a file that would run code is refused, and its code does not run.

    Raises:
        ValueError: The file holds more than tensors and plain values, is damaged, is no Lightning checkpoint, or is one
            with parts of other types.
    """
    checkpoint = read_plain(path)
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("state_dict"), dict):
        shown = ", ".join(str(key) for key in list(checkpoint)[:3]) if isinstance(checkpoint, dict) else ""
        keys = f"{len(checkpoint)} keys, such as {shown}" if shown else None
        kind = keys or f"a {type(checkpoint).__name__}"
        raise ValueError(f"{path} must be a Lightning checkpoint with a state_dict, got {kind}")
    check_parts(path, checkpoint)
    return checkpoint


def load_weights(model: CimClassifier, path: str) -> dict[str, Any]:
    """Load a checkpoint's weights and input ranges, in place; nothing else of it is used.

    Weights of a network with BatchNorms are folded on the way, where the model's are.

    Returns:
        The whole checkpoint.

    Raises:
        ValueError: The file is no checkpoint, or one of another network.
    """
    checkpoint = read_checkpoint(path)
    given = checkpoint["state_dict"]
    try:
        check_folding(model.backbone, checkpoint, model.hparams["plan"])
    except ValueError as error:
        raise ValueError(f"{path} does not fit: {error}") from None
    network = f"{path} does not fit {model.hparams['backbone']['name']} as `model.backbone` describes it"
    try:
        missing, unknown = model.load_state_dict(given, strict=False)
    except RuntimeError as error:
        differences = [" ".join(line.split()) for line in str(error).splitlines()[1:]]
    else:
        # a plan may keep float what had an input range in training
        unknown = [name for name in unknown if name.rpartition(".")[2] not in _RANGES]
        differences = [f"{name} is missing in it" for name in missing]
        differences += [f"{name} is in it alone" for name in unknown]
    if differences:
        more = f" (and {len(differences) - 1} more)" if len(differences) > 1 else ""
        raise ValueError(f"{network}: {differences[0]}{more}")
    return checkpoint
