"""Kernels that are compiled anew."""

from typing import Any

import pytest


@pytest.fixture
def without_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numba finds no place for compiled kernels, as in a folder that cannot be written."""

    def nowhere(*_: Any) -> None:
        raise RuntimeError("cannot cache function: no locator available")

    monkeypatch.setattr("numba.core.dispatcher.Dispatcher.enable_caching", nowhere)
