"""The reference engine against an independent simulator, code by code."""

from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from asim_lightning.circuit import Charge, Cycle, MacroConfig, transfer
from asim_lightning.engine import Conv2dProduct, MatmulProduct, Noise, Product, reference, sums_of
from asim_lightning.engine.noise import layer_key, normals
from tests import oracle

KINDS = ("linear", "conv2d", "matmul")


@st.composite
def macros(draw: st.DrawFn, **fixed: Any) -> tuple[MacroConfig, bool]:
    """A macro and whether its input is signed."""
    signed = draw(st.booleans())
    parallel = draw(st.integers(0, 5)) == 0
    input_bits = draw(st.integers(1 + signed, 8))
    alpha = draw(st.sampled_from([None, None, 1e-3, 0.03]))
    macro = MacroConfig(
        weight_bits=draw(st.integers(2, 8)),
        input_bits=input_bits,
        rows=draw(st.one_of(st.integers(1, 300), st.integers(1, 12))),
        adc_bits=draw(st.one_of(st.none(), st.integers(1 + parallel, 10))),
        encoding_bits=1 if parallel else draw(st.integers(1, input_bits - signed)),
        weight_parallel=parallel,
        digital_levels=0 if parallel else draw(st.integers(0, 5)),
        digital_adc=draw(st.booleans()),
        column="charge" if alpha is None else "current",
        column_args={} if alpha is None else {"alpha": alpha},
        weight_coding="plain" if parallel else draw(st.sampled_from(["plain", "flip"])),
    )
    return macro.with_fields(**{k: draw(v) for k, v in fixed.items()}), signed


@st.composite
def voting_macros(draw: st.DrawFn) -> tuple[MacroConfig, bool]:
    """A noisy macro that votes."""
    rule = draw(st.sampled_from(["mode", "median", "mean"]))
    votes = draw(st.sampled_from([3, 5] if rule == "median" else [2, 3, 5]))
    macro, signed = draw(macros(adc_bits=st.integers(2, 10), random_noise=st.floats(0.2, 10.0)))
    return macro.with_fields(vote=rule, votes=votes, vote_levels=draw(st.integers(1, 6))), signed


@st.composite
def ranged_macros(draw: st.DrawFn) -> tuple[MacroConfig, bool]:
    """A macro whose ADC has a range of its own, often with noise, in % or in LSB."""
    macro, signed = draw(macros(adc_bits=st.integers(2, 8), digital_adc=st.just(False)))
    noise = st.sampled_from([0.0, 0.3, 2.0, "0.25 lsb", "0.7 lsb"])
    step = draw(st.integers(1, 9))
    swing = macro.rows / step  # of the full scale, an LSB must be no more than all
    random, nonlinear = (x if not isinstance(x, str) or swing >= 1 else 1.0 for x in (draw(noise), draw(noise)))
    return macro.with_fields(
        adc_step=step,
        adc_low=0 if macro.weight_parallel else draw(st.sampled_from([0, 0, 1, 7, 40])),
        random_noise=random,
        nonlinear_noise=nonlinear,
        vote_levels=draw(st.integers(0, 4)),
        votes=3,
        vote=draw(st.sampled_from(["mode", "median", "mean"])),
    ), signed


@dataclass
class Operands:
    """Random integers of one product and both ways to multiply them."""

    macro: MacroConfig
    signed: bool
    kind: str
    seed: int

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        pick = self.rng.integers
        if self.kind == "conv2d":
            groups, channels = ((1, 1), (1, 3), (2, 2), (2, 3), (5, 1), (1, 9))[pick(6)]
            kernel, self.geometry = (int(pick(1, 4)), int(pick(1, 4))), self._geometry(groups)
            size = [self.geometry[2][a] * (kernel[a] - 1) + 1 + int(pick(0, 3)) for a in (0, 1)]
            x_shape, w_shape = (2, groups * channels, *size), (2 * groups, channels, *kernel)
        else:
            terms, batch = int(pick(1, 40)), (2,) if self.kind == "matmul" else ()
            x_shape, w_shape = (2, 3, terms), (*batch, 4, terms)
        x_top, w_top = 2 ** (self.macro.input_bits - self.signed) - 1, 2 ** (self.macro.weight_bits - 1) - 1
        self.x = self._integers(-x_top if self.signed else 0, x_top, x_shape)
        self.w = self._integers(-w_top, w_top, w_shape)

    def _geometry(self, groups: int) -> tuple[Any, Any, Any, int]:
        stride, padding, dilation = ((int(a), int(b)) for a, b in self.rng.integers((1, 0, 1), (3, 3, 3), (2, 3)).T)
        return stride, padding, dilation, groups

    def _integers(self, low: int, high: int, shape: tuple[int, ...]) -> Any:
        extreme = self.rng.choice([low, high], shape)
        uniform = self.rng.integers(low, high + 1, shape)
        return np.where(self.rng.random(shape) < self.rng.choice([0.0, 0.1, 0.9]), extreme, uniform)

    @property
    def product(self) -> Product:
        return Conv2dProduct(*self.geometry) if self.kind == "conv2d" else MatmulProduct(self.kind == "matmul")

    def simulated(self, noise: Noise) -> Any:
        operands = torch.from_numpy(self.x).float(), torch.from_numpy(self.w).float()
        return sums_of(reference, self.product, transfer(self.macro, self.signed), *operands, noise).numpy()

    def expected(self, normal: oracle.Normal | None = None) -> Any:
        if self.kind == "conv2d":
            return oracle.conv2d(self.macro, self.signed, self.x, self.w, *self.geometry, normal=normal)
        multiply = oracle.linear if self.kind == "linear" else oracle.matmul
        return multiply(self.macro, self.signed, self.x, self.w, normal)

    def positions(self) -> int:
        return self.product.geometry(torch.from_numpy(self.x), torch.from_numpy(self.w)).positions


def noise_of(seed: int) -> Noise:
    ids = torch.tensor([3, seed % 999])
    return Noise(seed, "layer", call=0, trial=seed % 7, chip=0, sample_ids=ids, offsets=torch.zeros_like(ids))


def package_normals(noise: Noise, positions: int, macro: MacroConfig, signed: bool) -> oracle.Normal:
    """Normals of (tile, cycle, vote) by the published definition of the noise stream."""
    key, cycles = (noise.seed, layer_key(noise.name)), len(transfer(macro, signed).cycles)

    @cache
    def of_tile(tile: int, vote: int) -> Any:
        last = noise.trial << 16 | vote
        return normals(key, noise.sample_ids, noise.offsets, positions, range(cycles), tile * cycles, last).numpy()

    return lambda tile, cycle, vote: of_tile(tile, vote)[cycle : cycle + 1]


NONLINEAR = {"nonlinear_noise": st.sampled_from([0.0, 2.0])}
# with a range, sigma that depends on the count is a float32 here and there, whose last bit may move a code
RANGED = ranged_macros().map(lambda case: (case[0].with_fields(nonlinear_noise=0.0), case[1]))
STRATEGIES = {
    "noise-free": macros(),
    "noisy": macros(adc_bits=st.integers(2, 10), random_noise=st.floats(0.1, 5.0), **NONLINEAR),
    "voted": voting_macros(),
    "range of its own": RANGED,
}


@st.composite
def drooping(draw: st.DrawFn, cases: st.SearchStrategy[tuple[MacroConfig, bool]]) -> tuple[MacroConfig, bool]:
    """A macro whose level falls with the driven rows."""
    macro, signed = draw(cases)
    return macro.with_fields(column="droop", column_args={"k": draw(st.floats(0.001, 0.5))}), signed


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", STRATEGIES)
@settings(max_examples=30)
@given(data=st.data(), seed=st.integers(0, 2**31))
def test_codes_are_the_oracles(name: str, kind: str, data: st.DataObject, seed: int) -> None:
    case = data.draw(STRATEGIES[name])
    operands, noise = Operands(*case, kind, seed), noise_of(seed)
    normal = None if name == "noise-free" else package_normals(noise, operands.positions(), *case)
    np.testing.assert_allclose(operands.simulated(noise), operands.expected(normal), rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=200)
@given(case=drooping(st.one_of(macros(), RANGED, STRATEGIES["noisy"], voting_macros())), seed=st.integers(0, 2**31))
def test_codes_of_a_droop_are_those_of_an_oracle_that_counts_driven_rows(
    kind: str, case: tuple[MacroConfig, bool], seed: int
) -> None:
    operands, noise = Operands(*case, kind, seed), noise_of(seed)
    normal = package_normals(noise, operands.positions(), *case)
    np.testing.assert_allclose(operands.simulated(noise), operands.expected(normal), rtol=1e-12, atol=1e-9)


class Sagging(Charge):
    """The level falls with the driven rows, and the noise rises."""

    def level(self, count: Tensor, driven: Tensor, cycle: Cycle) -> Tensor:  # type: ignore[override]
        return super().level(count * (1.0 - 0.1 * driven / self.macro.rows), cycle)

    def sigma(self, count: Tensor, driven: Tensor, cycle: Cycle) -> Tensor:  # type: ignore[override]
        return 0.05 * driven


class Rising(Charge):
    """Only the noise depends on the driven rows."""

    sigma = Sagging.sigma


@pytest.mark.parametrize("column", [Sagging, Rising])
def test_statistics_of_a_column_by_driven_rows(column: type[Charge]) -> None:
    """All weight bits are 1, so that the count of every cycle is the number of driven rows."""
    macro = MacroConfig(4, 4, 60, 8, encoding_bits=2, column=f"{__name__}.{column.__name__}")
    circuit, driven, reads = transfer(macro, False), 40, 4000
    x, w = torch.zeros(reads, 60), torch.full((1, 60), -1.0)
    x[:, :driven] = 1.0
    ids = torch.arange(reads)
    noise = Noise(1, "layer", call=0, trial=0, chip=0, sample_ids=ids, offsets=0 * ids)
    sums = sums_of(reference, MatmulProduct(), circuit, x, w, noise).flatten()
    counts_a_code, sigma = 180 / 255, 0.05 * driven
    # the upper input digit is 0, so its conversions return 0 without noise
    factor = 1.0 - 0.1 * driven / 60 if column is Sagging else 1.0
    deviation = counts_a_code * (sigma**2 + 1 / 12) ** 0.5 * sum(4**bit for bit in range(4)) ** 0.5
    assert abs(float(sums.mean()) + driven * factor) < 5 * deviation / reads**0.5
    assert float(sums.std()) == pytest.approx(deviation, rel=0.05)


@settings(max_examples=25)
@given(
    case=macros(adc_bits=st.none(), random_noise=st.floats(0.1, 5.0), vote=st.just("mean"), votes=st.integers(1, 3)),
    seed=st.integers(0, 2**31),
)
def test_noisy_ideal_converter(case: tuple[MacroConfig, bool], seed: int) -> None:
    operands, noise = Operands(*case, "linear", seed), noise_of(seed)
    expected = operands.expected(package_normals(noise, operands.positions(), *case))
    np.testing.assert_allclose(operands.simulated(noise), expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("kind", KINDS)
def test_the_decoding_of_a_range_is_an_identity(kind: str) -> None:
    """With an LSB of one count and no clipping the product comes back, remainder group and sign plane included."""
    for signed in (False, True):
        macro = MacroConfig(5, 6, 60, 12, encoding_bits=2, adc_step=1)
        case = Operands(macro, signed, kind, 3)
        ideal = Operands(MacroConfig(5, 6, 60, None, encoding_bits=2), signed, kind, 3)
        assert np.array_equal(case.simulated(noise_of(0)), ideal.simulated(noise_of(0)))
    case = Operands(MacroConfig(5, 6, 60, 12, encoding_bits=4, adc_step=2, adc_low=1000), True, kind, 3)
    cycles, tiles = transfer(case.macro, True).cycles, case.expected() * 0 + 1
    constant = 1000 * sum(c.sign * 2**c.shift for c in cycles)  # all counts are below the range
    assert np.array_equal(case.simulated(noise_of(0)), constant * tiles)


NEVER_READ = {
    "noise-free": {},
    "noisy": {"random_noise": 0.2, "nonlinear_noise": 0.1},
    "cells": {"column": "current", "column_args": {"alpha": 1e-3, "cell_sigma": 3.0}},
    "voted": {"vote_levels": 2, "votes": 3, "random_noise": 1.0},
    "hybrid": {"digital_levels": 1, "random_noise": 0.3},
    "ideal converter": {"adc_bits": None, "random_noise": 0.1},
    "weight-parallel": {"weight_parallel": True, "adc_bits": 12},
}


@pytest.mark.parametrize("settings", NEVER_READ.values(), ids=NEVER_READ)
@pytest.mark.parametrize("batched", [False, True])
def test_no_value_is_read_back_from_the_device(
    settings: dict[str, Any], batched: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # tensors without values stand in for those of a device: whatever waits for one fails
    monkeypatch.setattr(reference, "exact_float32", lambda _: nullcontext())
    circuit, meta = transfer(MacroConfig(2, 2, **settings), True), torch.device("meta")
    x, w = torch.empty(2, 3, 5, 300, device=meta), torch.empty(*([2, 3] if batched else []), 6, 300, device=meta)
    noise = Noise(0, "layer", 0, 0, 0, *(torch.empty(2, dtype=torch.int64, device=meta) for _ in range(2)))
    product = MatmulProduct(batched_weight=batched)
    assert sums_of(reference, product, circuit, x, w, noise).shape == (2, 3, 5, 6)
    with pytest.raises(RuntimeError, match="meta"):
        float(x.sum())
