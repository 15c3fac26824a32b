"""Checks of the arguments of classifier and callbacks."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from asim_lightning.nn.quantized import FIDELITIES, METHODS

MOST_CLASSES = 1_000_000
"""Most classes: the head alone takes gigabytes then."""


def check_whole(name: str, value: Any, low: int, high: int | None = None) -> None:
    """Refuse what is no whole number of a range.

    Args:
        name: What the user calls it, such as "`model.trial`".
        value: What was given.
        low: Least value.
        high: Largest value; None: there is none.

    Raises:
        ValueError: It is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < low or (high is not None and value > high):
        allowed = f"{low} or more" if high is None else f"{low}..{high}"
        raise ValueError(f"{name} must be {allowed}, got {value!r}")


def check_choice(name: str, value: Any, allowed: Sequence[str]) -> None:
    """Refuse what is none of some names.

    Args:
        name: What the user calls it, such as "`model.fidelity`".
        value: What was given.
        allowed: The names.

    Raises:
        ValueError: It is none.
    """
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")


def check_number(name: str, value: Any, high: float | None = None) -> None:
    """Refuse what is no finite number of 0 or more, or of 0..high.

    Args:
        name: What the user calls it, such as "`model.mixup`".
        value: What was given.
        high: Largest value; None: there is none.

    Raises:
        ValueError: It is not.
    """
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not number or value < 0 or (high is not None and value > high):
        allowed = "0 or more" if high is None else f"0..{high:g}"
        raise ValueError(f"{name} must be {allowed}, got {value!r}")


def check_settings(settings: Mapping[str, Any]) -> None:
    """Refuse settings of a classifier that are not allowed.

    Args:
        settings: The classifier's arguments by name.

    Raises:
        ValueError: One is not allowed.
    """
    for name, low, high in (
        ("num_classes", 2, MOST_CLASSES),
        ("noise_seed", 0, 2**32 - 1),
        ("trial", 0, 2**16 - 1),
        ("chip", 0, 2**32 - 1),
        ("calibration_images", 1, None),
    ):
        check_whole(f"`model.{name}`", settings[name], low, high)
    if settings["max_elements"] is not None:
        check_whole("`model.max_elements`", settings["max_elements"], 1)
    for name, allowed in (("fidelity", FIDELITIES), ("calibration_method", METHODS)):
        check_choice(f"`model.{name}`", settings[name], allowed)
    for name, most in (("label_smoothing", 1.0), ("mixup", None), ("train_noise", None)):
        check_number(f"`model.{name}`", settings[name], most)
