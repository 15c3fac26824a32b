"""Seconds of a piece of work, and what repeats of it say."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch


def seconds_of(work: Callable[[], object], device: torch.device) -> float:
    """Seconds that a piece of work takes until its results are there, on a device that may work asynchronously."""
    synchronize(device)
    start = time.perf_counter()
    work()
    synchronize(device)
    return time.perf_counter() - start


def synchronize(device: torch.device) -> None:
    """Wait until a device has nothing left to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


@dataclass(frozen=True)
class Repeats:
    """Seconds of the repeats of one piece of work, in order.

    Raises:
        ValueError: There is none.
    """

    seconds: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.seconds:
            raise ValueError("repeats need at least one time, got none")

    @property
    def median(self) -> float:
        """The median, seconds."""
        return median(self.seconds)

    @property
    def fastest(self) -> float:
        """The smallest, seconds: what other work on the machine disturbed least."""
        return min(self.seconds)
