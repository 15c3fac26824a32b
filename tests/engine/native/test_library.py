"""The library is the best one that the processor runs, and only if it was built from the sources beside it."""

import ctypes
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from asim_lightning.engine.native import backend, library

Copied = Callable[[], ModuleType]


@pytest.fixture
def elsewhere(copied: Copied, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The package looks for its libraries in the copy of the folder."""
    module = copied()
    monkeypatch.setattr(library, "FOLDER", module.FOLDER)
    monkeypatch.setattr(library, "library_path", lambda level, folder=module.FOLDER: folder / f"libasim_{level}.so")
    library.library.cache_clear()
    yield module
    library.library.cache_clear()


def _command(folder: Path) -> str:
    return f"`{shlex.join([sys.executable, str(folder / 'backend.py')])}`"


def test_the_best_level_of_the_processor_is_chosen_and_each_may_be_forced() -> None:
    assert library.why_missing() is None
    runs = library.processor_levels()
    assert runs == tuple(library.LEVELS)[: len(runs)]
    assert Path(library.library()._name) == backend.library_path(runs[-1])
    for level in runs:
        forced = library.library(level)
        assert forced is library.library(level)
        forced.asim_digest.restype = ctypes.c_char_p
        assert forced.asim_digest() == backend.digest(level).encode()
        assert Path(forced._name) == backend.library_path(level)


def test_the_processor_is_seen_as_the_system_sees_it(pytestconfig: pytest.Config) -> None:
    if pytestconfig.getoption("--most-level"):
        pytest.skip("an option replaces the level of the processor")
    flags = {*re.search(r"^flags.*$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)[0].split()}
    needs = {"avx2": {"avx2", "bmi2"}, "avx512": {"avx512_vpopcntdq", "avx512_vnni"}}
    expected = ("portable", *(level for level in [*library.LEVELS][1:] if needs[level] <= flags))
    assert library.processor_levels() == expected


@pytest.mark.process
def test_without_libraries_one_sentence_says_how_to_build_them(elsewhere: ModuleType) -> None:
    command = _command(elsewhere.FOLDER)
    assert library.why_missing() == (
        f"The C++ kernels are not built: with a C++ compiler, or after `pip install ziglang`, {command} builds them."
    )
    subprocess.run(shlex.split(command.strip("`")), check=True)
    assert library.why_missing() is None
    assert Path(library.library()._name).parent == elsewhere.FOLDER


@pytest.mark.process
def test_a_library_is_refused_once_a_source_is_edited(elsewhere: ModuleType) -> None:
    assert elsewhere.build()
    header = elsewhere.FOLDER / "src" / "threads.h"
    header.write_text(header.read_text() + "// edited\n")
    command = _command(elsewhere.FOLDER)
    sentence = f"libasim_portable.so was built from other sources than those next to it: {command} builds it anew."
    assert library.why_missing() == sentence
    for level in library.LEVELS:
        with pytest.raises(RuntimeError, match="was built from other sources"):
            library.library(level)
    subprocess.run(shlex.split(command.strip("`")), check=True)
    assert library.why_missing() is None


def test_a_library_that_the_system_cannot_load_is_refused(elsewhere: ModuleType) -> None:
    """As one that another system built in the same folder."""
    elsewhere.library_path("portable").write_text(elsewhere.digest("portable"))
    command = re.escape(_command(elsewhere.FOLDER))
    expected = rf"^libasim_portable\.so cannot be loaded \(.+\): {command} builds it anew\.$"
    assert re.match(expected, library.why_missing() or "")


@pytest.mark.skipif(len(library.LEVELS) == 1, reason="there is one level here")
def test_a_level_that_was_not_built_is_left_out(elsewhere: ModuleType) -> None:
    assert elsewhere.build()
    *others, best = library.processor_levels()
    elsewhere.library_path(best).unlink()
    assert Path(library.library()._name) == elsewhere.library_path(others[-1])
    with pytest.raises(RuntimeError, match=r"^The C\+\+ kernels are not built"):
        library.library(best)
    library.library.cache_clear()  # so that the level is looked for again
    shutil.copy(elsewhere.library_path(others[-1]), elsewhere.library_path(best))  # of another level
    with pytest.raises(RuntimeError, match=rf"^libasim_{best}\.so was built from other sources "):
        library.library(best)


def test_windows_has_no_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "LEVELS", {})
    library.library.cache_clear()
    assert library.why_missing() == "The C++ kernels are not built for Windows."
