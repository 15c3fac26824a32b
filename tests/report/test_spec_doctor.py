"""Limits as a table, in words and as points; a map of the loss as a table and a heat map; plans of a doctor."""

from dataclasses import replace
from math import isnan

import pytest

from asim_lightning.evaluation.loss_map import LossMap
from asim_lightning.evaluation.target import Limit
from asim_lightning.report.draw import figure_of
from asim_lightning.report.spec_doctor import (
    limits_pictures,
    limits_table,
    loss_map_pictures,
    loss_map_table,
    plans_table,
    plans_verdict,
)
from tests.report.runs import AS_IS, LIMITS, MAPPED, PLANS, doctor_document, plan


def test_numbers_of_limits_with_a_noise_in_other_units() -> None:
    head, *rows = limits_table(LIMITS, 255.0, 510.0).numbers
    assert head == ["property", "unit", "kept", "missed", "kept_percent", "kept_mv", "images_to_decide"]
    assert rows[0] == ["random_noise", "lsb", 0.2, 0.8, pytest.approx(20 / 255), pytest.approx(0.4), 1500]
    assert rows[1:3] == [["adc_bits", "bits", 7, 6, None, None, None], ["gain", "%", None, 0.4, None, None, 2000]]
    shown = limits_table(LIMITS, 255.0, 510.0).shown
    assert [row[3] for row in shown[1:]] == ["kept: 0.0784 %, 0.4 mV", "", "", ""]
    assert [row[3] for row in limits_table(LIMITS, 255.0, None).shown[1:]] == ["kept: 0.0784 %", "", "", ""]
    assert shown[2][-1] == "nothing"  # 7 bits are kept and 6 missed


def test_values_are_kept_undecided_and_missed_on_an_axis_of_their_own() -> None:
    pictures = limits_pictures(LIMITS, "t")
    assert [each.y.names for each in pictures] == [["random noise"], ["adc bits"], ["gain"], ["all together"]]
    states = [{series.marker: list(series.x) for series in each.series} for each in pictures]
    for limit, found in zip(LIMITS, states, strict=True):
        assert [*found["full"], *found["open"], *found["cross"]] == list(limit.rungs)
        assert (found["full"] or [None])[-1] == limit.kept
        assert (found["cross"] or [None])[0] == limit.missed
    named = [each.name for picture in pictures for each in picture.series if each.name]
    assert named == ["kept", "undecided", "missed"]
    assert [each.x.label for each in pictures] == [
        "kept up to 0.2 lsb, missed from 0.8 lsb", "kept up to 7 bits, missed from 6 bits",
        "kept by no value, missed from 0.4 %", "kept up to 0.8 times, missed by no value",
    ]  # fmt: skip
    scales = {tuple(each.x.ticks): each.x.scale for each in pictures}
    assert scales[LIMITS[1].rungs] == "linear"  # a few whole numbers, the harmless ones on the left
    decades = Limit("gain", "%", (0.0, 0.01, 0.1, 1.0), 0.01, 0.1)
    assert limits_pictures([decades], "")[0].x.scale == "symlog"
    assert limits_pictures([replace(decades, rungs=(0.01, 0.1, 1.0))], "")[0].x.scale == "log"
    figure = figure_of(*pictures, title="t", width=3.5)
    assert figure.get_figwidth() == 3.5
    assert [axes.get_xlim()[0] > axes.get_xlim()[1] for axes in figure.axes] == [False, True, False, False]


def test_rows_are_layers_by_their_share_and_say_where_most_of_it_is() -> None:
    head, *rows = loss_map_table(MAPPED).numbers
    assert head == ["layer", "share", "percent", "first_bit", "last_bit", "percent_in_them"]
    assert [row[0] for row in rows] == ["fc <a>", "conv1", "head"]
    assert [[round(number, 6) for number in row[1:]] for row in rows[:2]] == [
        [1.6, 80, 1, 1, 87.5],
        [0.4, 20, 2, 3, 75],
    ]
    assert rows[2][3:] == [None] * 3  # nothing is lost in it
    assert [row[3] for row in loss_map_table(MAPPED).shown[1:]] == ["bit 1: 88 %", "bits 2 to 3: 75 %", ""]
    assert "2 nats; the macro adds 1.9 " in loss_map_table(MAPPED).note


def test_the_heat_map_has_a_row_a_layer_and_gaps_where_a_layer_has_no_such_bit() -> None:
    picture = loss_map_pictures(MAPPED, "t")[0]
    grid = picture.grid
    assert grid is not None
    assert (picture.y.names, picture.x.names) == (["conv1", "fc <a>", "head"], ["0", "1", "2", "3"])
    assert [round(value, 6) for value in grid.values[0]] == [0, 5, 10, 5]
    assert [isnan(value) for value in grid.values[2]] == [False, False, True, True]
    assert [round(end, 6) for end in grid.ends] == [-0.2, 70]
    assert grid.texts[1] == ["1", "70", "9", ""]
    assert grid.texts[2][0] == ""  # -0.2 % would be written as -0
    assert len(picture.numbers) == 1 + 4 + 3 + 2


def test_many_layers_are_shown_by_kind_and_by_block() -> None:
    shares = {f"layers.{block}.{kind}": (float(block), 1.0) for block in range(25) for kind in ("up", "down")}
    many = LossMap({**shares, "head": (2.0, 0.0, 0.0)}, 652.0)
    table = loss_map_table(many)
    assert table.shown[0][:2] == ["layer", "layers"]
    assert [row[:3] for row in table.shown[1:]] == [
        ["layers.*.up", "25", "325.0000"], ["layers.*.down", "25", "325.0000"], ["head", "", "2.0000"],
    ]  # fmt: skip
    positions, blocks = loss_map_pictures(many, "t")
    assert positions.y.names == blocks.y.names == ["layers.*.up", "layers.*.down", "head"]
    assert blocks.x.names == [*map(str, range(25)), ""]
    assert positions.grid is not None
    assert blocks.grid is not None
    assert sum(map(sum, blocks.grid.values)) == pytest.approx(100)
    assert blocks.grid.values[0][24] == pytest.approx(100 * 25 / 652)
    assert len(positions.numbers) == 1 + 2 * 50 + 3  # of each layer
    assert len(blocks.numbers) == 1 + 51
    assert figure_of(positions, blocks).axes
    assert len(loss_map_pictures(LossMap(dict(list(shares.items())[:40]), 1.0), "t")) == 1


def test_without_a_loss_there_are_no_percents() -> None:
    helps = LossMap({"a": (0.02, -0.05)}, -0.03)
    assert [row[1:] for row in loss_map_table(helps).shown[1:]] == [["-0.0300", "", ""]]
    picture = loss_map_pictures(helps, "t")[0]
    assert picture.grid is not None
    assert all(map(isnan, picture.grid.values[0]))
    assert figure_of(picture).axes


def test_plans_stand_below_the_macro_as_it_is_and_the_cheapest_that_is_kept_stands_out() -> None:
    table = plans_table(doctor_document())
    assert table.shown[0] == [
        "plan", "energy", "difference to quantized\n(points)", "target", "would\ndecide", "file",
    ]  # fmt: skip
    assert table.shown[1:4] == [
        ["the macro as it is", "9.7 [4.85, 19.4] µJ", "-50.00 [-51.00, -49.00]", "missed", "", ""],
        ["<fc> digital", "11 [5.5, 22] µJ", "-4.00 [-5.00, -3.00]", "undecided", "about 4,000 images", ""],
        ["11 ADC bits", "13 [6.5, 26] µJ", "-1.20 [-2.20, -0.20]", "kept", "", "plan-1.yaml"],
    ]
    assert table.marked == [2]
    assert "-4.50 points" in table.note
    digital = plan("a digital macro", 1.0, 0.0, "kept")
    with_digital = plans_table(doctor_document(digital=digital))  # no plan of this macro, whatever it takes
    assert (with_digital.shown[-1][0], with_digital.marked) == ("a digital macro", [2])
    assert "a digital macro takes 1 [0.5, 2] µJ, kept" in plans_verdict(doctor_document(digital=digital))
    head, *rows = table.numbers
    second = dict(zip(head, rows[1], strict=True))
    half = plans_table(doctor_document([plan("half", 11.0, 0.0, "kept", digital_percent=50.0)]))
    assert [row[2] for row in half.shown] == ["digital\n(%)", "0", "50"]
    assert (second["energy_uj_low"], second["threshold"], second["images_to_decide"]) == (5.5, -0.045, 4000)


@pytest.mark.parametrize(
    ("target", "head", "needed"),
    [
        ("accuracy 90 %", "accuracy\n(%)", "images"),
        ("yield 0.8 at 85 %", "yield at 85 %\n(%)", "chips"),
    ],
)
def test_what_was_measured_is_what_the_target_bounds(target: str, head: str, needed: str) -> None:
    table = plans_table(doctor_document(target=target, gap=None))
    assert table.shown[0][2] == head
    assert table.shown[2][4] == f"about 4,000 {needed}"


def test_a_loss_has_no_percents_and_less_is_better() -> None:
    plans = [plan("worse", 9.8, 0.4, "missed"), plan("near", 11.0, 0.05, "undecided", differing=3)]
    plans = [{**each, "threshold": 0.045, "less_is_better": True} for each in plans]
    document = doctor_document(plans[1:], as_is=plans[0], target="loss within 2 % of quantized")
    table = plans_table(document)
    assert table.shown[0][2] == "difference to quantized"
    assert [row[2] for row in table.shown[1:]] == ["0.4 [0.39, 0.41]", "0.05 [0.04, 0.06]"]
    assert table.note == "kept: the whole interval is at most 0.045"
    said = plans_verdict(document)
    assert "nearest is near, undecided (difference to quantized 0.05 [0.04, 0.06], only 3 samples decide" in said


def test_the_verdict_names_the_cheapest_plan_that_is_kept_or_the_nearest() -> None:
    kept = plans_verdict(doctor_document())
    assert "11 ADC bits" in kept
    assert "all digital" not in kept
    nearest = plans_verdict(doctor_document([plan("worse", 9.8, -0.4, "missed"), PLANS[0]]))
    assert "<fc> digital, undecided" in nearest
    assert "4,000 images" in nearest
    assert "worse" not in nearest
    doubtful = plans_verdict(doctor_document([PLANS[0]], as_is={**AS_IS, "verdict": "undecided"}))
    assert "nearest" not in doubtful  # more images may show that it needs no change
    assert "more images or chips would decide it" in doubtful
    as_is = plans_verdict(doctor_document(as_is={**AS_IS, "verdict": "kept"}))
    assert "11 ADC bits" not in as_is  # the macro as it is keeps the target, and is cheaper
    alone = plans_verdict(doctor_document([]))
    assert alone.count("the macro as it is") == 1
