"""Pictures and tables of a mean outcome that is no share, and of which less is better."""

from dataclasses import replace
from math import inf, log, log1p

import pytest

from asim_lightning.evaluation.interval import Interval
from asim_lightning.evaluation.measure import Measure
from asim_lightning.evaluation.results import Kind, Result
from asim_lightning.evaluation.run import Run, result_rows
from asim_lightning.evaluation.target import Target
from asim_lightning.report.accuracy import accuracy_picture, drawn_lines, epoch_rows
from asim_lightning.report.draw import figure_of
from asim_lightning.report.results_table import Difference, differences_text, point_table
from asim_lightning.report.trade_off import trade_off_picture
from asim_lightning.report.verdict import choice_facts, choices, verdict
from asim_lightning.report.yields import chips_picture
from tests.report.runs import run

LOSS = Measure("loss", "number", more_is_better=False)


def of_loss(loss: float, kind: Kind = "simulated", **axes: float) -> Result:
    return Result(axes, kind, 1, 400, loss, 0.9 * loss, 1.1 * loss, 1.0, "native", measure=LOSS)


def of_bits() -> Run:
    """More bits cost more, and lose less."""
    points = [
        replace(of_loss(2.0 / bits, adc_bits=bits), figures={"energy_uj": 10.0 * bits, "latency_ms": 1.0})
        for bits in (4, 5, 8)
    ]
    return replace(run(points), results=(of_loss(0.2, "float"), of_loss(0.201, "quantized"), *points))


def test_the_trade_off_has_its_numbers_at_the_points() -> None:
    picture = trade_off_picture(replace(of_bits(), objectives=("accuracy", "energy_uj")))
    assert picture is not None
    assert [(x, y) for x, y, _ in picture.labels] == [(40, 0.5), (50, 0.4), (80, 0.25)]
    assert picture.y.label == "loss"


def test_references_are_where_they_are_and_have_no_chance() -> None:
    picture = accuracy_picture(of_bits().results, "adc_bits", num_classes=10)
    assert [(mark.name, mark.at) for mark in picture.marks] == [("float 0.2", 0.2), ("quantized 0.201", 0.201)]


def test_a_point_without_bounds_is_in_the_picture() -> None:
    unbounded = replace(of_loss(0.5, adc_bits=8), low=-inf, high=inf)
    picture = accuracy_picture([of_loss(0.2, "quantized"), unbounded], "adc_bits")
    assert picture.y.ends is not None
    low, high = picture.y.ends
    assert 0.1 < low < 0.2 < 0.5 < high < 0.6
    assert figure_of(picture).axes[0].get_ylim() == pytest.approx((low, high))


def test_the_best_has_the_least() -> None:
    given = replace(of_bits(), objectives=("accuracy", "energy_uj"))
    (found,) = choices(given)
    assert "ADC bits 8 (0.25 [0.225, 0.275], 80 µJ)" in choice_facts(given, found)[1]
    epochs = {epoch: [of_loss(loss, adc_bits=8)] for epoch, loss in ((1, 0.9), (2, 0.1), (3, 0.5))}
    assert epoch_rows(epochs, "val")[0][1].axes["epoch"] == "2 (best)"


def test_of_many_lines_those_with_the_least_are_drawn() -> None:
    rows = [
        of_loss(rows + bits / 10 + weight_bits / 100, adc_bits=bits, rows=rows, weight_bits=weight_bits)
        for bits in (4, 5)
        for rows in range(1, 8)
        for weight_bits in (1, 2)
    ]
    lines, _ = drawn_lines(rows, "adc_bits")
    assert {row.axes["weight_bits"] for _, line in lines for row in line} == {1}


def test_chips_and_changes_are_not_in_percent() -> None:
    picture = chips_picture([of_loss(0.3, chip=0), of_loss(0.5, chip=1)], "Title")
    mean, chips = picture.series
    assert (list(chips.y), picture.y.label) == ([0.5, 0.3], "loss")
    assert mean.y[0] == pytest.approx(0.4)
    text = differences_text("adc_bits", [Difference({}, 4, 5, Interval(-0.1, -0.2, 0.05))], LOSS)
    assert text.splitlines()[-1].split() == ["4", "5", "-0.1", "[-0.2,", "+0.05]"]
    shares = differences_text("rows", [Difference({"adc_bits": 8}, 0, 0.05, Interval(-0.025, -0.04, -0.01))])
    assert shares.splitlines()[-1].split() == ["8", "0", "0.05", "-2.50", "[-4.00,", "-1.00]"]


PERPLEXITY = Measure("perplexity", "exponential", more_is_better=False)


def of_perplexity(perplexity: float, change: float | None, kind: Kind = "simulated", **axes: float) -> Result:
    found = None if change is None else Interval(*map(log1p, (change, change - 0.01, change + 0.02)))
    ends = map(log, (perplexity, perplexity - 1, perplexity + 2))
    return Result(axes, kind, 1, 400, *ends, 1.0, "native", measure=PERPLEXITY, difference=found)


def test_a_perplexity_is_an_exponential_and_its_changes_are_in_percent() -> None:
    points = [of_perplexity(25.0, 0.25, adc_bits=6), of_perplexity(20.2, 0.01, adc_bits=8)]
    found = replace(run(points), results=(of_perplexity(20.0, None, "quantized"), *points))
    picture = accuracy_picture(found.results, "adc_bits")
    (line,) = picture.series
    assert (list(line.y), picture.y.label) == ([pytest.approx(25.0), pytest.approx(20.2)], "perplexity")
    assert [(mark.name, mark.at) for mark in picture.marks] == [("quantized 20", 20.0)]
    head, *rows = result_rows(found, ["adc_bits"])
    lines = [dict(zip(head, row, strict=True)) for row in rows]
    assert [lines[1][name] for name in ("accuracy", "low", "high")] == ["25.000000", "24.000000", "27.000000"]
    assert [lines[1][f"difference{end}"] for end in ("", "_low", "_high")] == ["0.250000", "0.240000", "0.270000"]
    target = Target.read("perplexity within 4 % of quantized", "`x`")
    assert verdict(found, target).startswith("perplexity within 4 % of quantized (20.8 of 20): ")
    assert "+25.00 [24.00, 27.00]" in str(point_table(found, target))
    shown = differences_text("adc_bits", [Difference({}, 6, 8, Interval(*map(log1p, (-0.2, -0.3, -0.1))))], PERPLEXITY)
    assert shown.splitlines()[-1].split() == ["6", "8", "-20.00", "[-30.00,", "-10.00]"]
    assert "change (%)" in shown


def test_words_for_an_accuracy() -> None:
    text = "Accuracy against noise. Kept at the accuracy. accuracy_vs_noise.csv in runs/accuracy/x"
    assert LOSS.words(text) == "loss against noise. Kept at the loss. accuracy_vs_noise.csv in runs/accuracy/x"
    assert Measure().words(text) == text
