"""Costs as tables: units, dashes, columns that stand where something is in them."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from asim_lightning import MacroConfig, Plan, Rule, convert_
from asim_lightning.cost import CostReport, Technology, cost
from asim_lightning.cost.cost_table import count, energy, layer_table, part_table, time, totals_text
from asim_lightning.cost.validation import validate_model
from asim_lightning.report.energies import cost_pictures, validation_pictures


def report(*rules: Rule, technology: Technology = Technology(), **macro: Any) -> CostReport:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.Flatten(), nn.Linear(8 * 16, 10))
    found = convert_(model.eval(), Plan(macro=MacroConfig(**macro), rules=list(rules)), torch.randn(1, 3, 8, 8))
    return cost(model, technology, torch.zeros(1, 3, 8, 8), report=found)


def test_numbers_have_three_digits_and_a_unit() -> None:
    assert [energy(x) for x in (0.5, 12.3e3, 2.96e9, 541e9, 1.5e12)] == [
        "0.50 fJ", "12.3 pJ", "2.96 uJ", "541 uJ", "1.50 mJ",
    ]  # fmt: skip
    assert [time(x) for x in (0.0, 4e-9, 1.57e-3, 2.0)] == ["-", "4.00 ns", "1.57 ms", "2.00 s"]
    assert [count(x) for x in (0, 392, 2_800_512, 1_436_000_000)] == ["-", "392", "2.80 M", "1.44 G"]


def test_columns_stand_where_something_is_in_them() -> None:
    plain, hybrid = (layer_table(each.rows()) for each in (report(), report(digital_levels=2)))
    assert plain.note == "macro: W8A8 255 rows ADC 8"
    assert "cycles" not in str(plain)
    assert "cycles" in str(hybrid)
    assert "written" not in str(plain)
    assert plain.shown[-1][0] == "3 layers"
    assert {row[0] for row in plain.numbers} == {"layer", "0", "2", "4"}


def test_a_cost_prints_as_its_tables_without_layers_too() -> None:
    found = report()
    technology, *tables = str(found).split("\n\n")
    assert technology.startswith("technology 28nm: 28 nm, 0.9 V, 50 ns a conversion (node: the node that digital")
    assert technology.endswith("1.48 fF a row, charging fixed, model charge")
    assert tables == [str(layer_table(found.rows())), str(part_table(found)), totals_text(found)]
    assert "0.00 fJ an image" in str(cost(nn.Sequential(nn.ReLU()), example=torch.zeros(1, 3, 4, 4)))


def test_macros_are_named_where_they_differ() -> None:
    text = str(layer_table(report(Rule("2", {"adc_bits": 6})).rows()))
    assert "W8A8 255 rows ADC 6" in text
    assert "W8A8 255 rows ADC 8" in text


def test_parts_have_shares_and_sources() -> None:
    text = str(part_table(report(encoding_bits=2, technology=Technology(driver=10))))
    assert [line.split()[0] for line in text.splitlines()[2:] if not line.startswith(" ")] == [
        "array", "ADC", "drivers", "shift-add", "digital",
    ]  # fmt: skip
    assert "driver 10" in text
    assert text.count("given") == 1


@pytest.mark.parametrize(
    ("fields", "rows"), [({"adc": "jia_2020"}, ["adc jia_2020"]), ({"adc_pj": 0.6}, ["adc_pj 0.6"])]
)
def test_the_adc_says_what_decides_its_energy(fields: dict[str, Any], rows: list[str]) -> None:
    found = report(technology=Technology(**fields))
    text = str(part_table(found))
    assert all(row in text for row in rows)
    assert ("adc_bit" in text) is ("adc" in fields)
    assert any("0.6 pJ" in note for note in found.notes) is ("adc_pj" in fields)


def test_converters_and_area_stand_next_to_the_energy() -> None:
    unrolled = report()
    assert unrolled.converters == 8 * (8 + 10)  # one for each bit of each output; the stem is digital
    energy_line, size, *_ = totals_text(unrolled).splitlines()
    assert energy_line.startswith("energy")
    assert size == "ADCs      144, area not known (`technology.cell_area` and `adc_area`)"
    known = report(technology=Technology(cell_area=1.0, adc_area=1e3))
    assert "ADCs      144, 0.18 mm^2" in totals_text(known)
    shared = report(static={"placement": "reuse", "macros": 3, "columns": 64, "columns_per_adc": 4})
    assert shared.converters == 3 * 16
    priced = replace(shared, technology=Technology(cell_area=1.0, adc_area=1e3))
    assert priced.area == pytest.approx(1e-6 * (3 * 64 * 255 + 48 * 1e3))


@pytest.mark.parametrize(
    ("technology", "verdict"),
    [
        (Technology(), "digital macro: more, even at the ends"),
        (Technology(digital_mac=10.0), "digital macro: the ranges of both overlap"),
        (Technology(digital_mac=200.0), "digital macro: less, even at the ends"),
    ],
)
def test_the_verdict_knows_the_factors(technology: Technology, verdict: str) -> None:
    found = report(technology=technology)
    assert verdict in totals_text(found)


def test_pictures_show_every_layer_and_every_chip() -> None:
    found = report()
    whole, single = cost_pictures(found)
    assert (list(single.y.names), len(whole.y.names)) == (["0", "2", "4"], 1)
    bars = [each for each in single.series if each.form == "bar"]
    factor, digital = single.series[-2:]
    for place, layer in enumerate(found.layers):
        size = layer.energy.total / factor.x[place]  # of the unit
        assert sum(each.x[place] for each in bars) == pytest.approx(factor.x[place])
        assert digital.x[place] * size == pytest.approx(layer.all_digital)
        alone = replace(found, layers=(layer,))
        assert (factor.left[place] * size, factor.right[place] * size) == pytest.approx(alone.energy_range)
    chips, parts, supplies = validation_pictures(validate_model())
    assert (len(chips.labels), len(chips.series[-1].x), len(parts.y.names), len(supplies.series)) == (16, 16, 8, 3)


def test_many_layers_are_a_row_a_kind() -> None:
    blocks = [nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6)) for _ in range(25)]
    network, x = nn.Sequential(*blocks, nn.Linear(6, 2)), torch.rand(2, 6)
    kept = [f"{block}.2" for block in range(4)]
    converted = convert_(network, Plan(MacroConfig(rows=8), [Rule("3.0", {"adc_bits": 6})], keep=kept), x)
    found = cost(network, example=x)
    lines = str(found).split("\n\n")[1].splitlines()
    names = [line.split("  ")[0].strip() for line in lines[3:]]
    assert names == ["*.* x 45", "*.* x 4", "3.0", "25", "51 layers"]  # four take no time, so they have no rate
    assert len(layer_table(found.rows()).numbers) == 1 + 51  # the CSV keeps each layer
    total = sum(layer.energy.total for layer in found.layers)
    assert total == pytest.approx(found.energy.total)
    _, drawn = cost_pictures(found)
    assert drawn.y.names == ["*.* x 45", "*.* x 4", "3.0", "25"]
    made = [line.split("  ")[0] for line in str(converted).splitlines()[2:]]
    assert made[:5] == ["*.* x 24", "*.* x 4", "3.0", "*.* x 21", "25"]  # inputs with and without a sign
    assert len(converted) == 51
