"""Wrong conversions of converters that differ: the same on every level of instructions."""

import ctypes

import pytest
import torch

from asim_lightning.circuit import MacroConfig, transfer
from asim_lightning.engine import sums_of, tails
from asim_lightning.engine.native import passes
from tests.engine.native.levels import kernels as kernels
from tests.engine.products import noise_of
from tests.engine.tails.test_tails import cases


@pytest.mark.parametrize("nonlinear", [0.0, 0.05])
@pytest.mark.parametrize("random", [0.0, 0.07])
def test_errors_are_those_of_the_best_level(
    kernels: ctypes.CDLL, random: float, nonlinear: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    static = {"offset": "0.15 lsb", "gain": 0.3, "inl": 0.66}
    circuit = transfer(MacroConfig(9, 9, random_noise=random, nonlinear_noise=nonlinear, static=static), True)
    for name, (product, x, w) in cases(circuit.macro, True).items():
        noise = noise_of(len(x), chip=3)
        expected = sums_of(tails, product, circuit, x, w, noise)
        with monkeypatch.context() as patched:
            patched.setattr(passes, "best_library", lambda: kernels)
            assert torch.equal(sums_of(tails, product, circuit, x, w, noise), expected), name
