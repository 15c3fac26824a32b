"""Plans of a doctor as a table, and the cheapest one in words."""

import pytest

from asim_lightning.report.spec_doctor import findings_table, plans_table, plans_verdict
from tests.report.runs import AS_IS, PLANS, doctor_document, plan


def test_plans_stand_below_the_macro_as_it_is_and_the_cheapest_that_is_kept_stands_out() -> None:
    table = plans_table(doctor_document())
    assert table.shown[0] == [
        "plan", "energy", "difference to quantized\n(%)", "target", "would\ndecide", "file",
    ]  # fmt: skip
    assert table.shown[1:4] == [
        ["the macro as it is", "9.7 [4.85, 19.4] µJ", "-50.00 [-51.00, -49.00]", "missed", "", ""],
        ["<fc> digital", "11 [5.5, 22] µJ", "-4.00 [-5.00, -3.00]", "undecided", "4,000 images", ""],
        ["11 ADC bits", "13 [6.5, 26] µJ", "-1.20 [-2.20, -0.20]", "kept", "", "plan-1.yaml"],
    ]
    assert table.marked == [2]
    assert "-4.50 %" in table.note
    assert "1 %" in table.note
    head, *rows = table.numbers
    second = dict(zip(head, rows[1], strict=True))
    assert (second["energy_low_uj"], second["threshold"], second["images_to_decide"]) == (5.5, -0.045, 4000)
    assert (second["macro"], second["rules"]) == ('{"adc_bits": 11}', '[{"match": "fc", "macro": {"votes": 3}}]')


@pytest.mark.parametrize(
    ("target", "head", "needed"),
    [("accuracy 90 %", "accuracy\n(%)", "4,000 images"), ("yield 0.8 at 85 %", "yield at 85 %\n(%)", "4,000 chips")],
)
def test_what_was_measured_is_what_the_target_bounds(target: str, head: str, needed: str) -> None:
    table = plans_table(doctor_document(target=target, gap=None))
    assert table.shown[0][2] == head
    assert table.shown[2][4] == needed
    assert "1 %" not in table.note


def test_the_verdict_names_the_cheapest_plan_that_is_kept_or_the_nearest() -> None:
    kept = plans_verdict(doctor_document())
    assert "11 ADC bits" in kept
    assert "all digital" not in kept
    nearest = plans_verdict(doctor_document([plan("worse", 9.8, -0.4, "missed"), PLANS[0]]))
    assert "<fc> digital, undecided" in nearest
    assert "4,000 images" in nearest
    assert "worse" not in nearest
    as_is = plans_verdict(doctor_document(as_is={**AS_IS, "verdict": "kept"}))
    assert "11 ADC bits" not in as_is  # the macro as it is keeps the target, and is cheaper
    alone = plans_verdict(doctor_document([]))
    assert alone.count("the macro as it is") == 1


def test_findings_have_their_layers_and_numbers() -> None:
    table = findings_table(doctor_document())
    assert table.shown[1:] == [["15 of 255 codes"]]
    assert table.numbers[1:] == [["range", "15 of 255 codes", "conv1 fc", '{"top": 15}']]
