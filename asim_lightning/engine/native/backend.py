"""Builds the package: compiles the kernels into this folder, then lets setuptools pack it (PEP 517).

Each level of instructions has its own library, compiled from the same sources. ctypes loads them, so one wheel serves
every Python. They are in the folder of this file, where the checkout and an editable install find them, too. If nothing
can be compiled, the package is installed without them, and `library.why_missing` says so. Run as a script, this file
only compiles.

This module imports nothing of the package, and setuptools only in a build. Its folder comes first on the build's import
path: no file here may have the name of a module that setuptools imports.
"""

import hashlib
import importlib
import importlib.util
import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
_MACHINE = {"AMD64": "x86_64", "arm64": "aarch64"}.get(platform.machine(), platform.machine())
PLATFORM = (sys.platform, _MACHINE)

ZIG = "ziglang>=0.16,<0.18"
"""Requirement for zig's compiler; platforms without its wheels get a 0.0.0 that has no compiler."""
_ZIG_SYSTEMS = [("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "x86_64"), ("darwin", "aarch64")]
_MACOS = "11.0"

# contraction to FMA would make the last bit of the noise differ between levels
_FLAGS = """
    -std=c++17 -O3 -g0 -fPIC -pthread -fvisibility=hidden -ffp-contract=off -fno-math-errno -fno-exceptions -fno-rtti
    -Wno-psabi -Wno-ignored-attributes
"""
_AVX2 = "-mavx2 -mbmi2 -mpopcnt"
_AVX512 = f"""
    {_AVX2} -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vbmi -mavx512vnni -mavx512bitalg -mavx512vpopcntdq
    -mprefer-vector-width=512
"""

_PROBE = """
#include <pthread.h>
#include <atomic>
#include <vector>
typedef int whole __attribute__((vector_size(64)));
typedef float real __attribute__((vector_size(64)));
extern "C" void a(std::vector<whole>& from, real* to) { *to = __builtin_convertvector(from[0], real); }
#ifdef __AVX512F__
#include <immintrin.h>
extern "C" void b(__m512i* a) { *a = _mm512_popcnt_epi32(_mm512_dpbusd_epi32(*a, *a, *a)); }
extern "C" void c(__m512i* a) { *a = _mm512_popcnt_epi8(_mm512_permutex2var_epi8(*a, *a, *a)); }
#endif
"""


def levels(system: str, machine: str) -> dict[str, str]:
    """Levels of instructions that are built for a system, with the compiler's flags, the best level last."""
    if system in ("win32", "cygwin"):
        return {}
    if machine != "x86_64":
        return {"portable": ""}
    return {"portable": "", "avx2": _AVX2, "avx512": _AVX512}


LEVELS = levels(*PLATFORM)


def sources(folder: Path = FOLDER) -> list[Path]:
    """C++ files and headers in a folder of kernels."""
    return sorted([*folder.glob("src/*.h"), *folder.glob("src/*.cpp")])


def digest(level: str, folder: Path = FOLDER) -> str:
    """Digest of everything that decides a library: its sources, level and flags."""
    content = hashlib.sha256(repr((PLATFORM, level, _FLAGS, LEVELS[level])).encode())
    for path in sources(folder):
        content.update(repr((path.name, path.read_bytes())).encode())
    return content.hexdigest()[:32]


def library_path(level: str, folder: Path = FOLDER) -> Path:
    """Path of the library of a level."""
    return folder / f"libasim_{level}.so"


def compilers() -> list[list[str]]:
    """Commands of the available C++ compilers, in the order in which they are tried."""
    own = os.environ.get("CXX")
    found = [shlex.split(own)] if own else []
    found += [[name] for name in ("c++", "g++", "clang++") if shutil.which(name)]
    if importlib.util.find_spec("ziglang") and PLATFORM in _ZIG_SYSTEMS:
        found.append([sys.executable, "-m", "ziglang", "c++"])
    return found


def command(
    compiler: Sequence[str], level: str, files: Sequence[Path], output: Path, target: tuple[str, str] = PLATFORM
) -> list[str]:
    """Command that compiles a file of a level (to NAME.o) or links (to NAME.so); only zig can for another platform."""
    system, machine = target
    links = output.suffix != ".o"
    flags = [*_FLAGS.split(), *levels(system, machine)[level].split(), "-shared" if links else "-c"]
    if "ziglang" in compiler or Path(compiler[0]).name.startswith("zig"):
        # without a target zig compiles for this very processor; -nostdlib++ saves a minute for zig's libc++
        name = f"{machine}-macos.{_MACOS}" if system == "darwin" else f"{machine}-linux-gnu.2.28"
        flags += ["-target", name, "-fno-sanitize=undefined", *(["-nostdlib++"] if links else [])]
    elif system == "darwin":
        flags += ["-arch", machine.replace("aarch64", "arm64"), f"-mmacosx-version-min={_MACOS}"]
    return [*compiler, *flags, *map(str, files), "-o", str(output)]


def _run(arguments: Sequence[str], scratch: Path) -> str | None:
    """Error text of a compiler; None if it succeeds."""
    caches = {"ZIG_GLOBAL_CACHE_DIR": str(scratch / "zig"), "ZIG_LOCAL_CACHE_DIR": str(scratch / "zig")}
    try:
        done = subprocess.run(
            arguments, cwd=scratch, env=os.environ | caches, capture_output=True, text=True, errors="replace"
        )
    except OSError as error:
        return str(error)
    return (done.stderr.strip() or f"exit code {done.returncode}") if done.returncode else None


def _compile(compiler: Sequence[str], level: str, files: Sequence[Path], output: Path, scratch: Path) -> str | None:
    """Compile and link a library of a level; gives the compiler's error text, or None."""
    own = f'-DASIM_DIGEST="{digest(level)}"'
    objects = [output.with_name(f"{file.stem}.o") for file in files]
    for file, object_file in zip(files, objects, strict=True):
        failure = _run([*command(compiler, level, [file], object_file), own], scratch)
        if failure is not None:
            return failure
    return _run(command(compiler, level, objects, output), scratch)


def _build_level(level: str, scratch: Path) -> bool:
    """Compile a level by the first compiler that can; gives whether its library is then up to date."""
    path = library_path(level)
    part = Path(tempfile.mkdtemp(dir=scratch), path.name)
    files = [file for file in sources() if file.suffix == ".cpp"]
    failures = []
    for compiler in compilers():
        failure = _compile(compiler, level, files, part, scratch)
        if failure is None:
            new = shutil.copy(part, path.with_suffix(".new"))
            Path(new).replace(path)  # not written over: a process may have loaded the old one
            print(f"{path.name}: built by {shlex.join(compiler)}", flush=True)
            return True
        failures.append(f"\n{shlex.join(compiler)}: {failure}")
    print(f"{path.name}: not built; {len(compilers())} compilers tried", *failures, file=sys.stderr, flush=True)
    if path.exists() and digest(level).encode() not in path.read_bytes():
        path.unlink()
    return path.exists()


def build() -> bool:
    """Compile the library of each level of this machine; gives whether there are any then."""
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor() as pool:
        return any([*pool.map(lambda level: _build_level(level, Path(scratch)), LEVELS)])


def _zig_if_needed() -> list[str]:
    """The requirement of zig's compiler if no other compiler builds the platform's best level, and zig has wheels."""
    if PLATFORM not in _ZIG_SYSTEMS:
        return []
    level = "avx512" if "avx512" in LEVELS else "portable"
    with tempfile.TemporaryDirectory() as folder:
        probe, library = Path(folder, "probe.cpp"), Path(folder, "probe.so")
        probe.write_text(_PROBE)
        able = any(_compile(compiler, level, [probe], library, Path(folder)) is None for compiler in compilers())
    return [] if able else [ZIG]


def _setuptools() -> Any:
    return importlib.import_module("setuptools.build_meta")


def __getattr__(name: str) -> Any:
    """The build's other functions, from setuptools."""
    if name.startswith("__"):
        raise AttributeError(name)
    return getattr(_setuptools(), name)


def get_requires_for_build_wheel(config_settings: dict[str, Any] | None = None) -> list[str]:
    """Requirements of a build, the same for an editable install: see PEP 517 and 660."""
    return [*_setuptools().get_requires_for_build_wheel(config_settings), *_zig_if_needed()]


get_requires_for_build_editable = get_requires_for_build_wheel


def build_wheel(wheel_directory: str, config_settings: dict[str, Any] | None = None, *others: Any) -> str:
    """Compile and pack: see PEP 517. A wheel with libraries fits every Python of this platform."""
    for old in Path("build").glob("lib*/asim_lightning/engine/native"):  # setuptools would pack old files from here
        shutil.rmtree(old)
    settings = dict(config_settings or {})
    if build():
        name = f"macosx-{_MACOS}-{platform.machine()}" if PLATFORM[0] == "darwin" else sysconfig.get_platform()
        given = settings.get("--build-option") or []
        settings["--build-option"] = ["--plat-name", name, *(shlex.split(given) if isinstance(given, str) else given)]
    return str(_setuptools().build_wheel(wheel_directory, settings, *others))


def build_editable(wheel_directory: str, config_settings: dict[str, Any] | None = None, *others: Any) -> str:
    """Compile and link to this folder: see PEP 660."""
    build()
    return str(_setuptools().build_editable(wheel_directory, config_settings, *others))


def build_sdist(sdist_directory: str, config_settings: dict[str, Any] | None = None) -> str:
    """Pack sources: see PEP 517. Leaves out the libraries, which setuptools takes for data."""
    name = str(_setuptools().build_sdist(sdist_directory, config_settings))
    path = Path(sdist_directory, name)
    part = path.with_suffix(".part")
    with tarfile.open(path) as full, tarfile.open(part, "w:gz", format=tarfile.PAX_FORMAT) as kept:
        for member in full:
            if not member.name.endswith(".so"):
                kept.addfile(member, full.extractfile(member))
    part.replace(path)
    return name


if __name__ == "__main__":
    advice = f"Nothing was built: install a C++ compiler, or `pip install '{ZIG}'`, and try again."
    sys.exit(None if build() else advice)
