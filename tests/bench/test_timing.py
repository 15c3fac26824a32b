"""Repeats, and what they say."""

import time

import pytest
import torch

from asim_lightning.bench.timing import Repeats, seconds_of


def test_median_and_fastest() -> None:
    repeats = Repeats((3.0, 1.0, 2.0, 10.0))
    assert (repeats.median, repeats.fastest) == (2.5, 1.0)


def test_no_repeat_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one time, got none"):
        Repeats(())


def test_seconds_are_those_of_the_work() -> None:
    assert seconds_of(lambda: time.sleep(0.01), torch.device("cpu")) >= 0.01
