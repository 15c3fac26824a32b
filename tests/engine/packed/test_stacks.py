"""Rows of registers in which the cycles of few outputs stand beside each other."""

from typing import Any

import numpy as np
import pytest

from asim_lightning.circuit import MacroConfig, transfer
from asim_lightning.engine.packed.schedule import PAIR
from asim_lightning.engine.packed.stacks import stacks


@pytest.mark.parametrize("outputs", range(2, 9))
@pytest.mark.parametrize("settings", [{}, {"weight_bits": 4, "encoding_bits": 3}, {"weight_bits": 16, "input_bits": 3}])
def test_each_row_is_a_cycle_of_an_output(outputs: int, settings: dict[str, Any]) -> None:
    circuit = transfer(MacroConfig(**settings), False)
    found = stacks(circuit, outputs)
    assert found is not None
    assert (found.registers, found.rows * found.registers) == (1 if outputs <= 4 else 2, 4 * outputs)
    shape = 2, 3, 16, circuit.macro.weight_bits, 16
    single = np.random.default_rng(0).integers(0, 2**32, shape).astype(np.uint32)
    rows, pairs = found.stacked(single), found.pairs(circuit).reshape(-1, PAIR)
    assert rows.ctypes.data % 64 == 0
    used = np.zeros(rows.shape, bool)
    for number, cycle in enumerate(circuit.cycles):
        stack = pairs[number // 4, 0]
        for output in range(outputs):
            row = number % 4 * outputs + output
            register, row = divmod(row, found.rows)
            place = register * 16 + row
            assert np.array_equal(rows[:, :, place, stack], single[:, :, output, cycle.weight_bits[0]])
            used[:, :, place, stack] = True
    assert not rows[~used].any()


def test_none_where_they_are_of_no_use() -> None:
    circuit = transfer(MacroConfig(), False)
    assert [outputs for outputs in range(20) if stacks(circuit, outputs)] == [*range(2, 9)]
    # the fours of six weight bits meet two bits of the inputs
    assert stacks(transfer(MacroConfig(weight_bits=6), False), 4) is None
