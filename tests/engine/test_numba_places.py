"""Elements at the places of lanes, with the instruction for it and without, against NumPy."""

from typing import Any

import numpy as np
import pytest

from asim_lightning.engine import numba_places
from asim_lightning.engine.lanes import LANES, WINDOW
from asim_lightning.engine.numba_lanes import load, store
from asim_lightning.engine.numba_places import distances, gather, lane_numbers, window
from asim_lightning.engine.numba_words import compiled


def _take(array: Any, places: Any, away: Any, out: Any, low: int, high: int) -> None:
    flat = out.reshape(-1)
    for first in range(low, high):
        store(flat, first * 64, distances(places, first))
        store(flat, first * 64 + 16, lane_numbers())
        store(flat, first * 64 + 32, window(array, first, load(away, 0)))
        store(flat, first * 64 + 48, gather(array, places, first, -3))


@pytest.mark.usefixtures("without_cache")  # it may hold the other way
@pytest.mark.parametrize("has_windows", [True, False])
def test_elements_of_lanes(has_windows: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if has_windows and not numba_places.HAS_WINDOWS:
        pytest.skip("this processor has no instruction for it")
    monkeypatch.setattr(numba_places, "HAS_WINDOWS", has_windows)
    rng = np.random.default_rng(0)
    array = rng.integers(0, 2**32, 100).astype(np.uint32)
    places, away = rng.integers(3, 100, 20), rng.integers(0, WINDOW, LANES).astype(np.uint32)
    away[:2] = 0, WINDOW - 1
    out = np.zeros((5, 4, LANES), np.uint32)
    kernel = compiled("void(u4[::1], i8[::1], u4[::1], u4[:,:,::1], i8, i8)", _take, allocates=False)
    kernel(array, places, away, out, 0, 5)
    for first in range(5):
        own = places[first : first + LANES]
        expected = [(own - own[0]).astype(np.uint32), np.arange(LANES), array[first + away], array[own - 3]]
        assert np.array_equal(out[first], np.stack(expected))
