"""Columns of costs in words."""

import pytest

from asim_lightning.report.cost_names import cost_label


@pytest.mark.parametrize(
    ("column", "label"),
    [
        ("energy_uj", "energy (µJ)"),
        ("energy_uj_low", "energy (µJ)"),
        ("latency_ms", "latency (ms)"),
        ("tops_per_watt", "TOPS/W"),
        ("adc_bits", "ADC bits"),
        ("rows", "rows"),
    ],
)
def test_a_column_has_its_unit_and_a_number_of_the_macro_its_label(column: str, label: str) -> None:
    assert cost_label(column) == label
