"""Processes, data workers and threads that simulate beside each other neither wait for ever nor disagree."""

import subprocess
import sys
from pathlib import Path


def test_processes_workers_and_threads_simulate_beside_each_other(tmp_path: Path) -> None:
    script = Path(__file__).with_name("simulating_processes.py")
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)], capture_output=True, text=True, timeout=200, cwd=root, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.endswith("agree\n")
