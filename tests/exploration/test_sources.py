"""Code of a user's own is its file and all that it imports from beside it."""

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

import asim_lightning
from asim_lightning.exploration.sources import (
    NoSourceError,
    digest_of_code,
    is_installed,
    package_content,
    source_content,
)

Load = Callable[[str], ModuleType]
FILES = {
    "mine.py": "import os\nimport numpy\nfrom beside import x\nfrom package.inner import deep\n",
    "beside.py": "import mine\nx = 1\n",
    "package/__init__.py": "",
    "package/inner.py": "from . import other\nfrom .other import y\ndef deep():\n    from package.late import z\n",
    "package/other.py": "y = 1\n",
    "package/late.py": "z = 1\n",
    "types_of_mine.py": "x = 1\n",
}


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_a_module_and_what_it_imports(load: Load, tmp_path: Path) -> None:
    load("mine")
    before = source_content("mine")
    assert set(before) == set(FILES) - {"types_of_mine.py"}
    for name in before:
        text = (tmp_path / name).read_text()
        (tmp_path / name).write_text(text + "# edited\n")
        edited = source_content("mine")
        assert {other for other in before if edited[other] != before[other]} == {name}
        (tmp_path / name).write_text(text)
    (tmp_path / "types_of_mine.py").write_text("x = 2\n")
    assert source_content("mine") == before


def test_a_module_in_a_package_has_the_package(load: Load) -> None:
    load("package.inner")
    expected = {"package/__init__.py", "package/inner.py", "package/other.py", "package/late.py"}
    assert set(source_content("package.inner")) == expected


def test_what_is_installed(load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(is_installed(name) for name in ("torch.nn", "numpy", "os", "builtins", "_thread", "asim_lightning.nn"))
    load("mine")
    assert not any(is_installed(name) for name in ("mine", __name__, "nowhere"))
    # a file of the user's may have a name of Python's
    (tmp_path / "this.py").write_text("x = 1\n")
    monkeypatch.delitem(sys.modules, "this", raising=False)
    load("this")
    assert not is_installed("this")


def test_what_has_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "session", ModuleType("session"))
    for name in ("session", "nowhere"):
        with pytest.raises(NoSourceError):
            source_content(name)


def test_the_package_itself_has_a_digest() -> None:
    assert len(package_content()) == 64


@pytest.mark.parametrize(("name", "counts"), [("a.py", True), ("a.cpp", True), ("a.h", True), ("a.so", False)])
def test_code_of_kernels_counts_and_what_is_built_of_it_does_not(name: str, counts: bool, tmp_path: Path) -> None:
    (tmp_path / "engine" / "src").mkdir(parents=True)
    file = tmp_path / "engine" / "src" / name
    file.write_text("one")
    before = digest_of_code(tmp_path)
    file.write_text("two")
    assert (digest_of_code(tmp_path) != before) is counts


def test_kernels_lie_where_they_are_digested() -> None:
    package = Path(asim_lightning.__file__).parent
    assert {path.suffix for path in (package / "engine" / "native" / "src").iterdir()} == {".cpp", ".h"}
