"""The global random generators of torch, numpy and Python: their states, and a known state for a while."""

import pickle
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

_SEED = 0x5EEDF0C5  # one that hardly a user takes: seeding with the same would go unseen


def global_random_state() -> bytes:
    """The states of all generators, for comparison."""
    return pickle.dumps((torch.get_rng_state().numpy(), np.random.get_state(), random.getstate()))


@contextmanager
def known_random_state() -> Iterator[None]:
    """Sets all generators to a known state, and restores them at the end."""
    before = torch.get_rng_state(), np.random.get_state(), random.getstate()
    torch.set_rng_state(torch.Generator().manual_seed(_SEED).get_state())
    np.random.set_state(np.random.RandomState(_SEED).get_state())
    random.setstate(random.Random(_SEED).getstate())
    try:
        yield
    finally:
        torch.set_rng_state(before[0])
        np.random.set_state(before[1])
        random.setstate(before[2])
