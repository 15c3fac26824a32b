"""Copies of the folder of kernels, to be built, edited and spoilt."""

import importlib.util
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from asim_lightning.engine.native import backend

SMALL = ("threads.h", "processor.cpp")
"""Sources that compile in a second, whatever kernels stand beside them."""


@pytest.fixture
def copied(tmp_path: Path) -> Callable[[], ModuleType]:
    """Gives backend.py of a copy of the folder with the `SMALL` sources and no libraries."""

    def copy() -> ModuleType:
        folder = tmp_path / "native"
        (folder / "src").mkdir(parents=True)
        shutil.copy(backend.__file__, folder)
        for name in SMALL:
            shutil.copy(backend.FOLDER / "src" / name, folder / "src")
        spec = importlib.util.spec_from_file_location("copied_backend", folder / "backend.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return copy
