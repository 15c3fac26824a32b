"""The choice among the engines that make every conversion, where the fused engine may not be trusted yet."""

import warnings

import pytest
import torch

from asim_lightning.circuit import MacroConfig, transfer
from asim_lightning.engine import engines, fused, reference
from asim_lightning.engine.engines import kernel_for, why_wrong
from asim_lightning.engine.program import Weights

CIRCUIT = transfer(MacroConfig(4, 4, 40, 5, random_noise=2.0), True)
DEVICE = torch.device("cpu")


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
