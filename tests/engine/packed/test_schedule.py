"""Which arithmetic of the packed engine stands in for tables, and which codes are halves of words."""

from typing import Any

import pytest

from asim_lightning.circuit import MacroConfig, transfer
from asim_lightning.engine.packed import schedule
from asim_lightning.engine.packed.schedule import (
    CONSTANT,
    NONE,
    PROPORTIONAL,
    QUOTIENT,
    SHRINKING,
    TABLE,
    packed_schedule,
)
from tests.engine.products import NOISY


@pytest.mark.parametrize(
    ("settings", "kinds"),
    [
        ({}, (PROPORTIONAL, NONE)),
        ({"rows": 200}, (PROPORTIONAL, NONE)),
        ({"rows": 256, "random_noise": 0.3}, (PROPORTIONAL, CONSTANT)),
        ({"rows": 200, "random_noise": 0.3}, (QUOTIENT, CONSTANT)),
        ({"adc_bits": 12, "encoding_bits": 4, "nonlinear_noise": 5.0, "random_noise": 1.0}, (QUOTIENT, TABLE)),
        (NOISY, (PROPORTIONAL, SHRINKING)),
        ({"nonlinear_noise": 0.5}, (PROPORTIONAL, TABLE)),
        ({"column": "current", "column_args": {"alpha": 1e-3}, **NOISY}, (TABLE, TABLE)),
    ],
)
def test_arithmetic_stands_in_for_tables_where_it_gives_the_same(
    settings: dict[str, Any], kinds: tuple[int, int]
) -> None:
    assert tuple(packed_schedule(transfer(MacroConfig(**settings), False)).kinds[:2]) == kinds


def test_codes_and_weights_of_15_bits_are_multiplied_as_halves() -> None:
    def plain(**settings: Any) -> list[int]:
        return list(packed_schedule(transfer(MacroConfig(**settings), False)).plain)

    # from 2^0 and from 2^4 on for each bit
    assert plain(rows=200) == [1, 5, 2, 6, 3, 7, 4, 8, 5, 9, 6, 10, 7, 11, 8, 12]
    assert plain(rows=200, random_noise=0.1) == [0] * 16
    assert plain(rows=300, adc_bits=15)[0] == 1
    assert plain(rows=300, adc_bits=16)[0] == 0
    kinds = [(PROPORTIONAL, NONE, 0, 1, weight) for weight in (12, -(2**16), 0, 4)]
    assert schedule._plain(kinds, [[0.5, 7.0]] * 4) == 3
    kinds[2] = (PROPORTIONAL, NONE, 0, 1, 2)
    assert schedule._plain(kinds, [[0.5, 7.0]] * 4) == 0
