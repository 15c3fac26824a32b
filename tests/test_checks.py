"""Checks of settings: what each lets pass, and its one sentence about the rest."""

import math
from collections.abc import Callable
from typing import Any

import pytest

from asim_lightning.checks import check_choice, check_flag, check_number, check_whole

SHAPES = ("linear", "cosine")
REFUSED: list[tuple[Callable[..., Any], tuple[Any, ...], str]] = [
    (check_choice, ("linaer", SHAPES), "must be one of linear, cosine, got 'linaer'; did you mean linear?"),
    (check_choice, ("step", SHAPES), "must be one of linear, cosine, got 'step'"),
    (check_choice, ([], SHAPES), "must be one of linear, cosine, got []"),
    (check_whole, (0, 1), "must be 1 or more, got 0"),
    (check_whole, (4, 1, 3, " or null"), "must be 1..3 or null, got 4"),
    *((check_whole, (value, 1), f"must be 1 or more, got {value}") for value in (True, 2.0, None)),
    *((check_number, (value,), f"must be 0 or more, got {value!r}") for value in (-0.1, math.inf, True, "1", None)),
    (check_number, (math.nan,), "must be 0 or more, got nan"),
    (check_number, (101, 100), "must be 0..100, got 101"),
    (check_number, (-2, 0.5, -1.5, " or null"), "must be -1.5..0.5 or null, got -2"),
    *((check_flag, (value,), f"must be true or false, got {value!r}") for value in (0, 1, None, "true")),
]


@pytest.mark.parametrize(("check", "given", "message"), REFUSED, ids=lambda each: getattr(each, "__name__", str(each)))
def test_what_is_refused(check: Callable[..., Any], given: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=r"^`x` ") as error:
        check("`x`", *given)
    assert str(error.value) == f"`x` {message}"


def test_what_is_allowed_passes() -> None:
    check_choice("`shape`", "cosine", SHAPES)
    check_flag("`x`", False)
    for value in (1, 3):
        check_whole("`n`", value, 1, 3)
    for number in (0, 0.5, 100.0):
        check_number("`x`", number, 100)
