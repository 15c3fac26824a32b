"""Calibrated ranges: maximum, percentile and least squares."""

import pytest
import torch
from torch import Tensor

from asim_lightning.quant import METHODS, RangeObserver, levels, quantize, scale_of


def fitted(method: str, *batches: Tensor, bits: int = 8, signed: bool = True) -> float:
    observer = RangeObserver(method, bits, signed)
    for batch in batches:
        observer.update(batch)
    return observer.fit()


def error(x: Tensor, clip: float, bits: int) -> float:
    scale = scale_of(torch.tensor(clip))
    return float((quantize(x, scale, bits, True) / levels(bits, True) * scale - x).square().mean())


def test_max_is_the_largest_magnitude_of_all_batches() -> None:
    batches = (torch.tensor([1.0, -5.0]), torch.tensor([[3.0]]), torch.tensor([0.0]))
    assert fitted("max", *batches) == 5.0
    assert fitted("max", *batches, signed=False) == 3.0


def test_percentile_ignores_rare_outliers() -> None:
    x = torch.cat([torch.linspace(-1, 1, 100_000), torch.tensor([500.0])])
    assert 0.999 < fitted("percentile", x) <= 1.0
    assert fitted("percentile", x[:50_000], x[50_000:]) == pytest.approx(fitted("percentile", x), rel=1e-3)


def test_percentile_of_mostly_zeros_is_their_maximum() -> None:
    x = torch.zeros(100_000)
    x[0] = 2.0
    assert fitted("percentile", x) == 2.0


@pytest.mark.parametrize("bits", [3, 4, 6])
def test_mse_is_no_worse_than_any_clip_tried_by_hand(bits: int) -> None:
    x = torch.randn(5_000, generator=torch.Generator().manual_seed(0))
    clip, largest = fitted("mse", x, bits=bits), float(x.abs().max())
    assert clip < largest
    assert all(error(x, clip, bits) <= error(x, largest * k / 16, bits) * 1.001 for k in range(1, 17))


def test_percentile_is_the_value_at_its_rank() -> None:
    x = torch.arange(20_001.0).flip(0)
    assert fitted("percentile", x) == fitted("percentile", -x) == 19_998.0


def test_mse_tries_the_whole_range_and_no_less_than_a_twentieth() -> None:
    on_the_grid = torch.arange(16.0) / 15  # of 4 bits
    assert fitted("mse", on_the_grid, bits=4, signed=False) == 1.0
    beside_an_outlier = torch.cat([on_the_grid.repeat(7_500) * 6e-3, torch.ones(1)])
    assert fitted("mse", beside_an_outlier, bits=4, signed=False) == 0.05


def test_mse_keeps_the_maximum_where_clipping_costs_most() -> None:
    assert fitted("mse", torch.tensor([-1.0, 1.0, 0.0])) == pytest.approx(1.0, rel=0.02)


def test_samples_are_not_all_taken_from_one_column_of_images() -> None:
    x = torch.rand(32, 128, 32, 32, generator=torch.Generator().manual_seed(0))
    x[..., 0] *= 1e-3
    assert fitted("percentile", x, signed=False) > 0.8


@pytest.mark.parametrize("method", METHODS)
def test_a_range_of_nothing_positive_is_zero(method: str) -> None:
    assert fitted(method, torch.tensor([-1.0, 0.0]), signed=False) == 0.0
    assert fitted(method, torch.zeros(4)) == 0.0


@pytest.mark.parametrize("method", METHODS)
def test_ranges_do_not_depend_on_shape_or_type(method: str) -> None:
    x = torch.randn(6, 50, generator=torch.Generator().manual_seed(1)).bfloat16()
    assert fitted(method, x) == fitted(method, x.flatten().double())


def test_unknown_method_is_refused() -> None:
    with pytest.raises(ValueError, match="calibration must be one of max, percentile, mse, got 'entropy'"):
        RangeObserver("entropy", 8, True)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(method: str, value: float) -> None:
    observer = RangeObserver(method, 8, True)
    observer.update(torch.tensor([1.0, 2.0]))
    with pytest.raises(ValueError, match=r"^A calibrated range needs finite values, got (nan|inf) among them$"):
        observer.update(torch.tensor([7.0, value]))
