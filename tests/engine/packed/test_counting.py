"""The packed engine counts in the fastest way."""

from typing import Any

import pytest
import torch

from asim_lightning.circuit import MacroConfig, transfer
from asim_lightning.engine import Conv2dProduct, MatmulProduct
from asim_lightning.engine.packed import counting, kernels
from asim_lightning.engine.packed.look_ups import look_ups
from asim_lightning.engine.packed.plan import plan_of

POPCOUNT, LOOK_UPS, AMX = "popcount", "look-ups", "AMX"


def way(inputs: int, outputs: int, monkeypatch: Any, *has: str, **fields: Any) -> str:
    """How products of so many rows and outputs are counted where the processor has what is named."""
    for name in ("popcount", "look_ups", "amx"):
        monkeypatch.setattr(counting, f"_has_{name}", lambda name=name: name in has)
    x, w = torch.empty(1, inputs, 300, device="meta"), torch.empty(outputs, 300, device="meta")
    found = counting.counting(MatmulProduct(), transfer(MacroConfig(**fields), False), x, w)
    return AMX if found.by_amx else POPCOUNT if found.look_ups is None else LOOK_UPS


@pytest.mark.parametrize(
    ("encoding_bits", "with_popcount", "without"),
    [(1, POPCOUNT, POPCOUNT), (2, POPCOUNT, LOOK_UPS), (3, POPCOUNT, LOOK_UPS), (4, LOOK_UPS, LOOK_UPS),
     (5, POPCOUNT, LOOK_UPS), (8, LOOK_UPS, LOOK_UPS)],
)  # fmt: skip
def test_look_ups_take_four_bits_at_a_time(
    encoding_bits: int, with_popcount: str, without: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = {"encoding_bits": encoding_bits}
    assert way(64, 64, monkeypatch, "popcount", "look_ups", **fields) == with_popcount
    assert way(64, 64, monkeypatch, "look_ups", **fields) == without
    assert way(64, 64, monkeypatch, "popcount", **fields) == way(64, 64, monkeypatch, **fields) == POPCOUNT


@pytest.mark.parametrize(
    ("inputs", "outputs", "expected"),
    [(2, 64, POPCOUNT), (4, 64, LOOK_UPS), (5, 64, POPCOUNT), (64, 8, POPCOUNT), (64, 12, POPCOUNT),
     (64, 16, LOOK_UPS)],
)  # fmt: skip
def test_lanes_of_look_ups_are_outputs(
    inputs: int, outputs: int, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert way(inputs, outputs, monkeypatch, "popcount", "look_ups", encoding_bits=4) == expected


def test_inputs_in_bytes_are_worth_more_to_many_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [way(50, outputs, monkeypatch, "popcount", "look_ups", encoding_bits=3) for outputs in (64, 3072)]
    assert found == [POPCOUNT, LOOK_UPS]


def test_amx_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    assert way(64, 64, monkeypatch, "popcount", "look_ups", "amx", encoding_bits=4) == AMX
    assert way(64, 64, monkeypatch, "look_ups", "amx", encoding_bits=2, random_noise=0.1) == LOOK_UPS


@pytest.mark.parametrize(("encoding_bits", "width", "digits"), [(1, 1, 8), (2, 2, 4), (3, 8, 1), (4, 8, 1), (8, 8, 1)])
def test_few_bits_become_bytes_for_amx_where_they_are_counted(
    encoding_bits: int, width: int, digits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting, "_has_amx", lambda: True)
    circuit, w = transfer(MacroConfig(encoding_bits=encoding_bits), False), torch.empty(64, 300, device="meta")
    found = counting.counting(MatmulProduct(), circuit, torch.empty(1, 64, 300, device="meta"), w)
    assert (found.by_amx, found.by_input, found.inputs.width, found.digits_a_byte) == (True, True, width, digits)
    for product, inputs in ((MatmulProduct(), 20), (MatmulProduct(batched_weight=True), 64)):
        x = torch.empty(1, inputs, 300, device="meta")
        assert counting.counting(product, circuit, x, w).inputs.width == 8


def test_sums_that_do_not_fit_16_bits_are_not_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    assert way(64, 64, monkeypatch, "popcount", "look_ups", encoding_bits=4, rows=4369) == LOOK_UPS
    assert way(64, 64, monkeypatch, "popcount", "look_ups", encoding_bits=4, rows=4370) == POPCOUNT


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("encoding_bits", [1, 3, 4, 5, 8])
def test_look_ups_take_every_bit_of_every_cycle_once(encoding_bits: int, signed: bool) -> None:
    circuit = transfer(MacroConfig(weight_bits=3, input_bits=9, encoding_bits=encoding_bits), signed)
    found = look_ups(circuit)
    assert found is not None
    assert max(bits for _, bits in found.digits) <= 4
    assert len(found.first_step) == -(-len(circuit.cycles) // 4) * 4 + 1
    steps = found.steps.reshape(-1, 3)
    for number, cycle in enumerate(circuit.cycles):
        own = steps[found.first_step[number] : found.first_step[number + 1]]
        assert (own[:, 1] == cycle.weight_bits[0]).all()
        taken = [found.digits[digit][0] + bit for digit, _, _ in own for bit in range(found.digits[digit][1])]
        assert tuple(taken) == cycle.input_bits
        assert [found.digits[digit][0] - cycle.input_bits[0] for digit, _, _ in own] == own[:, 2].tolist()


@pytest.mark.parametrize(
    ("threads", "units", "groups", "parts"),
    [(2, 1, 4, 2), (2, 64, 4, 1), (2, 4, 192, 8), (16, 1, 32, 16), (16, 1, 4, 4), (1, 1, 1, 1), (16, 4, 32, 4)],
)
def test_every_thread_has_work_and_many_as_much(threads: int, units: int, groups: int, parts: int) -> None:
    assert kernels._parts(groups, units, threads) == parts


def test_parts_of_a_batch_are_counted_as_all_of_it() -> None:
    product, circuit = Conv2dProduct((1, 1), (1, 1), (1, 1), 1), transfer(MacroConfig(), False)
    one, w = torch.Size((1, 4, 3, 3)), torch.Size((16, 4, 3, 3))
    assert plan_of(product, circuit, torch.Size((16, 4, 3, 3)), w, 16).how.by_input  # 144 pixels fill 9 times 16 lanes
    assert plan_of(product, circuit, one, w, 16).how.by_input
    assert not plan_of(product, circuit, one, w, 1).how.by_input
