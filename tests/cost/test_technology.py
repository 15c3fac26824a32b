"""Technologies: presets, what wins over them, sources, and what is refused."""

import re
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from asim_lightning.circuit.presets import preset, preset_names
from asim_lightning.cost import PRESETS, Technology
from asim_lightning.cost.technology import SOURCES, technology_preset
from asim_lightning.cost.validation import published_chips
from asim_lightning.resources import shipped_folder


def test_the_default_is_28_nm_at_0_9_v() -> None:
    t = Technology()
    assert str(t) == "28 nm, 0.9 V, 50 ns a conversion"
    assert t.cell_capacitance == pytest.approx(1.4784)
    assert t.value("unit_capacitor") is None
    assert t.value("cell_area") is None


@pytest.mark.parametrize("name", [*PRESETS, *preset_names()])
def test_presets_state_a_source_for_every_value(name: str) -> None:
    t = Technology(preset=name)
    assert {"node", "supply", "cycle_ns"} <= technology_preset(name).known.keys()
    for field in fields(Technology):
        assert t.source(field.name)
    assert "given" not in {t.source(field.name) for field in fields(Technology)}


def test_a_published_macro_is_a_technology_and_what_nobody_published_is_assumed() -> None:
    chip, known = Technology(preset="cr_cim_2024"), Technology(preset="jia_2021")
    assert [chip.value(each) for each in ("node", "supply", "cycle_ns", "unit_capacitor")] == [65, 1.0, 25.0, 1.5]
    assert str(chip) == "65 nm, 1 V (assumed), 25 ns a conversion (assumed)"
    assert chip.source("supply").startswith("not published, assumed as of 65nm: ")
    assert str(replace(chip, supply=0.8)) == "65 nm, 0.8 V, 25 ns a conversion (assumed)"
    assert str(known) == "16 nm, 0.8 V, 50 ns a conversion"
    assert known.source("supply") == f"{preset('jia_2021').chip}: configs/macro_jia_2021.yaml"


def test_macros_publish_what_the_model_is_fitted_to() -> None:
    """Wang's row pairs the efficiency at 0.7 V with 1.1 V."""
    rows = {(chip.index, chip.supply): chip for chip in published_chips() if chip.index != 89}
    seen = set()
    for name in preset_names():
        text = (shipped_folder("configs") / f"macro_{name}.yaml").read_text()
        (index,) = set(re.findall(r"data, index (\d+)", text)) or {"0"}
        found = preset(name)
        if row := rows.get((int(index), found.technology.get("supply", 0.0))):
            seen.add(name)
            assert (found.node, found.technology.get("cycle_ns")) == (row.node, row.time_ns)
            assert found.tops_per_watt == row.tops_per_watt
    assert len(seen) == 7


def test_the_time_of_a_conversion_follows_the_bits_if_a_bit_has_a_time() -> None:
    t = Technology(cycle_ns=10, bit_ns="4 ns")
    assert [t.seconds(bits) for bits in (6, 10, None)] == pytest.approx([34e-9, 50e-9, 10e-9])
    assert str(t) == "28 nm, 0.9 V, 10 ns a conversion and 4 ns a bit"
    assert (t.source("bit_ns"), Technology().source("bit_ns")) == ("given", SOURCES["bit_ns"])
    assert Technology().seconds(6) == Technology().seconds(10) == Technology(bit_ns=0).seconds(None)
    with pytest.raises(ValueError, match=r"`technology.bit_ns` must be 0..1000000 ns, got -1"):
        Technology(bit_ns=-1)


def test_a_field_beside_a_preset_wins_and_is_given() -> None:
    t = Technology(preset="65nm", supply=0.8, adc_bit=50)
    assert (t.nanometres, t.volts, t.value("cell_area")) == (65.0, 0.8, 4.93)
    assert t.source("supply") == "given"
    assert t.source("adc_bit") == "given"
    assert "CiMLoop" in t.source("cell_area")
    assert t.source("unit_capacitor") == "not known"
    assert "Jia, JSSC 2020" in Technology(adc="jia_2020").source("adc")
    assert Technology(adc_pj=0.6).source("adc_pj") == "given"


def test_another_preset_takes_its_own_values() -> None:
    t = Technology(preset="jia_2020", supply=1.2).with_fields(preset="16nm")
    assert (t.nanometres, t.volts, t.value("unit_capacitor")) == (16.0, 1.2, None)
    assert Technology().with_fields(node=16) == Technology(node=16)


def test_units_are_taken_and_give_the_number() -> None:
    given = Technology(
        node="0.028 um", supply="800 mV", cycle_ns="2us", unit_capacitor="1500 aF", cell_area="4.93 um^2",
        adc_area="0.002 mm^2",
    )  # fmt: skip
    numbers = Technology(node=28.0, supply=0.8, cycle_ns=2000.0, unit_capacitor=1.5, cell_area=4.93, adc_area=2000.0)
    assert given == numbers
    assert given.source("supply") == "given"
    assert Technology().with_fields(supply="0.85 V").volts == 0.85
    assert Technology(node=np.float32(28.0), columns=np.int64(64)) == Technology(node=28.0, columns=64)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"preset": "28 nm"}, "`technology.preset` must be one of 28nm, 65nm, 22nm, 16nm, c3sram_2020, choi_2022"),
        ({"supply": 900}, "`technology.supply` must be 0.2..3 V, got 900"),
        ({"cycle_ns": float("nan")}, "`technology.cycle_ns` must be 0.01..1000000 ns, got nan"),
        ({"unit_capacitor": "1.5 nm"}, "`technology.unit_capacitor` must be 0.01..1000 fF, a number or with a unit"),
        ({"factor": "2 V"}, "`technology.factor` must be 1..100, got '2 V'"),
        ({"columns": 2.5}, "`technology.columns` must be 1..65536 or null, got 2.5"),
        ({"adc_bit": True}, "`technology.adc_bit` must be 0..1000000 fF, got True"),
        (
            {"preset": "40nm"},
            "`technology.preset` must be 28nm, 65nm, 22nm, 16nm, or a macro that",
        ),
        ({"float_bits": 0}, "`technology.float_bits` must be 1..32, got 0"),
        ({"adc": "jia"}, "`technology.adc` must be one of model, jia_2020, got 'jia'"),
        ({"adc_pj": -1}, "`technology.adc_pj` must be 0..1000000 pJ, got -1"),
        ({"charging": "fix"}, "`technology.charging` must be one of fixed, redistribution, ground, got 'fix'; did"),
        ({"energy_model_args": [1]}, "`technology.energy_model_args` must be a mapping of argument names, got [1]"),
    ],
)
def test_refusals_say_what_is_allowed(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        Technology(**given)
    assert str(error.value).startswith(message)


def test_an_unknown_field_has_near_names() -> None:
    with pytest.raises(ValueError, match=r"`technology.suply` is no field of a technology, nearest: supply"):
        Technology().with_fields(suply=1.0)
