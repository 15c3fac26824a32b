"""The INL that all converters have, by code, in the settings."""

from pathlib import Path
from typing import Any

import pytest
import torch

from asim_lightning.circuit import MacroConfig, transfer
from asim_lightning.circuit.static import StaticEffects
from asim_lightning.engine import ENGINES, MatmulProduct, converters_of, decision, refusals, sums_of
from asim_lightning.engine.chips.chip import Chip
from tests.engine.products import noise_of

TABLE = [0.0, *(0.9 * (-1) ** code * (code % 7) / 7 for code in range(1, 64))]


@pytest.mark.parametrize("sigma", [0.0, 2.0])
def test_thresholds_stand_where_the_table_says(sigma: float) -> None:
    """In plain float64: a code is the number of thresholds c - 1/2 + inl[c] that the value reaches."""
    macro = MacroConfig(2, 1, 63, 6, random_noise=sigma, static={"inl": [0.6 * value for value in TABLE]})
    x = torch.zeros(64, 63)
    for count in range(64):
        x[count, :count] = 1
    w = torch.ones(1, 63)
    noise = noise_of(64)
    found = sums_of(ENGINES["reference"], MatmulProduct(), transfer(macro, False), x, w, noise)[:, 0]
    plane = noise.conversions(1, range(1), 0, 0)[0, :, 0].double()
    signs = noise.conversions(1, range(1, 2), 0, 0)[0, :, 0].double()
    thresholds = torch.arange(1, 64).double() - 0.5 + 0.6 * torch.tensor(TABLE[1:]).double()
    expected = [
        ((torch.arange(64) * bit + sigma / 100 * 63 * normal)[:, None] >= thresholds).sum(1)
        for bit, normal in ((1, plane), (0, signs))
    ]
    assert torch.equal(found, (expected[0] - 2 * expected[1]).double())
    assert torch.equal(found, torch.arange(64).double()) == (sigma == 0)  # 0.46 LSB alone move no count


def test_all_converters_of_all_chips_have_it() -> None:
    circuit = transfer(MacroConfig(4, 4, 63, 6, static={"inl": TABLE}), False)
    assert not circuit.differs_by_chip
    assert decision(circuit)[0] != "exact"
    assert "exact" in refusals(circuit)
    found = converters_of(Chip(17, "layer"), MatmulProduct(), circuit, torch.Size((5, 100)))
    assert found.tables.tolist() == [pytest.approx(TABLE)]
    assert "INL of all converters by a table, 0.771 LSB at most" in circuit.macro.static.words()


def test_a_table_of_zeros_changes_nothing() -> None:
    assert decision(transfer(MacroConfig(4, 4, 63, 6, static={"inl": [0] * 64}), False))[0] == "exact"


def test_a_file_of_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("inl.csv").write_text("# of chip 3, LSB\n" + "\n".join(map(str, TABLE)) + "\n")
    expected, unread = MacroConfig(4, 4, 63, 6, static={"inl": TABLE}), StaticEffects(inl="inl.csv")
    assert unread.inl == "inl.csv"  # until a macro takes it
    for static in ({"inl": "inl.csv"}, unread):
        assert MacroConfig(4, 4, 63, 6, static=static) == expected
    assert expected.with_fields(**{"static.inl": "inl.csv"}) == expected


@pytest.mark.parametrize(
    ("inl", "message"),
    [
        ([0.1] * 63, "for each of the 64 codes of the ADC, got 63"),
        ([], "a number of LSB for each code, got none"),
        ([0.0] * 63 + [float("nan")], "finite numbers of LSB, got nan at code 63"),
        ([0.0] * 63 + ["0.1"], "finite numbers of LSB, got '0.1' at code 63"),
        ([0.0] * 63 + [-40], "at most half of the 64 codes, got -40 LSB"),
        ("none.csv", "none.csv must be a CSV file of a number a line: there is no such regular"),
        ("two.csv", "two.csv must be a CSV file of a number a line: could not convert string to float"),
        ("inl.txt", "0..20 %, got 'inl.txt'"),
    ],
)
def test_wrong_tables(inl: Any, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("two.csv").write_text("0.1 0.2\n" * 64)
    with pytest.raises(ValueError, match=message):
        MacroConfig(4, 4, 63, 6, static={"inl": inl})


def test_an_ideal_converter_has_no_codes() -> None:
    with pytest.raises(ValueError, match="needs a converter with codes"):
        MacroConfig(adc_bits=None, static={"inl": [0.1] * 256})
