import pytest

from asim_lightning.exploration.axes import SweepAxes
from asim_lightning.exploration.estimate import time_left


def test_the_number_of_points_is_that_of_the_grid() -> None:
    axes = SweepAxes(adc_bits=[6, 7, 7], random_noise=[0, 0.0, "1 lsb"], votes=[1, 3])
    assert axes.count() == len(list(axes.points())) == 8
    assert SweepAxes().count() == len(list(SweepAxes().points()))


@pytest.mark.parametrize(
    ("seconds", "left", "expected"),
    [
        ([], 100, ""),
        ([30.0], 100, ""),  # kernels may have been compiled in it
        ([30.0, 2.0], 100, "about 3 min for 100 more trials, as the last took 2.0 s"),
        ([30.0, 2.0, 4.0], 36_000, "about 30.0 h for 36,000 more trials, as the last took 4.0 s"),
        ([90.0], 36_000, "about 37.5 days for 36,000 more trials, as the last took 90.0 s"),
        ([30.0, 0.1], 100, ""),  # not worth a line
    ],
)
def test_the_time_that_is_left(seconds: list[float], left: int, expected: str) -> None:
    assert time_left(seconds, left) == expected


def test_several_workers_share_the_time_that_is_left() -> None:
    assert (
        time_left([9.0, 100.0], 6, workers=3) == "about 3 min for 6 more trials, by 3 workers, as the last took 100.0 s"
    )
    assert not time_left([9.0, 25.0], 6, workers=3)
