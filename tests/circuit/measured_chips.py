"""Columns that are known, and CSV files of their codes."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
TOP, ROWS = 255, 255
COUNTS = np.arange(ROWS + 1)


def bent_level(seed: int = 0) -> Array:
    """Levels with gain, INL and steps that differ; 0 at count 0."""
    steps = np.random.default_rng(seed).normal(0, 0.15, ROWS + 1)
    level: Array = 0.995 * COUNTS + 0.6 * np.sin(COUNTS / ROWS * 2 * np.pi) + steps
    level[0] = 0.0
    return np.clip(level, 0.0, TOP)


def codes_of(level: Array, sigma: Array | float, reads: int, seed: int) -> NDArray[np.int64]:
    """Codes as a converter gives them. # (counts, reads)"""
    normal = np.random.default_rng(seed).standard_normal((len(level), reads))
    spread = np.broadcast_to(sigma, level.shape)[:, None]
    return np.clip(np.round(level[:, None] + spread * normal), 0, TOP).astype(np.int64)


def histogram(codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """How often each code is there. # (counts, codes)"""
    return np.stack([np.bincount(row, minlength=TOP + 1) for row in codes])


def reads_csv(codes: NDArray[np.int64]) -> str:
    """A line for each read."""
    return "\n".join(["count,code", *(f"{k},{code}" for k, row in enumerate(codes) for code in row)])


def moments_csv(mean: Iterable[float], std: Iterable[float]) -> str:
    """A line for each count."""
    lines = (f"{k},{a:.6f},{b:.6f}" for k, (a, b) in enumerate(zip(mean, std, strict=True)))
    return "\n".join(["count,mean,std", *lines])


def ideal_csv(last: int = ROWS) -> str:
    """Counts that are their codes, without noise."""
    return moments_csv(range(last + 1), [0.0] * (last + 1))


def written(folder: Path, text: str, name: str = "chip.csv") -> str:
    """A file's path as a text."""
    path = folder / name
    path.write_text(text)
    return str(path)
