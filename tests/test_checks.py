"""Checks of settings: what each lets pass, and its one sentence about the rest."""

import math

import pytest

from asim_lightning.checks import check_at_least, check_choice, check_flag, check_number, check_whole

SHAPES = ("linear", "cosine")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("linaer", r"^`shape` must be one of linear, cosine, got 'linaer'; did you mean linear\?$"),
        ("step", r"^`shape` must be one of linear, cosine, got 'step'$"),
        (None, r"^`shape` must be one of linear, cosine, got None$"),
        ([], r"^`shape` must be one of linear, cosine, got \[\]$"),
    ],
)
def test_a_name_that_is_no_choice(value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_choice("`shape`", value, SHAPES)


@pytest.mark.parametrize(
    ("value", "high", "also", "message"),
    [
        (0, None, "", "^`n` must be 1 or more, got 0$"),
        (4, 3, " or null", r"^`n` must be 1\.\.3 or null, got 4$"),
        (True, None, "", "^`n` must be 1 or more, got True$"),
        (2.0, None, "", r"^`n` must be 1 or more, got 2\.0$"),
        (None, None, "", "^`n` must be 1 or more, got None$"),
    ],
)
def test_no_whole_number_of_the_range(value: object, high: int | None, also: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_whole("`n`", value, 1, high, also)


@pytest.mark.parametrize("value", [-0.1, math.inf, math.nan, True, "1", None])
def test_no_number_of_the_range(value: object) -> None:
    with pytest.raises(ValueError, match=r"^`x` must be 0 or more, got "):
        check_number("`x`", value)


def test_a_number_above_its_range() -> None:
    with pytest.raises(ValueError, match=r"^`x` must be 0\.\.100, got 101$"):
        check_number("`x`", 101, 100)


@pytest.mark.parametrize("value", [0, 1, None, "true"])
def test_no_flag(value: object) -> None:
    with pytest.raises(ValueError, match=r"^`x` must be true or false, got "):
        check_flag("`x`", value)


def test_null_in_place_of_a_count() -> None:
    with pytest.raises(ValueError, match=r"^batch_size must be at least 1, got null\.$"):
        check_at_least("batch_size", None, 1)


def test_what_is_allowed_passes() -> None:
    check_choice("`shape`", "cosine", SHAPES)
    check_flag("`x`", False)
    for value in (1, 3):
        check_whole("`n`", value, 1, 3)
    for number in (0, 0.5, 100.0):
        check_number("`x`", number, 100)
    check_at_least("batch_size", 1, 1)
