"""Seconds of a way to compute."""

import time

import torch

from asim_lightning.bench.inference import seconds_of


def test_seconds_are_those_of_the_work() -> None:
    assert seconds_of(lambda: time.sleep(0.01), torch.device("cpu")) >= 0.01
