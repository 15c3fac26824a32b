"""Picture and text of yields."""

import numpy as np
import pytest

from asim_lightning.evaluation.chip_yield import ChipYield
from asim_lightning.evaluation.interval import Interval
from asim_lightning.evaluation.results import Result
from asim_lightning.evaluation.target import Target
from asim_lightning.report.picture import MOST_CURVES
from asim_lightning.report.yields import chips_picture, yield_picture, yield_text


def chips(rights: list[int], stopped: bool = False, images: int = 100, reads: int = 1, **axes: object) -> ChipYield:
    right = np.repeat(np.array(rights)[:, None], reads, axis=1)
    mean = float(right.mean()) / images
    return ChipYield(axes, tuple(range(len(rights))), right, images, Interval(mean, mean, mean), stopped)


def test_the_curve_has_the_share_of_chips_up_to_each_accuracy() -> None:
    picture = yield_picture([chips([80, 90, 90, 95])], quantized=0.92)
    (curve,) = picture.series
    assert (curve.name, curve.form) == ("simulated", "step")
    assert list(curve.x) == pytest.approx([0, 80, 90, 95, 100])  # at 90 it is 0.75, above it 0.25
    assert list(curve.y) == [1.0, 1.0, 0.75, 0.25, 0.0]
    assert [mark.name for mark in picture.marks] == ["quantized 92.00 %"]


def test_the_band_is_that_of_the_yield() -> None:
    (curve,) = yield_picture([chips([90] * 45 + [80] * 5)]).series
    assert {0.782, 0.929, 0.0} <= {round(low, 3) for low in curve.low}
    assert {0.967, 0.071, 1.0} <= {round(high, 3) for high in curve.high}


def test_each_combination_has_a_curve_and_what_they_share_is_in_the_headline() -> None:
    found = [chips([90, 91], random_noise=noise, rows=64) for noise in (0, 0.1)]
    picture = yield_picture(found)
    assert [each.name for each in picture.series] == ["random noise 0 %", "random noise 0.1 %"]
    assert (picture.title, picture.y.label) == ("Yield, rows 64", "share of 2 chips at least so accurate")
    found[1] = chips([90, 91, 92], random_noise=0.1, rows=64)
    names = [each.name for each in yield_picture(found).series]
    assert names == ["random noise 0 % (2 chips)", "random noise 0.1 % (3 chips)"]


def test_the_note_says_what_the_band_is() -> None:
    fixed, stopped = (yield_picture([chips([90, 91], stopped)]).note for stopped in (False, True))
    assert fixed.endswith("a whole curve: within 0.96 (DKW)")
    assert "at any number of chips" in stopped
    many = yield_picture([chips([80 + n, 90], rows=n) for n in range(1, 13)])
    assert len(many.series) == MOST_CURVES
    assert f"{MOST_CURVES} of 12 curves" in many.note


def test_a_threshold_far_away_does_not_press_the_curve_together() -> None:
    picture = yield_picture([chips([90, 91, 92])], thresholds=[0.91, 0.3])
    assert picture.x.ends is not None
    assert picture.x.ends[0] > 80
    assert [mark.name for mark in picture.marks] == ["a good chip: from 91 %"]


def test_chips_that_are_all_alike_are_drawn() -> None:
    for right in (0, 50, 100):
        left, end = yield_picture([chips([right, right])]).x.ends  # type: ignore[misc]
        assert left < end


OFFSET, CELLS = {"offset": "0.09 lsb"}, {"cell_mismatch": "3 %", "stuck_at_1": 1e-4}


def chip(number: int, accuracy: float, **axes: object) -> Result:
    return Result({**axes, "chip": number}, "simulated", 1, 100, accuracy, accuracy, accuracy, 1, "")  # type: ignore[dict-item]


ROWS = [
    Result({}, "float", 1, 100, 0.9, 0.9, 0.9, 1, ""),
    Result({}, "quantized", 1, 100, 0.9, 0.9, 0.9, 1, ""),
    *(chip(number, share, static=OFFSET, rows=64) for number, share in enumerate((0.8, 0.6, 0.7))),
    *(chip(number, share, static=CELLS, rows=64) for number, share in enumerate((0.5, 0.3))),
]


def test_chips_are_dots_with_the_mean_of_each_group_and_thresholds() -> None:
    picture = chips_picture(ROWS, "title", (0.75, 0.55))
    means, dots = picture.series
    assert (dots.form, list(dots.y)) == ("points", pytest.approx([60, 70, 80, 30, 50]))
    assert list(dots.x[:3]) == sorted(dots.x[:3])
    assert [y for y in means.y if y == y] == pytest.approx([70, 70, 40, 40])
    assert picture.x.names == [
        "offset 0.09 lsb\nmean 70.00 %", "cell mismatch 3 %, stuck at 1 0.0001\nmean 40.00 %",
    ]  # fmt: skip
    assert [(mark.name, mark.at) for mark in picture.marks] == [
        ("float and quantized 90.00 %", 90), ("a good chip: from 55, 75 %", pytest.approx(55)), ("", 75),
    ]  # fmt: skip
    assert chips_picture([chip(3, 0.5), chip(1, 0.7)], "title").x.names == ["2 chips\nmean 60.00 %"]


def test_the_text_tells_these_images_from_all() -> None:
    text = yield_text([chips([90] * 45 + [89] * 5)], [0.9], None)
    assert "          90    45 of 50  0.900   [0.782, 0.967]" in text
    assert "lies within 0.192 of the drawn curve" in " ".join(text.split())
    assert "answer" not in text


@pytest.mark.parametrize(
    ("rights", "said"),
    [
        ([95] * 88, "yes, at least 0.950, after 88 chips with 88 good on these 100 images"),
        ([80] * 9, "no, at most 0.3"),
        ([95] * 20, "undecided at the limit, 0.8"),
    ],
)
def test_the_answer_is_the_sequences(rights: list[int], said: str) -> None:
    text = yield_text([chips(rights, stopped=True, rows=64)], [0.9], Target("yield", 0.95, accuracy=0.9))
    assert f"answer   yield 0.95 at 90 %, rows 64: {said}" in text
    assert "Clopper" not in text
    assert "DKW" not in text
