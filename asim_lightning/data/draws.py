"""Random draws that are a function of seed, epoch and index: the same in any batch and process, and after a resume.

A stream of random numbers continues where the last batch left it, so a killed and resumed run would augment its images
differently. A function of (seed, epoch, index) does not.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

POSITION_BITS = 40
"""Samplers yield ``(epoch << POSITION_BITS) + position``; a plain position belongs to epoch 0."""

_Words = npt.NDArray[np.uint64]
# Odd numbers: from the golden ratio, and from SplitMix64 (Steele, Lea and Flood, 2014).
_EPOCH, _FIRST, _SECOND = map(np.uint64, (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
_30, _27, _31 = map(np.uint64, (30, 27, 31))


def sample_keys(seed: int, epochs: Tensor, indices: Tensor) -> Tensor:
    """64 random bits for each image, by the mixing rounds of SplitMix64.

    Args:
        seed: 0 to 2^32 - 1.
        epochs: int64. # (batch,)
        indices: int64. # (batch,)

    Returns:
        int64, (batch,); all 64 bits are random, the sign too.
    """
    epoch_words, words = epochs.numpy().view(np.uint64), indices.numpy().view(np.uint64)
    # mixed twice, so that neighbouring epochs or indices have nothing in common. Wrapping around is intended. Plus one,
    # because zero would stay zero.
    words = _mixed(words + _mixed(epoch_words * _EPOCH + np.uint64(seed + 1)))
    return torch.from_numpy(words.view(np.int64))


def _mixed(words: _Words) -> _Words:
    words = (words ^ (words >> _30)) * _FIRST
    words = (words ^ (words >> _27)) * _SECOND
    return words ^ (words >> _31)


def positions_and_epochs(yielded: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Positions and epochs of the numbers that a sampler yielded, int64 each. # (batch,)"""
    numbers = torch.tensor(yielded, dtype=torch.int64)
    return numbers & ((1 << POSITION_BITS) - 1), numbers >> POSITION_BITS


@contextmanager
def drawing_from(key: int) -> Iterator[None]:
    """Seed torch's default CPU generator with a key, and restore its state at the end.

    torchvision's transforms draw only from this generator. ``torch.manual_seed`` in a ``fork_rng`` would also reseed
    the GPU, which would then draw the same dropout for every batch, and takes 100 us instead of 2 us.

    Args:
        key: Any 64-bit number, such as from `sample_keys`.
    """
    generator = torch.default_generator
    before = generator.get_state()
    generator.manual_seed(key)
    try:
        yield
    finally:
        generator.set_state(before)
