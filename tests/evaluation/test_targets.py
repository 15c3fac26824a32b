"""What a search must keep is read as it is written, and decided by bounds."""

import pytest

from asim_lightning.evaluation.interval import Interval
from asim_lightning.evaluation.targets import Decision, Target, decide, images_needed


@pytest.mark.parametrize(
    "text", ["accuracy 99 % of quantized", "accuracy 88 %", "energy 2 uJ", "latency 5 ms", "yield 0.9 at 85 %"]
)
def test_targets_are_read(text: str) -> None:
    assert str(Target.read(text)) == text


def test_units() -> None:
    assert Target.read("energy 500 nJ").value == pytest.approx(0.5)
    assert Target.read("latency 2 s").value == 2000


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("acuracy 99 %", r"must be as in 'accuracy 99 % of quantized'.*nearest: accuracy"),
        ("accuracy", r"must be as in .*, got 'accuracy'$"),
        (
            "accuracy within 1 % of quantized",
            r"'accuracy 99 % of quantized' \(a share of quantized or float\), 'accuracy 88 %', 'energy 2 uJ', "
            r"'latency 5 ms' or 'yield 0.9 at 85 %' \(a share of chips at an accuracy\), got '[^']+'$",
        ),
        ("accuracy 0.99", r"takes an accuracy in percent above 0.*got 'accuracy 0.99'"),
        ("accuracy 120 %", "takes an accuracy in percent above 0"),
        ("accuracy 99 % of analog", "takes an accuracy of float or quantized, got 'accuracy 99 % of analog'"),
        ("energy 2", "takes a positive energy with a unit of pJ, nJ, uJ, mJ, as in 'energy 2 uJ', got 'energy 2'"),
        ("latency 5 pJ", "takes a positive latency with a unit of us, ms, s"),
        ("accuracy many %", "must be as in"),
        ("accuracy 101 % of quantized", "takes an accuracy in percent above 0"),
        ("energy inf uJ", "takes a positive energy with a unit"),
        ("energy 2 uJ at 85 %", "takes 'at' for a yield alone"),
        ("yield 2 at 85 %", "must be between 0 and 1"),
        (3, "must be as in .*, got 3"),
    ],
)
def test_what_is_no_target(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Target.read(text)


def test_decisions() -> None:
    assert decide(Interval(0.92, 0.90, 0.94), 0.9, 400).verdict == "kept"
    assert decide(Interval(0.86, 0.84, 0.88), 0.9, 400).verdict == "missed"
    above = decide(Interval(0.91, 0.89, 0.93), 0.9, 400, 2000)
    assert (above.verdict, above.images) == ("undecided", 1600)  # the interval must be half as wide
    below = decide(Interval(0.89, 0.87, 0.91), 0.9, 400, 2000)
    assert (below.verdict, below.images) == ("undecided", 1600)
    at_it = decide(Interval(0.9, 0.88, 0.92), 0.9, 400, 2000)
    assert at_it == decide(Interval(0.91, 0.89, 0.93), 0.9, 800, 2000) == Decision("undecided", 2000, is_over=True)
    assert str(at_it) == "undecided (over 2,000 images)"
    assert decide(Interval(0.91, 0.89, 0.93), 0.9, 400) == Decision("undecided")  # as of chips
    assert images_needed([above, at_it]) == "more than the 2,000 images there are"
    assert images_needed([above, below, Decision("undecided", 900)]) == "about 1,600 images"
    assert images_needed([at_it, Decision("undecided")]) == ""
    assert str(above) == "undecided (1,600 images)"
    assert str(decide(Interval(0.92, 0.90, 0.94), 0.9, 400)) == "kept"
