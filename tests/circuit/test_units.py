"""Quantities with units: read, and written in one way."""

import pytest

from asim_lightning.circuit.units import canonical_quantity, number_in, quantity, share_of_supply, supply_share


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


def test_a_number_in_a_unit() -> None:
    assert [number_in(text, "V") for text in ("800 mV", "0.8V", " 8e-1 V ", "800000 uV")] == [0.8] * 4
    assert [number_in(text, "um^2") for text in ("4.93 um^2", "2 mm^2", "5e5 nm^2")] == [4.93, 2e6, 0.5]
    assert [number_in(text, "fF") for text in ("1.5 pF", "2 aF")] == [1500.0, 0.002]
    assert [number_in(text, "V") for text in ("800", "800 m", "0.8 fF", "V", "0.8 MV", "0.8 V V")] == [None] * 6
    assert number_in("2 um", "um^2") is None


def test_a_share_of_a_supply() -> None:
    assert [supply_share(text) for text in ("0.8 supply", ".5 of 0.9 V", "0.8 of 900 mV")] == [
        (0.8, None), (0.5, 0.9), (0.8, 0.9),
    ]  # fmt: skip
    wrong = (0.8, None, "0.8", "0.8 suply", "0.8 of it", "0.8 of 900", "-1 supply", "0.8 of 0 V", "supply")
    assert [supply_share(each) for each in wrong] == [None] * len(wrong)
    assert share_of_supply(0.8, 0.9) == "0.8 of 900 mV"
    assert supply_share(share_of_supply(0.85, 0.72)) == (0.85, 0.72)


def test_number_and_unit() -> None:
    assert quantity("0.5LSB") == (0.5, "lsb")
    assert quantity("2 MV") == (2.0, "mV")
    assert quantity(0.1) == (0.1, "%")
    assert [quantity(other) for other in (True, None, "x", "3")] == [None] * 4
