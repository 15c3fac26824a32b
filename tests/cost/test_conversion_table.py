"""Energies of conversions over digital work: the cost model's own numbers, and the line where analog wins."""

import pytest

from asim_lightning.circuit import MacroConfig, StaticEffects
from asim_lightning.circuit.schedule import schedule
from asim_lightning.cost import EnergyModel, Technology
from asim_lightning.cost.conversion_table import ConversionGrid, conversion_rows, conversion_table

GRID = ConversionGrid([255, 1152], [1, 4], [4, 8], [1, 16, 64])


def test_ratios_are_those_of_the_energy_model_with_the_line_where_analog_wins() -> None:
    technology, macro = Technology(), MacroConfig(weight_bits=4, input_bits=4, adc_bits=7)
    rows = conversion_rows(technology, macro, GRID)
    assert [(each.macro.rows, each.macro.encoding_bits, each.macro.adc_bits) for each in rows] == [
        (r, e, b) for r in GRID.rows for e in GRID.encoding_bits for b in GRID.adc_bits
    ]
    model, wins = EnergyModel(technology), 0
    for row in rows:
        for step in row.energies:
            own = row.macro.with_fields(adc_step=step)
            whole = sum(model.conversion(own, cycle).total for cycle in schedule(own, False)[:4])  # one input digit
            products = model.digital_cycle(own.rows, 4, own.encoding_bits)
            assert row.ratio(step) == pytest.approx(whole / products)
            assert row.wins_from is None or step is None or (row.ratio(step) < 1) == (step >= row.wins_from)
        wins += row.wins_from is not None
    assert 0 < wins < len(rows)
    at = {(each.macro.rows, each.macro.encoding_bits, each.macro.adc_bits): each for each in rows}
    assert at[255, 1, 8].ratio(1) == pytest.approx(2.63, abs=0.005)  # published with the model's coefficients
    assert at[1152, 1, 4].ratio(16) == pytest.approx(0.99, abs=0.005)
    assert at[255, 1, 8].wins_from is None


def test_the_table_has_a_column_for_each_step_and_energies_in_its_file() -> None:
    rows = conversion_rows(Technology(), MacroConfig(), GRID)
    table = conversion_table(rows, GRID, Technology())
    names, *lines = table.numbers
    assert names[3:7] == ["full_scale_fj", "step_1_fj", "step_16_fj", "step_64_fj"]
    assert lines[0][3] == rows[0].energies[None].total
    assert "never" in str(table)
    with pytest.raises(ValueError, match=r"`grid.adc_step` must be 1\.\.1048576, got 0"):
        conversion_rows(Technology(), MacroConfig(), ConversionGrid(adc_step=[0]))
    with pytest.raises(ValueError, match=r"`macro.rows` must be"):
        conversion_rows(Technology(), MacroConfig(), ConversionGrid(rows=[0]))
    for name in ("rows", "encoding_bits", "adc_bits"):
        with pytest.raises(ValueError, match=rf"`grid.{name}` must have one value or more, such as \[8\], got none"):
            conversion_rows(Technology(), MacroConfig(), ConversionGrid(**{name: []}))


def test_noise_in_lsb_takes_no_energy_and_charging_by_counts_is_refused() -> None:
    static = StaticEffects(offset="20 lsb")
    noisy, grid = MacroConfig(random_noise="0.3 lsb", static=static), ConversionGrid([64], [4], [8], [4])
    (plain,), (row,) = (conversion_rows(Technology(), macro, grid) for macro in (MacroConfig(), noisy))
    assert row.energies == plain.energies
    with pytest.raises(ValueError, match=r"`technology\.charging` must be fixed with `conversions`"):
        conversion_rows(Technology(charging="ground"), MacroConfig(), grid)
