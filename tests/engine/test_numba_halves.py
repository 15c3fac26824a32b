"""Products of halves of words, by each instruction that this machine has, against NumPy."""

from typing import Any

import numpy as np
import pytest

from asim_lightning.engine import numba_halves
from asim_lightning.engine.numba_features import compiles_for
from asim_lightning.engine.numba_halves import times_low_half
from asim_lightning.engine.numba_lanes import load, store
from asim_lightning.engine.numba_words import compiled


def _times(words: Any, weights: Any, out: Any, low: int, high: int) -> None:
    for i in range(low, high):
        store(out.reshape(-1), i * 16, times_low_half(load(words, 0), weights[i]))


@pytest.mark.usefixtures("without_cache")  # it may hold another instruction
@pytest.mark.parametrize("feature", ["avx512bw", "avx2", None])
def test_lower_halves_times_weights(feature: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if feature is not None and not compiles_for(feature):
        pytest.skip(f"this processor has no {feature}")
    instruction = None if feature is None else numba_halves._INSTRUCTIONS[feature]
    monkeypatch.setattr(numba_halves, "_PRODUCTS", instruction)
    words = np.random.default_rng(0).integers(0, 2**32, 16).astype(np.uint32)
    words[:4] = 0x4B407FFF, 0xFFFF8000, 0x7FFF0000, 0x4B400000
    weights = np.array([-(2**15), 2**15 - 1, -1, 0, 1, 12345], np.int32)
    out = np.zeros((len(weights), 16), np.int32)
    kernel = compiled("void(u4[::1], i4[::1], i4[:,::1], i8, i8)", _times, allocates=False)
    kernel(words, weights, out, 0, len(weights))
    assert np.array_equal(out, np.multiply.outer(weights, (words & 0xFFFF).astype(np.uint16).view(np.int16)))
