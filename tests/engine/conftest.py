"""Fixtures of the engines' tests."""

from collections.abc import Iterator

import pytest

from asim_lightning.engine.native import passes
from asim_lightning.engine.native.library import library, processor_levels, why_missing


@pytest.fixture(scope="module", params=processor_levels() if why_missing() is None else ())
def level(request: pytest.FixtureRequest) -> Iterator[None]:
    """Has the library of each level that this processor runs called in place of the best one."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(passes, "best_library", lambda: library(request.param))
        yield
