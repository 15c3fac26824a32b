"""A target is read as it is written, in one grammar, and decided by bounds."""

import json
import time
from dataclasses import asdict, replace

import numpy as np
import pytest

from asim_lightning.evaluation.interval import Interval
from asim_lightning.evaluation.measure import Measure
from asim_lightning.evaluation.notes import images_needed, near_notes
from asim_lightning.evaluation.results import Decision, Result
from asim_lightning.evaluation.target import Target, decide, pareto, target_texts

UNTIL = ("accuracy", "width", "yield")


def result(accuracy: float, energy: float, noise: float = 0.1, **more: object) -> Result:
    figures = {"energy_uj": energy, "latency_ms": 1.0}
    return Result(
        {"random_noise": noise}, "simulated", 1, 400, accuracy, accuracy - 0.02, accuracy + 0.02, 1.0, "exact",
        figures=figures, **more,  # type: ignore[arg-type]
    )  # fmt: skip


@pytest.mark.parametrize(
    "text",
    ["accuracy 99 % of quantized", "accuracy 99.5 % of float", "accuracy 88 %", "accuracy within 2 %", "energy 2 uJ",
     "latency 5 ms", "yield 0.9 at 85 %", "loss 2.1", "mean log p -0.3", "loss within 1 % of quantized"],
)  # fmt: skip
def test_targets_are_read(text: str) -> None:
    assert str(Target.read(text, "`x`")) == text


@pytest.mark.parametrize(
    ("text", "as_written"),
    [("88 %", "accuracy 88 %"), ("99 % of the quantized", "accuracy 99 % of quantized"),
     ("energy 500 nJ", "energy 0.5 uJ"), ("latency 2 s", "latency 2000 ms"),
     ("yield 95 % at 90 %", "yield 0.95 at 90 %"),
     ("energy 1e3 mJ", "energy 1000000 uJ"), ("accuracy 88.12345 %", "accuracy 88.12345 %"),
     ("accuracy within 1 % of quantized", "accuracy 99 % of quantized"),
     ("accuracy 0.02", "accuracy within 2 %"), (" accuracy  90%", "accuracy 90 %")],
)  # fmt: skip
def test_ways_to_write_the_same(text: str, as_written: str) -> None:
    assert str(Target.read(text, "`x`")) == as_written
    assert str(Target.read(as_written, "`x`")) == as_written


@pytest.mark.parametrize(
    "text",
    ["", "acuracy 99 %", "accuracy", "accuracy many %", "accuracy 120 %", "accuracy 0 %", "accuracy 9.0.5 %",
     "accuracy 99 % of analog", "accuracy within 60 %", "energy 2", "energy -2 uJ",
     "loss within 1 % of analog", "loss within 2.1 of float", "loss within 101 % of float", "latency 5 pJ",
     "energy 2 uJ at 85 %", "yield 2 at 85 %", "yield 0.9", "yield 1 at 85 %", 3, None],
)  # fmt: skip
def test_what_is_no_target(text: object) -> None:
    with pytest.raises(ValueError, match=r"in `x` must|`x` must"):
        Target.read(text, "`x`")  # type: ignore[arg-type]


def test_a_setting_takes_some_forms_only() -> None:
    with pytest.raises(ValueError, match=r"`until` must be as in 'accuracy 88 %', 'accuracy within 2 %' .*2 uJ'$"):
        Target.read("energy 2 uJ", "`until`", UNTIL)


def test_decisions_by_an_interval() -> None:
    assert decide(Interval(0.92, 0.90, 0.94), 0.9, 400).verdict == "kept"
    assert decide(Interval(0.86, 0.84, 0.88), 0.9, 400).verdict == "missed"
    for mean in (0.91, 0.89):
        found = decide(Interval(mean, mean - 0.02, mean + 0.02), 0.9, 400, 2000)
        assert (found.verdict, found.images) == ("undecided", 1600)  # the interval must be half as wide
        assert str(found) == "undecided (1,600 images)"
    more = decide(Interval(*np.array([0.9, 0.88, 0.92])), 0.9, 400, 2000)
    assert json.loads(json.dumps(asdict(more))) == asdict(more)
    assert {type(each) for each in (more.mean, more.low, more.high, more.threshold)} == {float}
    assert more == decide(Interval(0.91, 0.89, 0.93), 0.9, 800, 2000) == Decision("undecided", 2000, is_over=True)
    assert str(more) == "undecided (over 2,000 images)"
    assert str(decide(Interval(0.91, 0.89, 0.93), 0.9, 400)) == "undecided"
    assert images_needed([found, more]) == "2,000 images are too few to decide all of them"
    assert images_needed([found, Decision("undecided", 900)]) == "about 1,600 images would decide all of them"
    assert images_needed([more, Decision("undecided")]) == ""


def test_a_share_is_decided_by_pairs() -> None:
    quantized = Result({}, "quantized", 1, 400, 0.92, 0.90, 0.94, 1.0, "exact")
    target = Target.read("accuracy 99 % of quantized", "`x`")
    close = Interval(-0.002, -0.004, 0.0)
    found = target.decide(result(0.918, 1, difference=close), quantized, 400)
    assert (found.verdict, found.mean, found.low, found.high) == ("kept", -0.002, -0.004, 0.0)
    assert found.threshold == pytest.approx(-0.01 * 0.92)
    assert target.decide(result(0.918, 1), quantized, 400).verdict == "undecided"  # without pairs
    assert target.decide(result(0.88, 1), quantized, 400).verdict == "undecided"
    assert target.decide(result(0.80, 1), quantized, 400).verdict == "missed"
    with pytest.raises(ValueError, match="needs a point of kind float"):
        Target.read("accuracy 99 % of float", "`x`").decide(result(0.9, 1), None)


LOSS = Measure("loss", "number", more_is_better=False)


def of_loss(loss: float, half: float = 0.1, **more: object) -> Result:
    ends = loss, loss - half, loss + half
    return Result({}, "simulated", 1, 400, *ends, 1.0, "exact", measure=LOSS, **more)  # type: ignore[arg-type]


def test_targets_on_a_loss_are_bounds_from_above() -> None:
    absolute = Target.read("loss 2.1", "`x`")
    decided = [absolute.decide(of_loss(loss), None, 2000) for loss in (1.9, 2.05, 2.15, 2.3)]
    assert [each.verdict for each in decided] == ["kept", "undecided", "undecided", "missed"]
    assert [each.images for each in decided[1:3]] == pytest.approx([1600, 1600], abs=1)
    assert decided[0].margin == pytest.approx(0.2)
    within = Target.read("loss within 1 % of quantized", "`x`")
    quantized = of_loss(2.0)
    for change, verdict in (0.01, "kept"), (0.018, "undecided"), (0.03, "missed"):
        found = within.decide(of_loss(2.0, difference=Interval(change, change - 0.005, change + 0.005)), quantized)
        assert (found.verdict, found.threshold) == (verdict, pytest.approx(0.02))
    alone = [within.decide(of_loss(loss, half=0.001), of_loss(2.0, half=0.001)).verdict for loss in (2.01, 2.02, 2.03)]
    assert alone == ["kept", "undecided", "missed"]  # without pairs
    none = within.decide(of_loss(2.0, difference=Interval(0.0, -np.inf, np.inf, 0)), quantized, 400)
    assert (none.verdict, none.images, none.is_over, none.differing) == ("undecided", 400, True, 0)
    more = Measure("score", "number")
    low = Result({}, "quantized", 1, 400, -2.0, -2.1, -1.9, 1.0, "exact", measure=more)
    score = Target.read("score within 10 % of quantized", "`x`")
    for change, verdict in (-0.1, "kept"), (-0.3, "missed"):
        point = replace(low, difference=Interval(change, change - 0.05, change + 0.05))
        assert score.decide(point, low).verdict == verdict


PERPLEXITY = Measure("perplexity", "exponential", more_is_better=False)


def of_perplexity(perplexity: float, factor: float = 1.1, **more: object) -> Result:
    ends = (np.log(each) for each in (perplexity, perplexity / factor, perplexity * factor))
    return Result({}, "simulated", 1, 400, *ends, 1.0, "exact", measure=PERPLEXITY, **more)  # type: ignore[arg-type]


def test_targets_on_a_perplexity_are_bounds_of_its_logarithm() -> None:
    absolute = Target.read("perplexity 25", "`x`")
    decided = [absolute.decide(of_perplexity(each), None, 2000) for each in (22.0, 24.0, 26.0, 28.0)]
    assert [each.verdict for each in decided] == ["kept", "undecided", "undecided", "missed"]
    assert decided[0].threshold == pytest.approx(np.log(25))
    within, quantized = Target.read("perplexity within 10 % of quantized", "`x`"), of_perplexity(20.0)
    for change, verdict in (0.08, "kept"), (0.099, "undecided"), (0.12, "missed"):
        ends = np.log([1 + change, 1 + change - 0.01, 1 + change + 0.01])
        found = within.decide(of_perplexity(20.0, difference=Interval(*ends)), quantized)
        assert (found.verdict, found.threshold) == (verdict, pytest.approx(np.log(1.1)))
    alone = [within.decide(of_perplexity(each, 1.001), of_perplexity(20.0, 1.001)).verdict for each in (21.9, 22, 22.1)]
    assert alone == ["kept", "undecided", "missed"]  # without pairs
    assert np.exp(within.least_of(quantized)) == pytest.approx(22.0)
    assert str(within) == "perplexity within 10 % of quantized"
    with pytest.raises(ValueError, match="`x` must be a perplexity above 0, got 'perplexity 0'"):
        target_texts("x", ["perplexity 0"], PERPLEXITY)


def test_targets_are_on_the_outcome() -> None:
    share = Measure("mean IoU")
    assert target_texts("x", ["mean IoU 50 %", "energy 2 uJ"], share) == ["accuracy 50 %", "energy 2 uJ"]
    assert target_texts("x", ["loss 2.1", "energy 2 uJ"], LOSS) == ["loss 2.1", "energy 2 uJ"]
    for texts, measure in (
        (["loss 99 % of quantized"], LOSS),
        (["loss within 10 %"], LOSS),
        (["accuracy 88 %"], LOSS),
        (["loss 2.1"], share),
        (["yield 0.9 at 85 %"], LOSS),
    ):
        with pytest.raises(ValueError, match=f"`x` must be on the outcome {measure.name}, as in '{measure.name} "):
            target_texts("x", texts, measure)


def test_targets_near_the_quantized_network_are_said() -> None:
    quantized = Result({}, "quantized", 1, 400, 0.92, 0.90, 0.94, 1.0, "exact")
    texts = ["accuracy 91 %", "yield 0.9 at 90 %", "accuracy 89.9 %", "accuracy 99 % of quantized", "energy 0.92 uJ"]
    (said,) = near_notes([Target.read(each, "`x`") for each in texts], [quantized])
    assert said.startswith("90 % and 91 % are within 2 points of the quantized network's 92.00 % on these 400 images")
    assert near_notes([Target.read("accuracy 89 %", "`x`")], [quantized]) == []


def test_energy_and_yields() -> None:
    for energy, verdict in (1.99, "kept"), (2.0, "kept"), (2.00001, "missed"), (np.inf, "missed"), (np.nan, "missed"):
        assert Target.read("energy 2 uJ", "`x`").decide(result(0.9, energy), None, 400).verdict == verdict
    over = Target.read("energy 2 uJ", "`x`").decide(result(0.9, 3.0), None)
    assert over.mean - over.threshold == -0.5
    chips = Result({}, "simulated", 20, 400, 0.9, 0.88, 0.92, 1.0, "exact",
                   figures={"yield": 0.95, "yield_low": 0.75, "yield_high": 0.99})  # fmt: skip
    decided = [
        str(Target.read(f"yield {share} at 85 %", "`x`").decide(chips, None, 400)) for share in (0.7, 0.9, 0.995)
    ]
    assert decided == ["kept", "undecided", "missed"]


@pytest.mark.parametrize("text", ["accuracy 50 %", "accuracy within 20 %"])
def test_images_end_where_a_target_is_answered(text: str) -> None:
    target = Target.read(text, "`x`")
    correct = np.ones(400, dtype=bool)
    seen = target.images(correct, 400)
    assert seen is not None
    assert seen < 100
    assert target.answer(seen, seen, 400)
    assert target.answer(seen // 2, seen // 2, 400) is None
    assert target.images(correct[: seen - 1], 400) is None


def test_all_images_end_every_target() -> None:
    assert Target.read("accuracy 90 %", "`x`").answer(100, 200, 400) is False
    assert Target.read("accuracy within 1 %", "`x`").images(np.arange(40) % 2 == 0, 40) == 40


def test_a_front_of_thousands_takes_no_time() -> None:
    start = time.perf_counter()
    points = [result(0.1 + place / 2500, place) for place in range(2000)]
    assert len(pareto(points, ("accuracy", "energy"))) == 2000
    assert time.perf_counter() - start < 3


@pytest.mark.parametrize(
    "plain", ["accuracy 88 %", "accuracy 99 % of float", "yield 0.9 at 85 %", "energy 2 uJ", "loss 0.3"]
)
def test_a_target_at_every_corner_is_the_plain_one_at_its_worst(plain: str) -> None:
    one, every = Target.read(plain, "x"), Target.read(f"{plain}  at every  corner", "x")
    assert every == replace(one, every_corner=True) != one
    assert str(every) == f"{plain} at every corner"
    assert Target.read(str(every), "x") == every
    with pytest.raises(ValueError, match="must be as in"):
        Target.read(f"{plain} at every corner at every corner of it", "x")
