"""Charge and current models fitted to codes: what made them lies within the intervals."""

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from asim_lightning.circuit.estimate import Estimate
from asim_lightning.circuit.measured import measured_curves
from asim_lightning.circuit.model_fit import AllFits, ModelFit, fit_models, rising_sigma
from asim_lightning.resources import shipped_folder
from tests.circuit.measured_chips import COUNTS, ROWS, TOP, Array, bent_level, codes_of, moments_csv, reads_csv

# alpha, offset, gain, random noise, nonlinear noise
CHIPS = {
    "charge": (0.0, 0.3, 0.99, 0.08, 0.3),
    "current": (3e-4, -0.2, 1.05, 0.1, 0.0),
    "bent current": (1e-3, 0.1, 1.2, 0.05, 0.5),
    "random noise alone": (0.0, 0.0, 1.0, 0.12, 0.0),
}


@cache
def fitted(name: str, seed: int, reads: int = 100, moments: bool = False) -> tuple[ModelFit, ModelFit]:
    alpha, offset, gain, random, nonlinear = CHIPS[name]
    share = COUNTS / (1 + alpha * COUNTS) / ROWS
    sigma = TOP / 100 * np.sqrt(random**2 + nonlinear**2 / (share * ROWS + 1))
    codes = codes_of(offset + gain * TOP * share, sigma, reads, seed)
    text = moments_csv(codes.mean(1), codes.std(1)) if moments else reads_csv(codes)
    charge, current, _, _ = fit_models(
        measured_curves(text.encode(), "chip.csv", None, TOP)[None], TOP, ROWS, reads if moments else None
    )
    return charge, current


def parts(fit: ModelFit) -> list[Estimate]:
    alpha = fit.alpha or Estimate(0.0, 0.0, 0.0)
    return [alpha, fit.offset, fit.gain, fit.random_noise, fit.nonlinear_noise]


@pytest.mark.parametrize(
    ("name", "moments"), [("charge", False), ("current", True), ("bent current", True), ("random noise alone", False)]
)
def test_what_made_the_codes_lies_within_the_intervals(name: str, moments: bool) -> None:
    truth, missed = CHIPS[name], 0
    for seed in range(2):
        charge, current = fitted(name, seed, moments=moments)
        assert current.log_likelihood >= charge.log_likelihood - 1e-6
        missed += sum(not e.low - 1e-9 <= v <= e.high + 1e-9 for e, v in zip(parts(current), truth, strict=True))
        if truth[0] == 0:
            assert charge.aic < current.aic + 10
        else:
            assert current.aic < charge.aic - 100
    assert missed <= 3  # of 10, 5 % of which are expected; more than 3 once in 1,000


def of_chips(chips: int, form: str, scale: float = 1.0) -> tuple[AllFits, Array, Array]:
    """Charge columns with known offsets and gains, read 60 times at a quarter of the counts."""
    draws, counts = np.random.default_rng(3), [*COUNTS[::4].tolist(), ROWS]
    # codes of a column with gain 1 always lie at one place between thresholds, which tells little of its noise
    offsets, gains = draws.normal(0, 0.3, chips), 1 + np.resize([0.008, -0.006, 0.004, -0.004], chips)
    lines = [f"column,count,{form}"]
    for chip in range(chips):
        for k in counts:
            values = offsets[chip] + gains[chip] * TOP * k / ROWS + 0.25 * draws.standard_normal(60)
            shown = np.clip(np.round(values), 0, TOP) if form == "code" else values * scale
            lines += [f"{chip},{k},{value:.6g}" for value in shown]
    curves = measured_curves("\n".join(lines).encode(), "chip.csv", "each", TOP, TOP * scale)
    fits = [fit_models(curve, TOP, ROWS, None)[0] for curve in curves.values()]
    return AllFits(fits, list(curves.values()), TOP, ROWS), offsets, gains


@pytest.mark.parametrize(("form", "scale"), [("code", 1.0), ("mv", 2.0)])
def test_the_spread_of_all_converters_is_found(form: str, scale: float) -> None:
    found, offsets, gains = of_chips(8, form, scale)
    assert [fit.offset.value for fit in found.fits] == pytest.approx(offsets, abs=0.1)
    assert [fit.gain.value for fit in found.fits] == pytest.approx(gains, abs=1e-3)
    for each, drawn in ((found.offset, offsets), (found.gain, 100 * gains)):
        assert each.low < drawn.std(ddof=1) < each.high
        assert each.value == pytest.approx(drawn.std(ddof=1), rel=0.1)
        assert each.high / each.low > 1.8  # eight converters tell little
    mean = found.mean()
    assert mean.offset.value == pytest.approx(offsets.mean(), abs=0.05)
    noise = 100 * 0.25 / TOP
    assert mean.random_noise.low < noise < mean.random_noise.high
    assert mean.random_noise.value == pytest.approx(noise, rel=0.02)
    assert mean.nonlinear_noise.low == 0.0  # the mean of estimates that cannot be below 0 would be above it
    assert mean.nonlinear_noise.value < 0.3 * noise
    assert found.inl[0] < 0.25  # nothing but noise of 60 reads


def test_converters_whose_reads_do_not_fix_a_parameter_do_not_count() -> None:
    found, *_ = of_chips(3, "mv", 2.0)
    lost = replace(found.fits[0], offset=Estimate(9.0, -math.inf, math.inf))
    assert replace(found, fits=[lost, *found.fits[1:]]).offset == replace(found, fits=found.fits[1:]).offset
    assert len(replace(found, fits=[lost, *found.fits[1:]]).counted) == 2
    with pytest.raises(ValueError, match="for fewer than 2 converters"):
        _ = replace(found, fits=[lost, lost, found.fits[0]]).offset


def test_current_explains_the_packaged_chip_as_well_as_charge_which_is_current_without_a_bend() -> None:
    (curve,) = measured_curves(
        (shipped_folder("configs") / "measured_chip.csv").read_bytes(), "chip.csv", None, TOP
    ).values()
    charge, current, _, _ = fit_models(curve, TOP, ROWS, 1000)
    assert current.log_likelihood >= charge.log_likelihood - 1e-3


def test_intervals_shrink_with_the_root_of_the_reads_and_likelihoods_are_of_all_reads() -> None:
    few, many = fitted("charge", 1, 25)[0], fitted("charge", 1, moments=False)[0]
    for a, b in zip(parts(few)[1:], parts(many)[1:], strict=True):
        assert (a.high - a.low) / (b.high - b.low) == pytest.approx(2, rel=0.5)
    assert many.log_likelihood / few.log_likelihood == pytest.approx(4, rel=0.1)
    assert few.aic == 8 - 2 * few.log_likelihood


def test_noise_that_is_not_there_has_an_upper_end_alone() -> None:
    found = [fitted("random noise alone", seed, moments=False)[0].nonlinear_noise for seed in range(2)]
    assert any(each.value == 0 for each in found)
    assert all(each.low == 0 for each in found)
    assert all(0 < each.high < 0.2 for each in found)


def test_each_count_by_itself_explains_a_column_of_no_model() -> None:
    level = COUNTS + 0.5 * np.sin(COUNTS / 3.0)
    curve = measured_curves(reads_csv(codes_of(level, 0.3, 100, 3)).encode(), "chip.csv", None, TOP)[None]
    charge, current, own, parameters = fit_models(curve, TOP, ROWS, None)
    assert 2 * parameters - 2 * own < min(charge.aic, current.aic) - 1000
    assert charge.random_noise.value == pytest.approx(100 / TOP * math.sqrt(0.3**2 + 0.5**2 / 2), rel=0.1)


SIGMAS = {
    "rises": np.sqrt(0.04 + 0.04 * COUNTS / ROWS),
    "even": np.full(ROWS + 1, 0.3),
    "falls": np.sqrt(0.04 + 0.6 / (COUNTS + 1)),
}


@pytest.mark.parametrize("sigma", SIGMAS.values(), ids=SIGMAS)
def test_sigma_rises_only_where_noise_grows_with_the_count(sigma: NDArray[np.float64]) -> None:
    text = reads_csv(codes_of(bent_level(1), sigma, 200, 4))
    found = rising_sigma(measured_curves(text.encode(), "chip.csv", None, TOP)[None], TOP, None)
    if sigma[-1] > sigma[0]:
        assert found == pytest.approx((sigma[0], sigma[-1]), rel=0.06)
    else:
        assert found is None


def test_voltages_without_noise_are_fitted_by_least_squares() -> None:
    level = 0.2 + 1.02 * TOP * COUNTS / (1 + 4e-4 * COUNTS) / ROWS
    level += 0.03 * np.sin(COUNTS)  # INL, of 0.03 / sqrt(2) LSB
    text = "\n".join(["count,mean_mv,std_mv", *(f"{k},{2 * each:.7g},0" for k, each in enumerate(level))])
    curve = measured_curves(text.encode(), "chip.csv", None, TOP, 2 * TOP)[None]
    charge, current, own, _ = fit_models(curve, TOP, ROWS, None)
    assert current.aic < charge.aic - 100
    assert own == math.inf
    assert current.inl == pytest.approx(0.03 / math.sqrt(2), rel=0.05)
    for each, truth in zip(parts(current), (4e-4, 0.2, 1.02, 0.0, 0.0), strict=True):
        assert each.low <= truth <= each.high
        assert each.value == pytest.approx(truth, rel=0.02)
    assert rising_sigma(curve, TOP, None) is None
    columns = [f"{n},{k},{2 * each + 6 * n:.7g},0" for n in range(3) for k, each in enumerate(level)]
    text = "\n".join(["column,count,mean_mv,std_mv", *columns])
    curves = [*measured_curves(text.encode(), "chip.csv", "each", TOP, 2 * TOP).values()]
    several = AllFits([fit_models(each, TOP, ROWS, None)[1] for each in curves], curves, TOP, ROWS)
    assert several.offset.value == pytest.approx(3.0, rel=1e-3)  # of 0.2, 3.2 and 6.2 LSB
    assert several.mean().random_noise == Estimate(0.0, 0.0, 0.0)
