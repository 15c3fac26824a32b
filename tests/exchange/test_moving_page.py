"""The page for movers has every published name."""

import re
from pathlib import Path

from asim_lightning.exchange.published.names import AV, CONV, FC, KNOWN, LINEAR, MLP, PROJ, QK
from asim_lightning.surgery import Plan

PAGE = Path(__file__).parents[2] / "notebooks" / "MOVING.md"
ROWS = [line.strip("|").split("|") for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
NAMES = {name for row in ROWS for cell in row for name in re.findall(r"`([^`]+)`", cell)}


def test_every_setting_is_in_a_table_and_macro_settings_stand_beside_their_fields() -> None:
    assert set(KNOWN) <= NAMES
    beside = {name: row[0] for row in ROWS for name in re.findall(r"`([^`]+)`", "|".join(row[1:]))}
    for keys in (CONV, LINEAR, QK, AV, PROJ, MLP, FC):
        for field, name in keys.items():
            assert f"`{field}`" in beside[name]
            assert hasattr(Plan().macro, field)


def test_every_defect_has_a_line() -> None:
    assert [row[0].strip() for row in ROWS if re.fullmatch(r" B\d+ ", row[0])] == [f"B{n}" for n in range(1, 32)]
