"""Kernels are compiled by whatever compiler there is, and packed for every Python of the platform."""

import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import setuptools

from asim_lightning.engine.native import backend

pytestmark = pytest.mark.process  # a compiler
ROOT = Path(__file__).parents[3]
Copied = Callable[[], ModuleType]


def _without_compilers(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(module.shutil, "which", lambda name: None)
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)


def _old_compiler(folder: Path, refused: str) -> str:
    """A compiler that knows no flag with a word in it."""
    path = folder / "old-c++"
    path.write_text(f'#!/bin/sh\ncase "$*" in *{refused}*) echo unknown flag >&2; exit 1;; esac\nexec c++ "$@"\n')
    path.chmod(0o755)
    return str(path)


def test_levels_of_each_platform() -> None:
    assert [*backend.levels("linux", "x86_64")] == ["portable", "avx2", "avx512"]
    assert [*backend.levels("darwin", "x86_64")] == ["portable", "avx2", "avx512"]
    assert [*backend.levels("linux", "aarch64")] == [*backend.levels("darwin", "aarch64")] == ["portable"]
    assert [*backend.levels("win32", "x86_64")] == []


def test_a_library_of_each_level_is_built_and_bears_its_digest(copied: Copied) -> None:
    module = copied()
    assert module.build()
    digests = [module.digest(level).encode() for level in module.LEVELS]
    assert len({*digests}) == len(module.LEVELS)
    for level, digest in zip(module.LEVELS, digests, strict=True):
        assert digest in module.library_path(level).read_bytes()
    assert sorted(path.name for path in module.FOLDER.glob("*.so")) == sorted(
        f"libasim_{level}.so" for level in module.LEVELS
    )


def test_every_change_of_the_sources_changes_the_digest(copied: Copied) -> None:
    module = copied()
    header, other, note = (module.FOLDER / "src" / name for name in ("threads.h", "other.h", "threads.h~"))
    digests = [module.digest("portable")]
    note.write_text("of an editor")
    assert module.digest("portable") == digests[0]
    for change in (lambda: header.write_text("edited"), other.touch, lambda: header.rename(other), other.unlink):
        change()
        digests.append(module.digest("portable"))
    assert len({*digests}) == len(digests)


@pytest.mark.parametrize(("refused", "built"), [("none", 3), ("avx512", 2), ("sh", 0)])
def test_the_users_compiler_is_tried_first_and_builds_the_levels_that_it_can(
    copied: Copied, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    refused: str, built: int,
) -> None:  # fmt: skip
    module, compiler = copied(), _old_compiler(tmp_path, refused)
    if built == 2:
        _without_compilers(module, monkeypatch)
    monkeypatch.setenv("CXX", compiler if built else f"{compiler} --quiet")
    assert module.build()
    said = capsys.readouterr()
    assert said.out.count(f"built by {compiler}\n") == min(built, len(module.LEVELS))
    assert ("libasim_avx512.so: not built; 1 compilers tried" in said.err) == (built == 2)
    assert len([*module.FOLDER.glob("*.so")]) == (built or len(module.LEVELS))


def test_zig_is_asked_for_where_no_compiler_knows_avx512(
    copied: Copied, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    module = copied()
    _without_compilers(module, monkeypatch)
    assert module._zig_if_needed() == [module.ZIG]
    monkeypatch.setenv("CXX", _old_compiler(tmp_path, "avx512"))
    assert module._zig_if_needed() == [module.ZIG]
    monkeypatch.setenv("CXX", _old_compiler(tmp_path, "none"))
    assert module._zig_if_needed() == []
    monkeypatch.delenv("CXX")
    monkeypatch.setattr(module, "PLATFORM", ("linux", "s390x"))  # there is no wheel of zig
    assert module._zig_if_needed() == []


def test_without_a_compiler_only_libraries_of_these_sources_stay(
    copied: Copied, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = copied()
    assert module.build()
    _without_compilers(module, monkeypatch)
    assert module.build()
    assert module.library_path("portable").exists()
    source = module.FOLDER / "src" / "processor.cpp"
    source.write_text(source.read_text() + "\n")
    assert not module.build()
    assert not [*module.FOLDER.glob("*.so")]


def test_the_script_says_what_to_do_without_a_compiler(copied: Copied, tmp_path: Path) -> None:
    script = [sys.executable, "-S", "-E", copied().__file__]  # without the packages that are installed here
    done = subprocess.run(script, env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"Nothing was built: install a C++ compiler, or `pip install '{backend.ZIG}'`, and try again."
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The project with its own settings, all Python files of the package, and little else."""
    folder = tmp_path / "project"
    shutil.copytree(
        ROOT / "asim_lightning",
        folder / "asim_lightning",
        ignore=shutil.ignore_patterns("*.so", "__pycache__", "fashion_mnist"),
    )
    for name in ("pyproject.toml", "setup.cfg", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    for name in ("configs", "checkpoints", "asim_lightning/data/fashion_mnist"):
        (folder / name).mkdir()
    for path in folder.glob("asim_lightning/engine/native/src/*"):
        path.unlink()
    for name in ("threads.h", "processor.cpp"):
        shutil.copy(backend.FOLDER / "src" / name, folder / "asim_lightning/engine/native/src")
    return folder


def _hook(project: Path, call: str, **environment: str) -> str:
    """What a hook of the build gives, called as a frontend calls it."""
    code = f"import sys; sys.path.insert(0, 'asim_lightning/engine/native'); import backend; result = backend.{call}"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nprint(f'\\n{{result}}')"],
        cwd=project, env=os.environ | environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.splitlines()[-1]


def _in_native(names: list[str]) -> list[str]:
    return sorted(name.split("engine/native/")[1] for name in names if "engine/native/" in name)


SOURCES = ["src/processor.cpp", "src/threads.h"]


def _python_files(project: Path) -> list[str]:
    return sorted(path.name for path in project.glob("asim_lightning/engine/native/*.py"))


def test_a_wheel_has_libraries_and_sources_and_serves_every_python(project: Path) -> None:
    left = project / "build/lib/asim_lightning/engine/native/src"  # by a build of other sources
    left.mkdir(parents=True)
    (left / "gone.h").touch()
    (left.parent / "libasim_gone.so").touch()
    name = _hook(project, "build_wheel('dist', {'--global-option': '-q'})")
    assert name.startswith("asim_lightning-")
    assert "-py3-none-any" not in name
    assert "-py3-none-" in name
    with zipfile.ZipFile(project / "dist" / name) as wheel:
        held = _in_native(wheel.namelist())
    libraries = [f"libasim_{level}.so" for level in backend.LEVELS]
    assert held == sorted([*_python_files(project), *SOURCES, *libraries])
    assert sorted(path.name for path in project.glob("asim_lightning/engine/native/*.so")) == sorted(libraries)


def test_a_wheel_without_libraries_serves_every_platform(project: Path) -> None:
    broken = project / "asim_lightning/engine/native/src/processor.cpp"
    broken.write_text("#error")
    name = _hook(project, "build_wheel('dist')", CXX="false")
    assert name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(project / "dist" / name) as wheel:
        assert _in_native(wheel.namelist()) == sorted([*_python_files(project), *SOURCES])


def test_a_source_distribution_has_sources_and_no_libraries(project: Path) -> None:
    for name in ("libasim_portable.so", "libasim_other.so"):
        (project / "asim_lightning/engine/native" / name).write_text("built here")
    name = _hook(project, "build_sdist('dist')")
    assert [path.name for path in (project / "dist").iterdir()] == [name]
    with tarfile.open(project / "dist" / name) as archive:
        held = [member.name for member in archive if member.isfile()]
    assert _in_native(held) == sorted([*_python_files(project), *SOURCES])
    assert any(file.endswith("/pyproject.toml") for file in held)


def test_an_editable_install_builds_in_place_and_asks_for_what_a_wheel_asks_for(project: Path) -> None:
    assert _hook(project, "build_editable('dist')").endswith(".whl")
    assert (project / "asim_lightning/engine/native/libasim_portable.so").exists()
    wheel, editable = (_hook(project, f"get_requires_for_build_{kind}()") for kind in ("wheel", "editable"))
    assert wheel == editable
    assert "ziglang" not in wheel


@pytest.mark.slow
def test_pip_installs_without_a_compiler_and_without_zig_as_the_readme_says(project: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    only = tmp_path / "only"
    only.mkdir()
    for path in Path(setuptools.__file__).parents[1].glob("setuptools*"):
        (only / path.name).symlink_to(path)
    install = ["-m", "pip", "install", "--no-index", "--no-deps", "--no-build-isolation", "."]
    environment = {"PATH": str(tmp_path / "nothing"), "PYTHONPATH": str(only)}
    subprocess.run([tmp_path / "venv/bin/python", *install], cwd=project, env=environment, check=True)
    (native,) = tmp_path.glob("venv/lib/python*/site-packages/asim_lightning/engine/native")
    assert sorted(path.name for path in native.iterdir() if path.is_file()) == _python_files(project)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("system", "machine", "head"),
    [
        ("linux", "aarch64", b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x03\x00\xb7\x00"),  # a shared object for AArch64
        ("darwin", "aarch64", b"\xcf\xfa\xed\xfe\x0c\x00\x00\x01"),  # Mach-O, 64 bits, arm64
        ("darwin", "x86_64", b"\xcf\xfa\xed\xfe\x07\x00\x00\x01"),
    ],
)
def test_zig_compiles_all_kernels_for_other_platforms(tmp_path: Path, system: str, machine: str, head: bytes) -> None:
    zig = [sys.executable, "-m", "ziglang", "c++"]
    output, objects = tmp_path / "library.so", []
    for file in backend.sources():
        if file.suffix == ".cpp":
            objects.append(tmp_path / f"{file.stem}.o")
            compiling = backend.command(zig, "portable", [file], objects[-1], (system, machine))
            subprocess.run([*compiling, '-DASIM_DIGEST="none"'], cwd=tmp_path, check=True)
    subprocess.run(backend.command(zig, "portable", objects, output, (system, machine)), cwd=tmp_path, check=True)
    assert output.read_bytes().startswith(head)


@pytest.mark.slow
def test_zig_builds_libraries_that_work(copied: Copied, monkeypatch: pytest.MonkeyPatch) -> None:
    module = copied()
    monkeypatch.setenv("CXX", f"{sys.executable} -m ziglang c++")
    assert module.build()
    code = "import ctypes, sys; lib = ctypes.CDLL(sys.argv[1]); lib.asim_digest.restype = ctypes.c_char_p; "
    code += "print(lib.asim_digest().decode(), lib.asim_processor_level())"
    for level in module.LEVELS:
        path = module.library_path(level)
        own = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
        from_system = subprocess.run(
            [sys.executable, "-c", code, str(backend.library_path("portable"))],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert own.stdout.split()[0] == module.digest(level)
        assert own.stdout.split()[1] == from_system.stdout.split()[1]  # zig sees the same processor
        assert b"libstdc++" not in path.read_bytes()
        assert b"libc++" not in path.read_bytes()
