"""Checks of settings: each refuses a value in one sentence that says what is allowed and what was given."""

import math
import numbers
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from difflib import get_close_matches
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Config = TypeVar("Config", bound=DataclassInstance)


def check_choice(name: str, value: Any, allowed: Sequence[str]) -> None:
    """Refuse a value that is not among the allowed names.

    Args:
        name: What the user calls the setting, such as "`model.fidelity`".
        value: What was given.
        allowed: The allowed names.

    Raises:
        ValueError: The value is not among them; the nearest name is given where one is near.
    """
    if value not in allowed:
        near = get_close_matches(value, allowed, n=1) if isinstance(value, str) else []
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}{hint}")


def check_flag(name: str, value: Any) -> None:
    """Refuse a value that is neither True nor False.

    Args:
        name: What the user calls the setting.
        value: What was given.

    Raises:
        ValueError: The value is something else, 0 and 1 included.
    """
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false, got {value!r}")


def check_whole(name: str, value: Any, low: int, high: int | None = None, also: str = "") -> None:
    """Refuse a value that is not a whole number in a range.

    Args:
        name: What the user calls the setting, such as "`model.trial`".
        value: What was given.
        low: Smallest allowed number.
        high: Largest allowed number; None: no limit.
        also: Words for what else the setting takes, such as " or null", which the caller has ruled out.

    Raises:
        ValueError: The value is not a whole number, or is out of range.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < low or (high is not None and value > high):
        allowed = f"{low} or more" if high is None else f"{low}..{high}"
        raise ValueError(f"{name} must be {allowed}{also}, got {value!r}")


def check_number(name: str, value: Any, high: float | None = None) -> None:
    """Refuse a value that is not a finite number of 0 or more, or of 0..high.

    Args:
        name: What the user calls the setting, such as "`model.mixup`".
        value: What was given.
        high: Largest allowed number; None: no limit.

    Raises:
        ValueError: The value is not a number, or is out of range.
    """
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not number or value < 0 or (high is not None and value > high):
        allowed = "0 or more" if high is None else f"0..{high:g}"
        raise ValueError(f"{name} must be {allowed}, got {value!r}")


def check_at_least(name: str, value: int | None, low: int) -> None:
    """Refuse a whole number that is too small, or null, which YAML may hold in its place.

    Args:
        name: What the user calls the setting.
        value: What was given.
        low: Smallest allowed number.

    Raises:
        ValueError: The value is null or below `low`.
    """
    if value is None or value < low:
        raise ValueError(f"{name} must be at least {low}, got {'null' if value is None else value}.")


def check_names(given: Iterable[Any], kind: "type[DataclassInstance]", where: str, what: str) -> None:
    """Refuse names that are no field of a dataclass.

    Args:
        given: The names.
        kind: The dataclass.
        where: What the user calls the dataclass, such as "macro".
        what: What a name should be, such as "field of a macro".

    Raises:
        ValueError: A name is no field; the nearest fields are given.
    """
    names = [each.name for each in fields(kind)]
    for name in given:
        if name not in names:
            near = get_close_matches(str(name), names, n=2, cutoff=0.4) or names
            raise ValueError(f"`{where}.{name}` is no {what}, nearest: {', '.join(near)}")


def named_fields(where: str, what: str) -> "Callable[[type[Config]], type[Config]]":
    """Decorator of a dataclass whose constructor refuses unknown names as `check_names` does; see there."""

    def decorated(kind: "type[Config]") -> "type[Config]":
        build = kind.__init__

        @wraps(build)
        def init(self: "Config", *args: Any, **values: Any) -> None:
            check_names(values, kind, where, what)
            build(self, *args, **values)

        kind.__init__ = init  # type: ignore[method-assign, assignment]
        return kind

    return decorated


def take_numpy_numbers(config: "DataclassInstance") -> None:
    """Turn numbers of numpy among the fields of a frozen dataclass into Python's, which they are as good as."""
    for field in fields(config):
        value = getattr(config, field.name)
        if isinstance(value, numbers.Integral) and not isinstance(value, (bool, int)):
            object.__setattr__(config, field.name, int(value))
        elif isinstance(value, numbers.Real) and not isinstance(value, (bool, int, float)):
            object.__setattr__(config, field.name, float(value))
