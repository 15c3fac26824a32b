"""Noise that a macro names must be in a sigma of the column's own, or is refused."""

import re

import pytest
import torch
from torch import Tensor

from asim_lightning.circuit import Column, Cycle, MacroConfig, transfer


class OwnNoise(Column):
    """Noise of its own, which takes nothing from the macro."""

    def sigma(self, count: Tensor, cycle: Cycle) -> Tensor:
        return torch.full((), 0.3)


class HalfOwnNoise(Column):
    def sigma(self, count: Tensor, cycle: Cycle) -> Tensor:
        return torch.full((), 0.3 + self.macro.random_noise_percent)


@pytest.mark.parametrize("name", ["random_noise", "nonlinear_noise"])
def test_noise_that_a_column_ignores_is_refused(name: str) -> None:
    kind = f"{__name__}.OwnNoise"
    transfer(MacroConfig(column=kind), False)
    said = f"`macro.{name}` must be 0 with column {kind}, whose sigma does not depend on it, got 0.2"
    with pytest.raises(ValueError, match=re.escape(said)):
        transfer(MacroConfig(column=kind, **{name: 0.2}), False)


def test_noise_that_a_column_uses_in_part_is_taken() -> None:
    kind = f"{__name__}.HalfOwnNoise"
    transfer(MacroConfig(column=kind, random_noise=0.2), False)
    with pytest.raises(ValueError, match=r"`macro\.nonlinear_noise` must be 0 with column"):
        transfer(MacroConfig(column=kind, random_noise=0.2, nonlinear_noise=0.1), False)


def test_noise_that_no_cycle_has_is_not_asked_for() -> None:
    macro = MacroConfig(column=f"{__name__}.OwnNoise", random_noise="0.1 lsb", digital_levels=15)
    assert not any(transfer(macro, False).noisy)


class Quadrature(Column):
    """Much noise of its own beside the macro's."""

    def sigma(self, count: Tensor, cycle: Cycle) -> Tensor:
        return (super().sigma(count, cycle) ** 2 + 4.0).sqrt()


def test_little_noise_beside_much_is_taken() -> None:
    transfer(MacroConfig(column=f"{__name__}.Quadrature", random_noise="0.001 lsb"), False)
