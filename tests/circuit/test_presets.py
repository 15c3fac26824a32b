"""Every published macro loads, says where its numbers are from, and can be explained."""

import re
from dataclasses import fields

import pytest

from asim_lightning.circuit import MacroConfig, schedule
from asim_lightning.circuit.presets import preset, preset_names
from asim_lightning.engine.explanation import explain
from asim_lightning.resources import shipped_folder

NAMES = preset_names()
assert {"cr_cim_2024", "jia_2020", "jia_2021", "wang_2022"} < {*NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_loads_and_is_explained(name: str) -> None:
    found = preset(name)
    assert found.name == name
    assert all((found.chip, found.source, found.cell, found.differs.strip()))
    assert 3 <= found.node <= 180
    assert {"rows", "adc_bits"} <= set(found.macro) <= {each.name for each in fields(MacroConfig)}
    macro = found.config()
    for field, value in found.macro.items():
        assert getattr(macro, field) == value
    for signed in (False, True)[: 1 + (macro.encoding_bits < macro.input_bits)]:  # the sign is a cycle of its own
        text = str(explain(macro, signed))
        assert f"{macro.rows} rows" in text
        assert len(schedule(macro, signed)) >= 1


@pytest.mark.parametrize("name", NAMES)
def test_each_number_has_its_source_beside_it(name: str) -> None:
    text = (shipped_folder("configs") / f"macro_{name}.yaml").read_text()
    numbers = re.findall(r"^(?:node|tops_per_watt|  \w+): .*$", text[: text.index("differs:")], re.M)
    assert len(numbers) == 2 + len(preset(name).macro) + len(preset(name).technology)
    assert all(re.search(r"  ?# .{5,}", line) for line in numbers)
    assert max(map(len, text.splitlines())) <= 120


def test_what_nobody_published_is_the_default() -> None:
    quiet, cr = preset("jia_2020").config(), preset("cr_cim_2024").config()
    assert (quiet.random_noise, quiet.weight_bits) == (0.0, MacroConfig().weight_bits)
    assert cr.random_noise_percent == pytest.approx(100 * 0.58 / 1023)
    assert preset("c3sram_2020").config().random_noise_percent == pytest.approx(0.3)


def test_fields_beside_a_preset_win() -> None:
    assert preset("cr_cim_2024").config(adc_bits=8, weight_bits=4) == MacroConfig(
        weight_bits=4, rows=1088, adc_bits=8, random_noise="0.58 lsb", unit_capacitor_ff=1.5
    )
    with pytest.raises(ValueError, match=r"`macro.adc_bit` is no field of a macro, nearest: adc_bits"):
        preset("cr_cim_2024").config(adc_bit=8)


@pytest.mark.parametrize(
    ("name", "near"), [("jia_202", "jia_2021"), ("cr_cim", "cr_cim_2024"), ("../x", "c3sram_2020")]
)
def test_an_unknown_preset_is_refused_with_near_names(name: str, near: str) -> None:
    with pytest.raises(ValueError, match=rf"a published macro that asim macros lists, got '{name}'; nearest: .*{near}"):
        preset(name)
