"""Simulated inference needs little more memory than quantised inference, whatever the batch."""

import subprocess
import sys
from functools import lru_cache
from pathlib import Path

import pytest


@lru_cache
def peak(fidelity: str, noise: float, batch: int = 64) -> float:
    """Memory at the peak, MB, in a process of its own, whose high-water mark starts afresh."""
    script, root = Path(__file__).with_name("peak_memory.py"), str(Path(__file__).parents[2])
    command = [sys.executable, str(script), fidelity, str(noise), str(batch)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True, cwd=root).stdout)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's figures")
@pytest.mark.parametrize("noise", [0.0, 0.05, 0.3], ids=["exact", "events", "packed"])
def test_peak_is_at_most_three_times_that_of_quantised_inference_and_200_mb(noise: float) -> None:
    quantised = peak("quantized", 0.0)
    assert quantised > 20  # the outputs alone take 16.8 MB a layer
    assert peak("simulated", noise) <= 3 * quantised + 200
