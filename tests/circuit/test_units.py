"""Quantities with units: read, and written in one way."""

import pytest

from asim_lightning.circuit.units import canonical_quantity, quantity


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("0.3 lsb", "0.3 lsb"),
        ("0.3lsb", "0.3 lsb"),
        (" 0.30 LSB ", "0.3 lsb"),
        ("1.0 lsb", "1 lsb"),
        ("1e-3 mv", "0.001 mV"),
        ("0.2 %", 0.2),
        (0.2, 0.2),
        (0, 0),
        ("much", "much"),
        (None, None),
    ],
)
def test_a_quantity_is_written_in_one_way(given: float | str, written: float | str) -> None:
    assert canonical_quantity(given) == written
    assert canonical_quantity(written) == written


def test_number_and_unit() -> None:
    assert quantity("0.5LSB") == (0.5, "lsb")
    assert quantity("2 MV") == (2.0, "mV")
    assert quantity(0.1) == (0.1, "%")
    assert [quantity(other) for other in (True, None, "x", "3")] == [None] * 4
