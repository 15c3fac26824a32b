"""A search as table, files and pictures: what they say of the front, the cheapest points and what is undecided."""

import re
from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from asim_lightning.evaluation.results import Decision, Result
from asim_lightning.evaluation.run import Run
from asim_lightning.report.results_table import search_text
from asim_lightning.report.trade_off import map_pictures, trade_off_picture
from asim_lightning.report.verdict import choice_facts, choices
from tests.report.runs import run

TARGET = "accuracy 86 %"


def found(**space: list[Any]) -> Run:
    """Each bit more costs 10 uJ and gives 10 points; noise takes its hundredfold in points."""
    points = []
    for values in product(*space.values()):
        axes = dict(zip(space, values, strict=True))
        bits, accuracy = axes.get("adc_bits", 8), 0.1 * axes.get("adc_bits", 8) + 0.1 - axes.get("random_noise", 0.0)
        digital = 20.0 * axes.get("weight_bits", 8) / 8 * axes.get("technology.voltage", 1.0)
        decision = (
            Decision("kept") if accuracy > 0.85 else Decision("undecided", 900) if bits > 6 else Decision("missed")
        )
        figures = {"latency_ms": 1.0}
        for name, value in (("energy_uj", 10.0 * bits), ("all_digital_uj", digital)):
            figures |= {name: value, f"{name}_low": value / 2, f"{name}_high": 2 * value}
        ends = accuracy - 0.02, accuracy + 0.02
        decided = {"figures": figures, "decisions": {TARGET: decision}}
        points.append(Result(axes, "simulated", 1, 400, accuracy, *ends, 1.0, "native", **decided))
    return run(points, targets=(TARGET,))


def test_text() -> None:
    one = found(adc_bits=[6, 7, 8])
    text = search_text(one, "28 nm, 0.9 V")
    lines = text.splitlines()
    assert re.split(" {2,}", lines[0].strip()) == [
        "adc_bits", "accuracy (%)", "95 % interval", "energy (uJ)", "latency (ms)", "accuracy 86 %",
    ]  # fmt: skip
    assert [line.split()[0] for line in lines[2:7]] == ["float", "quantized", "front", "front", "cheapest"]
    assert "undecided (900 images)" in lines[5]
    assert (
        "accuracy 86 %: kept by 1 of 3 points, the cheapest is ADC bits 8 (90.00 % [88.00, 92.00], 80 [40, 160] µJ);"
        in text
    )
    assert "digital macro: 20 uJ, 10 to 40." in text
    assert "Undecided: the target is inside the interval" in text
    many = search_text(found(adc_bits=list(range(1, 9)), random_noise=[0.01 * number for number in range(6)]), "28 nm")
    assert many.count("accuracy 86 %: at random noise") == 6
    assert "more points: see numbers" not in many  # all are on the front of their noise
    without = search_text(replace(one, targets=()), "28 nm")
    assert "kept by" not in without
    assert "Front: " in without


@pytest.mark.parametrize(
    ("space", "digital", "owner"),
    [({"weight_bits": [8, 2]}, 5, "28 nm, 0.9 V"), ({"technology.voltage": [1.0, 0.5]}, 10, "the technology of each")],
)
def test_each_point_has_its_own_all_digital_energy(space: dict[str, list[Any]], digital: int, owner: str) -> None:
    both = found(**space)
    assert both.all_digital is None
    last = replace(both, results=(*both.references, *both.points[1:]))
    assert choice_facts(last, choices(last)[0])[-1] == f"a digital macro takes {digital} µJ"
    text = " ".join(search_text(both, "28 nm, 0.9 V").split())
    assert f"Energy and latency: at {owner}" in text
    assert "digital macro: of each point in results.csv" in text
    picture = trade_off_picture(both)
    assert picture is not None
    assert not any("all-digital" in each.name for each in picture.series)


def test_the_front_verdicts_and_the_all_digital_point() -> None:
    two = found(adc_bits=[6, 7, 8], random_noise=[0.0, 0.5])
    picture = trade_off_picture(two)
    assert picture is not None
    by_name = {each.name: each for each in picture.series if each.name}
    assert list(by_name) == [
        "front at random noise 0 %", "front at random noise 0.5 %", "kept: accuracy 86 %", "undecided", "missed",
        "cheapest that is kept", "all-digital", "typical error of the energy model, at one point",
    ]  # fmt: skip
    assert by_name["front at random noise 0 %"].form == "line"
    stairs = by_name["front at random noise 0 %"]
    assert (list(stairs.x), list(stairs.y)) == ([60, 70, 70, 80, 80], [70, 70, 80, 80, 90])
    assert (by_name["cheapest that is kept"].x, by_name["cheapest that is kept"].marker) == ([80.0], "ring")
    digital = by_name["all-digital"]
    assert (digital.x, digital.left, digital.right, digital.y) == ([20.0], [10.0], [40.0], [92.0])
    markers = {each.marker: list(each.x) for each in picture.series if not each.name and each.style == 0}
    assert markers == {"full": [80], "open": [70], "cross": [60]}
    assert picture.note == "bars: 95 % intervals; ADC bits at 1: 6, 2: 7, 3: 8"
    hover = "ADC bits 8\nrandom noise 0 %\n90.00 % [88.00, 92.00]\nenergy 80 [40, 160] µJ\nlatency 1 ms\nkept"
    assert hover in [text for each in picture.series for text in each.texts]
    assert (60.0, pytest.approx(70.0), "1") in picture.labels
    assert trade_off_picture(replace(two, objectives=("accuracy",))) is None
    many = trade_off_picture(found(adc_bits=[7, 8], random_noise=[0.001 * number for number in range(20)]))
    assert many is not None
    names = [each.name for each in many.series if each.name.startswith("front")]
    assert (len(names), names[0], names[-1]) == (8, "front at random noise 0 %", "front at random noise 0.019 %")
    assert "8 of 20 conditions are drawn" in many.note
    (rings,) = (each for each in many.series if each.marker == "ring")
    assert len(rings.x) == 8  # at drawn points only


def test_points_that_others_better_are_pale_and_have_an_entry() -> None:
    one = found(adc_bits=[7, 8], votes=[1, 3])
    last = replace(one.points[-1], figures={**one.points[-1].figures, "energy_uj": 200.0})
    picture = trade_off_picture(replace(one, results=(*one.results[:-1], last)))
    assert picture is not None
    assert [(each.name, list(each.x)) for each in picture.series if each.is_pale] == [("bettered by the front", [200])]


def test_heat_maps_by_number_of_axes() -> None:
    two = found(adc_bits=[6, 7, 8], random_noise=[0.0, 0.5])
    (single,) = map_pictures(two)
    assert single.grid is not None
    assert [list(map(round, row)) for row in single.grid.values] == [[70, 80, 90], [20, 30, 40]]
    assert single.grid.texts[0] == ["70.0", "80.0", "90.0\ncheapest"]
    assert (single.x.names, single.y.names) == (["6", "7", "8"], ["0", "0.5"])
    three = map_pictures(found(adc_bits=[6, 7, 8], random_noise=[0.0, 0.1, 0.5], rows=[64, 255]))
    assert [each.title for each in three] == ["rows 64", "rows 255"]
    assert map_pictures(found(adc_bits=[6, 7, 8])) == []
    assert map_pictures(found(adc_bits=[7, 8], random_noise=[0.0, 0.1], rows=[64, 255], votes=[1, 3])) == []
