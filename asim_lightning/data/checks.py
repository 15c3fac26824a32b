"""Checks of arguments that several data modules take."""

from __future__ import annotations

from collections.abc import Sequence


def check_at_least(name: str, value: int | None, least: int) -> None:
    """Refuses a whole number that is too small, or null, which YAML may have in its place.

    Raises:
        ValueError: It is.
    """
    if value is None or value < least:
        raise ValueError(f"{name} must be at least {least}, got {'null' if value is None else value}.")


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Refuses what is none of the choices.

    Raises:
        ValueError: It is none.
    """
    if value not in choices:
        raise ValueError(f"{name} must be {', '.join(choices[:-1])} or {choices[-1]}, got {value!r}.")
