"""Numbers in words, and counts of right answers in the table and in results.csv."""

import pytest

from asim_lightning.evaluation.results import Result
from asim_lightning.report.numbers import count_text, duration, rate
from asim_lightning.report.results_table import results_table
from asim_lightning.table import short


@pytest.mark.parametrize(
    ("right", "images", "text"),
    [
        ([18], 20, "18 of 20 images"),
        ([1845], 2000, "1,845 of 2,000 images"),
        ([17, 18], 20, "17.5 of 20 images, 17 to 18 in 2 reads"),
        ([16, 18, 17], 20, "17 of 20 images, 16 to 18 in 3 reads"),
        ([18, 18], 20, "18 of 20 images, 18 in 2 reads"),
        ([0], 1, "0 of 1 images"),
    ],
)
def test_count_text(right: list[int], images: int, text: str) -> None:
    assert count_text(right, images) == text


def point(images: int, right: tuple[int, ...]) -> Result:
    return Result({}, "simulated", 2, images, 0.875, 0.5, 1.0, 1.0, "events", right)


def test_the_table_counts_where_images_are_few() -> None:
    head, _, row = str(results_table([point(20, (17, 18))])).splitlines()
    assert head.endswith("  seconds  algorithm  right")
    assert row.endswith("      1.0  events     17.5 of 20 (17 to 18)")
    for rows in ([point(100, (87, 88))], [point(20, ())], [point(20, (17, 18)), point(20, ())]):
        assert "right" not in str(results_table(rows))


@pytest.mark.parametrize(
    ("seconds", "text", "rounded"),
    [
        (0.0123, "12 ms", "12 ms"),
        (1, "1.0 s", "1 s"),
        (42, "42.0 s", "42 s"),
        (119.94, "119.9 s", "120 s"),
        (300, "5.0 min", "5 min"),
        (7199, "120.0 min", "120 min"),
        (7560, "2.1 h", "2.1 h"),
        (302_400, "3.5 days", "3.5 days"),
    ],
)
def test_durations(seconds: float, text: str, rounded: str) -> None:
    assert (duration(seconds), duration(seconds, 0)) == (text, rounded)


def test_three_figures() -> None:
    assert [short(value) for value in (0.128, 12.34, 1234.5)] == ["0.13", "12.3", "1,234"]
    assert [rate(value) for value in (None, 8e6, 2.74e12)] == ["-", "8.00e6", "2.74e12"]
