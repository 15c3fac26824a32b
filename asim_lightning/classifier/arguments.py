"""Checks of the classifier's arguments, with the names that they have in YAML."""

import math
from collections.abc import Sequence
from typing import Any


def check_whole(name: str, value: Any, low: int, high: int | None = None) -> None:
    """Refuse what is no whole number of a range.

    Raises:
        ValueError: It is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < low or (high is not None and value > high):
        allowed = f"{low} or more" if high is None else f"{low}..{high}"
        raise ValueError(f"`model.{name}` must be {allowed}, got {value!r}")


def check_choice(name: str, value: Any, allowed: Sequence[str]) -> None:
    """Refuse what is none of some names.

    Raises:
        ValueError: It is none.
    """
    if value not in allowed:
        raise ValueError(f"`model.{name}` must be one of {', '.join(allowed)}, got {value!r}")


def check_number(name: str, value: Any, high: float | None = None) -> None:
    """Refuse what is no finite number of 0 or more, or of 0..high.

    Raises:
        ValueError: It is not.
    """
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not number or value < 0 or (high is not None and value > high):
        allowed = "0 or more" if high is None else f"0..{high:g}"
        raise ValueError(f"`model.{name}` must be {allowed}, got {value!r}")
