"""No kernel of conversions reads or writes outside of its arrays, nor does anything else that C++ leaves undefined."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from asim_lightning.engine.native import backend, library

FLAGS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer", "-O1", "-g1"]


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("level", library.processor_levels())
def test_conversions_stay_within_their_arrays(level: str, tmp_path: Path) -> None:
    compiler = next((found for found in backend.compilers() if "ziglang" not in found), None)
    if compiler is None:
        pytest.skip("zig's compiler has no address sanitiser")
    files, output = [file for file in backend.sources() if file.suffix == ".cpp"], tmp_path / "sanitized.so"
    subprocess.run([*backend.command(compiler, level, files, output), '-DASIM_DIGEST=""', *FLAGS], check=True)
    preloaded = subprocess.run(
        [*compiler, "-print-file-name=libasan.so"], check=True, capture_output=True, text=True
    ).stdout.strip()
    environment = {**os.environ, "LD_PRELOAD": preloaded, "ASAN_OPTIONS": "detect_leaks=0", "OMP_NUM_THREADS": "1"}
    environment["PYTHONMALLOC"] = "malloc"  # so that structures, too, have bounds
    done = subprocess.run(
        [sys.executable, "-m", "tests.engine.native.sanitized_conversions", str(output)],
        env={**environment, "PYTHONPATH": "."}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-5000:]
    assert done.stdout.endswith(" products\n")
