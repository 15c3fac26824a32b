"""Picture and text of yields."""

import numpy as np
import pytest

from asim_lightning.evaluation.chip_yield import ChipYield
from asim_lightning.evaluation.interval import Interval
from asim_lightning.evaluation.target import Target
from asim_lightning.report.curves import MOST_CURVES
from asim_lightning.report.yield_figure import yield_figure
from asim_lightning.report.yield_table import yield_text


def chips(rights: list[int], stopped: bool = False, images: int = 100, reads: int = 1, **axes: object) -> ChipYield:
    right = np.repeat(np.array(rights)[:, None], reads, axis=1)
    mean = float(right.mean()) / images
    return ChipYield(axes, tuple(range(len(rights))), right, images, Interval(mean, mean, mean), stopped)


def steps(found: list[ChipYield], **options: object) -> list[tuple[str, list[float], list[float]]]:
    plot = yield_figure(found, "title", **options).axes[0]
    return [(str(line.get_label()), list(line.get_xdata()), list(line.get_ydata())) for line in plot.lines]


def test_the_curve_has_the_share_of_chips_up_to_each_accuracy() -> None:
    (label, x, y), (reference, *_), *_ = steps([chips([80, 90, 90, 95])], references={"quantized": 0.92})
    assert label == "simulated"
    assert x[1:-1] == pytest.approx([80, 90, 95])  # drawn from the right: at 90 it is 0.75, above it 0.25
    assert y == [1.0, 1.0, 0.75, 0.25, 0.0]
    assert reference == "quantized 92.00 %"


def test_the_band_is_that_of_the_yield() -> None:
    found = chips([90] * 45 + [80] * 5)
    (band,) = yield_figure([found], "title").axes[0].collections
    heights = {round(float(y), 3) for y in band.get_paths()[0].vertices[:, 1]}
    assert {0.782, 0.967, 0.929, 0.071} <= heights


def test_each_combination_has_a_curve_and_what_they_share_is_in_the_headline() -> None:
    found = [chips([90, 91], random_noise=noise, rows=64) for noise in (0, 0.1)]
    assert [label for label, *_ in steps(found)] == ["random noise 0 %", "random noise 0.1 %"]
    plot = yield_figure(found, "title").axes[0]
    assert plot.get_title() == "title, rows 64"
    assert plot.get_ylabel() == "share of 2 chips at least so accurate"
    found[1] = chips([90, 91, 92], random_noise=0.1, rows=64)
    assert [label for label, *_ in steps(found)] == ["random noise 0 % (2 chips)", "random noise 0.1 % (3 chips)"]


def test_of_many_curves_some_are_drawn_and_it_says_so() -> None:
    figure = yield_figure([chips([80 + n, 90], rows=n) for n in range(1, 13)], "title")
    assert len(figure.axes[0].lines) == MOST_CURVES
    assert f"{MOST_CURVES} of 12 curves" in figure.get_supxlabel()


def test_the_note_says_what_the_band_is() -> None:
    fixed, stopped = (yield_figure([chips([90, 91], stopped)], "t").get_supxlabel() for stopped in (False, True))
    assert fixed == "bands: 95 % at each accuracy (Clopper-Pearson); a whole curve: within 0.96 (DKW)"
    assert stopped == "bands: at each accuracy, each end holds with 95 % at any number of chips"


def test_a_threshold_far_away_does_not_press_the_curve_together() -> None:
    plot = yield_figure([chips([90, 91, 92])], "t", thresholds=[0.91, 0.3]).axes[0]
    assert plot.get_xlim()[0] > 80
    assert [text.get_text() for text in plot.texts] == ["91"]


def test_chips_that_are_all_alike_are_drawn() -> None:
    for right in (0, 50, 100):
        left, end = yield_figure([chips([right, right])], "t").axes[0].get_xlim()
        assert left < end


def test_the_text_tells_these_images_from_all() -> None:
    text = yield_text([chips([90] * 45 + [89] * 5)], [0.9], None)
    assert "          90    45 of 50  0.900   [0.782, 0.967]" in text
    assert "lies within 0.192 of the one drawn" in " ".join(text.split())
    assert "answer" not in text


def test_several_reads_have_a_spread_of_their_own() -> None:
    text = " ".join(yield_text([chips([90, 92], reads=3)], [0.9], None).split())
    assert "as the mean of 3 reads" in text
    assert "read noise taken out" in text


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
