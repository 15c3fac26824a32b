"""Code of a user's own, edited from run to run."""

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

Load = Callable[[str, str], ModuleType]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    """Writes a module of a user's, and imports it anew as another process would."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    names: set[str] = set()

    def written(name: str, text: str) -> ModuleType:
        (tmp_path / f"{name}.py").write_text(text)
        names.add(name)
        for each in names:
            sys.modules.pop(each, None)
        importlib.invalidate_caches()
        return importlib.import_module(name)

    yield written
    for name in names:
        sys.modules.pop(name, None)
