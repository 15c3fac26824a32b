"""Kernels on disk are those of the sources that are there."""

from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from numba.core.caching import NullCache

from asim_lightning.engine import numba_words
from asim_lightning.engine.numba_words import compiled


def _double(x: Any, low: int, high: int) -> None:
    for i in range(low, high):
        x[i] *= 2


def misses(kernel: Any) -> int:
    return sum(kernel.stats.cache_misses.values())


def test_a_kernel_is_compiled_anew_where_any_source_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for sources in (first := uuid4().hex, first, uuid4().hex):
        monkeypatch.setattr(numba_words, "_sources", lambda sources=sources: sources)
        found.append(misses(compiled("void(f8[::1], i8, i8)", _double, allocates=False)))
    assert found == [1, 0, 1]


def test_sources_are_those_of_all_engines(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    before = numba_words._sources.__wrapped__()
    assert before == numba_words._sources.__wrapped__()
    (tmp_path / "packed").mkdir()
    (tmp_path / "packed" / "codes.py").write_text("a = 1")
    monkeypatch.setattr(numba_words, "__file__", str(tmp_path / "numba_words.py"))
    other = numba_words._sources.__wrapped__()
    (tmp_path / "packed" / "codes.py").write_text("a = 2")
    assert len({before, other, numba_words._sources.__wrapped__()}) == 3


@pytest.mark.usefixtures("without_cache")
def test_no_place_for_a_cache() -> None:
    kernel, x = compiled("void(f8[::1], i8, i8)", _double, allocates=False), np.ones(3)
    kernel(x, 1, 3)
    assert x.tolist() == [1.0, 2.0, 2.0]


def test_a_cache_whose_stamp_is_unknown_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def of_another_numba(kernel: Any) -> None:
        kernel._cache = object()

    monkeypatch.setattr("numba.core.dispatcher.Dispatcher.enable_caching", of_another_numba)
    kernel = compiled("void(f8[::1], i8, i8)", _double, allocates=False)
    assert isinstance(kernel._cache, NullCache)
