"""The energy of conversions, digital cycles and shift-adds, by hand."""

import math

import pytest

from asim_lightning import MacroConfig
from asim_lightning.circuit import Cycle, transfer
from asim_lightning.cost import ActiveCells, ConversionEnergy, EnergyModel, Technology
from asim_lightning.cost.energy_model import energy_model
from asim_lightning.cost.layer_cost import _complements_energy, _shift_add_energy
from asim_lightning.cost.operations import input_digits

TECHNOLOGY = Technology()


def first(macro: MacroConfig, signed: bool = False) -> Cycle:
    return transfer(macro, signed).cycles[0]


def conversion(macro: MacroConfig, technology: Technology = TECHNOLOGY, signed: bool = False) -> ConversionEnergy:
    return EnergyModel(technology).conversion(macro, first(macro, signed))


def test_bit_serial_conversion() -> None:
    """0.81 (0.0528 x 255 x 28 + 100 x 8 + 0.001 x 4^8) fJ."""
    found = conversion(MacroConfig())
    assert found.array == pytest.approx(0.81 * 376.992)
    assert found.adc == pytest.approx(0.81 * (800 + 65.536))
    assert found.drivers == 0.0
    assert found.total == pytest.approx(1006.45, abs=0.01)


def test_a_measured_converter_and_an_energy_of_ones_own() -> None:
    """2.86 times 0.81 (100 x 8 + 0.001 x 4^8) fJ, or 600 fJ whatever the bits."""
    measured = conversion(MacroConfig(), Technology(adc="jia_2020"))
    assert measured.adc == pytest.approx(2.86 * 0.81 * 865.536)
    assert measured.array == conversion(MacroConfig()).array
    for technology in (Technology(adc_pj=0.6), Technology(adc_pj=0.6, supply=0.7)):
        assert [conversion(MacroConfig(adc_bits=bits), technology).adc for bits in (4, 8)] == [600.0, 600.0]


def test_drivers_of_several_input_bits() -> None:
    """50 fF x bits x rows / columns; a remainder digit of one bit has none."""
    macro = MacroConfig(input_bits=7, encoding_bits=3)
    energies = [EnergyModel(TECHNOLOGY).conversion(macro, c).drivers for c in transfer(macro, False).cycles]
    assert energies[0] == pytest.approx(0.81 * 50 * 3 * 255 / 256)
    assert energies[-1] == 0.0


def test_columns_that_share_a_converter_share_its_rows_drivers_less() -> None:
    """N_ADC is the number of columns that are converted at a time."""
    alone = conversion(MacroConfig(encoding_bits=2))
    shared = conversion(MacroConfig(encoding_bits=2, static={"columns_per_adc": 4}))  # type: ignore[arg-type]
    assert shared.drivers == pytest.approx(4 * alone.drivers)
    assert (shared.array, shared.adc) == (alone.array, alone.adc)


def test_weight_parallel_conversion_switches_all_weight_bits() -> None:
    """B_w 8 and B_x 8, and an eighth of the columns at a time."""
    found = conversion(MacroConfig(weight_parallel=True))
    assert found.array == pytest.approx(8 * 0.81 * 376.992)
    assert found.drivers == pytest.approx(0.81 * 50 * 8 * 255 / 32)


def test_an_adc_range_saves_bits_and_no_resolution() -> None:
    """5 bits at one count an LSB: five comparisons of as small a voltage as 8 bits over 255 rows resolve."""
    full, ranged = conversion(MacroConfig()), conversion(MacroConfig(adc_bits=5, adc_step=1))
    coarse = conversion(MacroConfig(adc_bits=5))
    assert full.adc - ranged.adc == pytest.approx(0.81 * 300)
    assert ranged.adc - coarse.adc == pytest.approx(0.81 * 0.001 * (256**2 - 32**2))


def test_an_ideal_converter_has_bits_for_every_count() -> None:
    """255 rows need 8 bits, 256 rows 9; digits of two bits 10."""
    assert conversion(MacroConfig(adc_bits=None)).adc == conversion(MacroConfig(adc_bits=8)).adc
    assert conversion(MacroConfig(adc_bits=None, rows=256)).adc == conversion(MacroConfig(adc_bits=9, rows=256)).adc
    ideal = conversion(MacroConfig(adc_bits=None, encoding_bits=2))
    assert ideal.adc == conversion(MacroConfig(adc_bits=10, encoding_bits=2)).adc


def test_digital_cycle() -> None:
    """1.5 fJ a row at 28 nm and 0.9 V; linear in bits and node, quadratic in the supply."""
    assert EnergyModel(TECHNOLOGY).digital_cycle(255, 1, 1) == pytest.approx(382.5)
    other = EnergyModel(Technology(node=56, supply=0.45))
    assert other.digital_cycle(255, 4, 2) == pytest.approx(382.5 * 8 * 2 / 4)


def test_charge_of_true_counts() -> None:
    """Redistribution k (N - k) / N, ground k; nothing where all cells are off."""
    macro = MacroConfig(rows=100)
    active = ActiveCells(10.0, 150.0)
    for charging, cells in (("redistribution", 10.0 - 1.5), ("ground", 10.0)):
        found = EnergyModel(Technology(charging=charging)).conversion(macro, first(macro), active)
        assert found.array == pytest.approx(0.81 * 0.0528 * 28 * cells)


def test_measured_capacitor_takes_the_place_of_the_fit() -> None:
    """1.3 x 4.5 fF a row."""
    found = conversion(MacroConfig(rows=2304), Technology(preset="jia_2020"))
    assert found.array == pytest.approx(0.85**2 * 5.85 * 2304)


def test_shift_add_of_eight_weight_bits() -> None:
    """(4.2 (8 x 7 + 8 x 2.5 + 24) + 2.1 x 24) fF V^2; one slice has an accumulator alone."""
    macro = MacroConfig()
    digit = next(iter(input_digits(transfer(macro, False).cycles)))
    assert _shift_add_energy(EnergyModel(TECHNOLOGY), macro, digit) == pytest.approx(0.81 * 470.4)
    flip = transfer(macro.with_fields(weight_coding="flip"), False)  # a subtractor of 9 full adders for each code
    assert _complements_energy(EnergyModel(TECHNOLOGY), flip) == pytest.approx(0.81 * 4.2 * 8 * 8 * 9)
    whole = MacroConfig(weight_parallel=True)
    found = _shift_add_energy(EnergyModel(TECHNOLOGY), whole, transfer(whole, False).cycles)
    assert found == pytest.approx(0.81 * 24 * 6.3)
    assert math.isclose(
        _shift_add_energy(EnergyModel(Technology(node=56)), whole, transfer(whole, False).cycles), 2 * found
    )


class Flat(EnergyModel):
    """A model of two functions."""

    def __init__(self, technology: Technology, each: float = 1.0) -> None:
        super().__init__(technology)
        self.each = each

    def conversion(self, macro: MacroConfig, cycle: Cycle, active: ActiveCells | None = None) -> ConversionEnergy:
        return ConversionEnergy(self.each, 2 * self.each)

    def digital_cycle(self, rows: int, weight_bits: int, input_bits: int) -> float:
        return 0.5


def test_a_model_by_its_import_path() -> None:
    """Named as a column is, with arguments."""
    path = f"{__name__}.Flat"
    found = energy_model(Technology(energy_model=path, energy_model_args={"each": 3.0}))
    assert found.conversion(MacroConfig(), first(MacroConfig())).total == 9.0
    with pytest.raises(
        ValueError, match=r"`technology.energy_model_args.eech` is no argument of the energy model .*did you mean each?"
    ):
        energy_model(Technology(energy_model=path, energy_model_args={"eech": 3.0}))
    with pytest.raises(ValueError, match=r"`technology.energy_model` must be charge or an import path .*did you mean"):
        energy_model(Technology(energy_model="charg"))
    with pytest.raises(ValueError, match="which does not inherit EnergyModel"):
        energy_model(Technology(energy_model="asim_lightning.MacroConfig"))
