"""`asim cost`: what it prints and leaves, and the energy model against silicon."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Asim
from tests.commands import parsed
from tests.conftest import rows_of

COMMAND = ("cost", "-c", "quickstart")


def totals(folder: str = "runs/quickstart") -> dict[str, Any]:
    """Totals of a network, as they are written."""
    found: dict[str, Any] = json.loads(Path(folder, "cost.json").read_text())["total"]
    return found


def test_layers_totals_sources_and_files(asim: Asim) -> None:
    """8 x 28 x 28 outputs of 64 conversions in one tile; the picture and the numbers are written."""
    out = asim(*COMMAND).out
    assert "technology 28nm: 28 nm, 0.9 V, 50 ns a conversion" in out
    assert "macro: W8A8 255 rows ADC 8" in out
    folder = Path("runs/quickstart")
    rows = {row["layer"]: row for row in rows_of(folder / "cost.csv")}
    assert rows["layer1.0.conv1"]["conversions"] == str(8 * 28 * 28 * 64)
    assert rows["layer1.0.conv1"]["array_reads"] == str(28 * 28 * 8)
    assert rows["conv1.0"]["why_digital"] == "first convolution: digital"
    fixed = totals()
    assert fixed["conversions"] == sum(int(row["conversions"]) for row in rows.values()) == 2_802_304
    parts = [line for line in out.splitlines() if line.startswith(("array ", "ADC ", "shift-add ", "digital "))]
    assert sum(float(line.split()[2]) for line in parts[:4]) == pytest.approx(100.0, abs=0.3)
    assert (folder / "cost.png").read_bytes().startswith(b"\x89PNG")
    # redistribution draws a part of the charge that `fixed` takes; the ADC is the same
    out = asim(*COMMAND, "--technology.charging", "redistribution", "--images", "4").out
    assert "charging redistribution" in out
    assert 0 < totals()["array_pj"] < 0.2 * fixed["array_pj"]
    assert totals()["adc_pj"] == fixed["adc_pj"]


def test_a_flag_wins_over_a_preset_and_a_recipe_may_hold_the_same(asim: Asim) -> None:
    Path("mine.yaml").write_text("technology: {preset: 65nm, adc_bit: 200}\n")
    out = asim(*COMMAND, "-c", "mine.yaml", "--technology.supply", "1.2", "--digital", "[layer1.*]").out
    assert "technology 65nm: 65 nm, 1.2 V" in out
    assert "supply: given" in out
    assert "adc_bit 200             given" in out
    assert sum("computed by integers" in line for line in out.splitlines()) == 2


def test_a_published_macro_brings_its_technology_unless_another_is_given(asim: Asim) -> None:
    chip = ("--model.plan.preset", "cr_cim_2024", "--output", "there")
    out = asim(*COMMAND, *chip).out
    assert "technology cr_cim_2024: 65 nm, 1 V (assumed), 25 ns" in out
    total = totals("there")
    # 1088 products of two bits an (1.95 * 1088 + 100 * 10 + 0.001 * 4^10) fF V^2, and shift-adds of 65 nm
    column = 1.95 * 1088 + 1000 + 4**10 / 1000
    assert total["peak_bit_tops_per_watt"] == pytest.approx(2e3 * 1088 / column, rel=0.05)
    assert f"1b-TOPS/W {total['peak_bit_tops_per_watt']:.0f} at peak by the model, 818 published of cr_cim" in out
    out = asim(*COMMAND, *chip, "--technology.preset", "22nm").out
    assert "costs are of technology 22nm, as configured; the chip has 65 nm" in out
    given = parsed([*COMMAND, *chip, "--technology.supply", "0.8"]).technology
    assert (given.preset, given.supply) == ("cr_cim_2024", 0.8)
    for command in ("sweep", "search"):
        assert parsed([command, *COMMAND[1:], *chip[:2]]).technology.preset == "cr_cim_2024"
    Path("mine.yaml").write_text("technology: {preset: 16nm}\n")
    assert parsed([*COMMAND, "-c", "mine.yaml", *chip]).technology.preset == "16nm"


def test_the_energy_model_beside_silicon(asim: Asim) -> None:
    out = asim("cost", "--validate").out
    assert "8 of 15 rows without a note within 1.5, 14 within 1.9, 15 within 2" in out
    assert Path("runs/default/energy_model.png").read_bytes().startswith(b"\x89PNG")


def test_a_table_of_conversions_for_a_technology(asim: Asim) -> None:
    flags = ("--conversions", "--grid.rows", "[255]", "--grid.encoding_bits", "[1]", "--grid.adc_bits", "[8]")
    said = asim(*COMMAND, *flags, "--grid.adc_step", "[1]").out
    assert " 255           1     8   2.63" in said
    (row,) = rows_of(Path("runs/quickstart/conversions.csv"))
    assert float(row["step_1_fj"]) / float(row["digital_fj"]) == pytest.approx(2.63, abs=0.005)
    assert row["wins_from"] == ""


def test_actions_for_the_rest_of_a_system(asim: Asim) -> None:
    """The sums of the columns are the totals of cost.json; a wrong name lists the right ones."""
    out = asim(*COMMAND, "--export", "csv").out
    file = Path("runs/quickstart/actions.csv")
    assert f"actions   {file}" in out.replace(f"{Path.cwd()}/", "")
    rows = rows_of(file)
    assert sum(int(row["adc_conversions"] or 0) for row in rows) == totals()["conversions"]
    energy = sum(float(row["energy_fj"] or 0) for row in rows)
    assert energy == pytest.approx(1e3 * totals()["energy_pj"])
    assert any(row["layer"] == "(note)" and row["note"].startswith("left out: softmax") for row in rows)
    asim(*COMMAND, "--export", "accelforge")
    text = Path("runs/quickstart/accelforge.yaml").read_text()
    assert "  - !Toll\n    name: ADC\n" in text
    assert "must be one of csv, accelforge, got 'json'" in asim(*COMMAND, "--export", "json").error


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--validate", "--conversions"), "`validate` and `conversions` print different tables"),
        (("--conversions", "--export", "csv"), "`export` needs the cost of a network; leave out `conversions`"),
    ],
)
def test_options_that_exclude_each_other(asim: Asim, flags: tuple[str, ...], said: str) -> None:
    assert said in asim(*COMMAND, *flags).error
