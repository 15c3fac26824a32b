"""The choice among engines: by the macro, and among those that make every conversion by the device."""

import warnings
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from asim_lightning.circuit import MacroConfig, transfer
from asim_lightning.engine import choose, decision, engines, fused, rare, reference
from asim_lightning.engine.engines import kernel_for, why_wrong
from asim_lightning.engine.stored_weights import Weights
from tests.engine.native.random_macros import random_macro

CIRCUIT = transfer(MacroConfig(4, 4, 40, 5, random_noise=2.0), True)
DEVICE = torch.device("cpu")
LSB = MacroConfig(weight_bits=2, input_bits=1)


@pytest.fixture
def prepared(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Errors of the first outputs that a kernel in the fused engine's place makes, one by one."""
    errors: list[float] = []

    class Program(reference.ReferenceProgram):
        def sums(self, x: torch.Tensor, noise: object) -> torch.Tensor:
            sums = super().sums(x, noise)  # type: ignore[arg-type]
            sums.view(-1)[: len(errors)] += torch.tensor(errors, dtype=sums.dtype)
            return sums

    def prepare(product: object, circuit: object, weights: Weights, chip: object) -> Program:
        return Program(product, weights, circuit, chip)  # type: ignore[arg-type]

    monkeypatch.setattr(fused, "prepare", prepare)
    monkeypatch.setattr(engines, "_first_uses", {})
    return errors


def test_a_kernel_with_few_other_roundings_is_used(prepared: list[float]) -> None:
    prepared += [1.0] * 10
    assert why_wrong(CIRCUIT, DEVICE) is None


def test_a_kernel_that_differs_is_not_used_again(prepared: list[float]) -> None:
    prepared += [1.0] * 1152  # of 2 * 32 * 36 outputs
    expected = "50% of the outputs of the fused kernel's first use differ from the reference engine's"
    assert why_wrong(CIRCUIT, DEVICE) == expected
    prepared.clear()
    assert why_wrong(transfer(MacroConfig(), False), DEVICE) == expected


def test_a_kernel_that_does_not_compile_is_not_used(prepared: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise TypeError("no such instruction")

    monkeypatch.setattr(fused, "prepare", fails)
    expected = "the fused kernel's first use ended in TypeError: no such instruction"
    assert why_wrong(CIRCUIT, DEVICE) == expected


def test_one_warning_says_why_the_reference_computes_on_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda, found = torch.device("cuda"), {"why": ""}
    monkeypatch.setattr(fused, "why_not_on", lambda device: None)
    monkeypatch.setattr(engines, "why_wrong", lambda circuit, device: found["why"] or None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert kernel_for(CIRCUIT, cuda) == "fused"
    found["why"] = "it is wrong"
    with pytest.warns(UserWarning, match=r"^The reference engine makes .*, many times slower: it is wrong$") as record:
        assert [kernel_for(CIRCUIT, cuda), kernel_for(CIRCUIT, cuda)] == ["reference"] * 2
    assert len(record) == 1


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "exact"),
        ({"adc_bits": None}, "exact"),
        ({"random_noise": "0.2 lsb"}, "exact + events"),
        ({"random_noise": "0.3 lsb"}, "every conversion"),  # often wrong
        ({"random_noise": 0.1, "adc_bits": None}, "every conversion"),  # there are no codes
        ({"rows": 256}, "every conversion"),  # lossy
        ({"rows": 256, "random_noise": "0.2 lsb"}, "every conversion"),
        ({"random_noise": "0.2 lsb", "weight_parallel": True}, "every conversion"),
        ({"static": {"offset": "0.1 lsb"}}, "exact + events"),
        ({"static": {"offset": "0.3 lsb"}}, "every conversion"),  # often wrong
        ({"static": {"offset": "0.1 lsb"}, "random_noise": "0.1 lsb"}, "exact + events"),
        ({"static": {"offset": "3 lsb", "trim": "offset", "trim_step": "0.4 lsb"}}, "exact + events"),
        ({"static": {"stuck_at_0": 0.1}}, "exact"),
        ({"static": {"inl": 0.66}, "random_noise": "0.15 lsb", "digital_levels": 1}, "exact + events"),
    ],
    ids=str,
)
def test_the_algorithm_of_a_macro(fields: dict[str, Any], expected: str) -> None:
    circuit = transfer(LSB.with_fields(**fields), False)
    assert decision(circuit)[0] == expected
    assert expected == engines.ENGINES[choose(circuit)].ALGORITHM


def test_the_first_engine_that_prefers_a_macro_computes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(60):
        circuit = transfer(random_macro(Random(seed), tmp_path / f"{seed}.csv"), False)
        events = rare.refuses(circuit) is None
        expected = "exact" if circuit.exact else "events" if events else kernel_for(circuit, DEVICE)
        assert choose(circuit) == expected
        assert decision(circuit)[0] == engines.ENGINES[expected].ALGORITHM
    new = SimpleNamespace(**{**vars(reference), "ALGORITHM": "new", "prefers": lambda circuit: "it is new"})
    monkeypatch.setitem(engines.ENGINES, "exact", new)  # a file of its own is all that an algorithm needs
    assert choose(circuit) == "exact"
    assert decision.__wrapped__(circuit) == ("new", "it is new")
