"""The native library on every level that this processor runs."""

import ctypes

import pytest

from asim_lightning.engine.native.library import library, processor_levels


@pytest.fixture(scope="module", params=processor_levels())
def kernels(request: pytest.FixtureRequest) -> ctypes.CDLL:
    return library(request.param)
