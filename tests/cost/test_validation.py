"""The energy model against published silicon."""

from dataclasses import replace
from importlib.resources import files
from statistics import median

import pytest

from asim_lightning.circuit.presets import preset
from asim_lightning.circuit.schedule import schedule
from asim_lightning.cost import EnergyModel, Technology
from asim_lightning.cost.technology import PRESETS
from asim_lightning.cost.validation import CR_CIM, published_chips, validate_model

# chip and supply: reported 1b-TOPS/W, and model over reported energy
PRINTED = {
    "Jia 16 nm, 0.8 V": (1936, 0.99), "20T1C 65 nm, 0.7 V": (2482.5, 1.05), "Wang 22 nm, 1.1 V": (2060.8, 0.93),
    "PIMCA 28 nm, 1 V": (588, 0.89), "Conv-RAM 65 nm, 1.2 V": (196.7, 0.80), "Lee 28 nm, 0.9 V": (5796, 1.51),
    "DCT-RAM 65 nm, 0.8 V": (1288, 0.67), "177 TOPS/W 28 nm, 0.8 V": (2832, 1.56), "Jia 65 nm, 1.2 V": (192, 0.53),
    "Jia 65 nm, 0.85 V": (400, 0.55),
}  # fmt: skip


def test_chips_have_the_printed_ratios() -> None:
    found = {each.what: (each.chip and each.chip.tops_per_watt, each.ratio) for each in validate_model().chips}
    for chip, (efficiency, ratio) in PRINTED.items():
        assert found[chip] == (efficiency, pytest.approx(ratio, abs=0.02))


def test_the_fit_as_a_whole() -> None:
    """Sixteen rows of twelve papers; the stated factor is about the typical one, and most are within two."""
    found = validate_model()
    assert len(found.chips) == 16
    assert len({each.chip.paper for each in found.chips if each.chip}) == 12
    assert found.bias == pytest.approx(1.0, abs=0.05)
    assert found.typical_factor == pytest.approx(1.45, abs=0.05)
    assert (found.within(1.5), found.within(2.0)) == (9, 16)  # as README and `Technology` say
    assert found.within(1.0) == 0


ONE_NUMBER = {
    "c3sram_2020": (6, 1.0, 3.4), "choi_2022": (79, 0.85, None), "dct_ram_2022": (78, 0.8, None),
    "jia_2020": (5, 0.85, None), "jia_2021": (25, 0.8, None), "lee_2021": (35, 0.9, None),
    "pimca_2021": (36, 1.0, None), "wang_2022": (89, 1.1, None),
}  # fmt: skip
"""Index and supply of the row of each preset that is one; bits of its converter if a macro cannot have them."""


@pytest.mark.parametrize("name", ONE_NUMBER)
def test_a_preset_takes_the_energy_of_its_row(name: str) -> None:
    index, supply, bits = ONE_NUMBER[name]
    found, own = preset(name), Technology(name)
    (chip,) = (each for each in published_chips() if (each.index, each.supply) == (index, supply))
    macro = found.config()
    cycle = schedule(macro, False)[0]
    conversion = EnergyModel(own).conversion(macro, cycle)
    row = (chip if bits is None else replace(chip, adc_bits=macro.adc_bits)).modelled(Technology())
    assert chip.adc_bits == (bits or macro.adc_bits)
    assert (conversion.adc, conversion.drivers) == pytest.approx((row.adc, row.drivers))
    if own.value("unit_capacitor") is None:  # else the preset has the chip's own cell
        assert conversion.array == pytest.approx(row.array)
        assert conversion.total == pytest.approx(row.total)
    assert own.source("columns").startswith(found.chip)


def test_components_of_jia() -> None:
    """With its measured cell the array is right and the column 0.9; the ADC takes three times what the model says."""
    found = {(each.what, each.note[:8]): each for each in validate_model().components}
    assert found["Jia 65 nm, 0.85 V: column", "measured"].ratio == pytest.approx(0.90, abs=0.02)
    array = found["Jia 65 nm, 0.85 V: array", "measured"]
    assert (array.reported, array.ratio) == (9700.0, pytest.approx(1.0, abs=0.02))
    adc = found["Jia 65 nm, 0.85 V: ADC", ""]
    assert (adc.reported, adc.ratio) == (1790.0, pytest.approx(0.35, abs=0.02))
    measured = {(each.what, each.note[:8]): each for each in validate_model(Technology(adc="jia_2020")).components}
    for supply in ("0.85", "1.2"):
        assert measured[f"Jia 65 nm, {supply} V: ADC", ""].ratio == pytest.approx(1.0, abs=0.002)
    assert found["Jia 65 nm, 1.2 V: array", "measured"].ratio == pytest.approx(0.95, abs=0.02)


def test_supplies_of_wang_within_30_percent_of_the_square() -> None:
    validation = validate_model()
    found = validation.supplies
    assert [each.what.split()[-2] for each in found] == ["0.7", "0.8", "0.9", "1", "1.1"]
    assert all(1 / 1.3 <= each.ratio <= 1.3 for each in found)
    assert found[-1].ratio == 1.0
    # at one supply for both, the model takes less than half of what was measured
    assert [each.ratio for each in validation.absolute] == pytest.approx([0.37, 0.35, 0.36, 0.39, 0.45], abs=0.01)


def test_the_supply_of_cr_cim_that_would_match() -> None:
    assert CR_CIM.reported == pytest.approx(2 * 1088 / 818 * 1e3)
    assert list(validate_model().matching.values()) == [pytest.approx(0.68, abs=0.005), pytest.approx(0.80, abs=0.005)]
    assert list(validate_model().matching) == ["0.0528 fF/nm", "1.3 x 1.5 fF"]


def test_coefficients_of_a_technology_are_the_ones_that_are_validated() -> None:
    """Its own node, supply and cell are not."""
    plain = validate_model()
    other = validate_model(Technology(preset="jia_2020", supply=1.0, node=40, adc_bit=200.0))
    assert other.chips[0].modelled > plain.chips[0].modelled
    assert validate_model(Technology(preset="jia_2020", node=40)) == plain


def test_the_licence_ships_with_the_data() -> None:
    folder = files("asim_lightning.cost").joinpath("silicon")
    assert folder.joinpath("LICENSE").read_text().startswith("MIT License")
    assert "UIUC-IMC-Benchmarking" in folder.joinpath("README.md").read_text()


def test_the_default_time_is_the_median_of_the_rows() -> None:
    times = [chip.time_ns for chip in published_chips() if chip.time_ns is not None]
    assert (len(times), median(times), min(times), max(times)) == (15, PRESETS["28nm"].known["cycle_ns"][0], 4.17, 1750)
