"""Size of a sweep or search, and an estimate of its time."""

from collections.abc import Sequence
from typing import Any

from lightning.pytorch import LightningDataModule

from asim_lightning.checks import check_whole
from asim_lightning.data.given import GivenData
from asim_lightning.data.image_data_module import ImageDataModule
from asim_lightning.exploration.search_space import SearchSpace
from asim_lightning.report.labels import duration

_LONG = 60.0
"""Seconds that are worth a message; a first trial of this length is used although kernels compile in it."""


def grid_line(data: LightningDataModule, axes: SearchSpace, trials: int) -> str:
    """The size of a grid, such as "36,000 points, up to 72,002 trials of 400 images".

    The float and the quantised network are a trial each. A point without noise takes one trial, whatever `trials` is.
    The data must be set up.
    """
    check_whole("`trials`", trials, 1, 65535)
    points, images = axes.count() or 0, _images(data)
    most = points * trials + 2
    return f"{points:,} point{'s' * (points > 1)}, {'up to ' * (trials > 1)}{most:,} trials of {images:,} images"


def time_left(seconds: Sequence[float], left: int, workers: int = 1) -> str:
    """About how long the remaining trials take, from the seconds of the first simulated ones.

    Empty if there are too few measured trials, or if the time is short.
    """
    left_each = left / workers
    told = seconds if seconds and seconds[0] >= _LONG else seconds[1:]  # kernels are compiled in the first
    if not told or left_each * told[-1] < _LONG:
        return ""
    mean = sum(told) / len(told)
    several = f", by {workers:,} workers" if workers > 1 else ""
    rest = f"{left:,} more trial{'s' * (left != 1)}{several}"
    return f"about {duration(left_each * mean, 0)} for {rest}, as the last took {told[-1]:.1f} s"


def all_images(data: LightningDataModule) -> int:
    """Number of test images, which may exceed `test_images`; of a user's data module, those of its loader."""
    return data.all_test_images if isinstance(data, (ImageDataModule, GivenData)) else _images(data)


def _images(data: LightningDataModule) -> int:
    loader: Any = data.test_dataloader()
    return len(loader.dataset)
