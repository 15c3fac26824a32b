"""Simulated inference needs little more memory than quantised inference, whatever the batch."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

NOISE = {"exact": 0.0, "events": 0.05, "native": 0.3}


@pytest.fixture(scope="module")
def peaks() -> dict[str, float]:
    """Memory at the peak of each case, MB."""
    script, root = Path(__file__).with_name("peak_memory.py"), str(Path(__file__).parents[2])
    cases = ["quantized,0.0", *(f"simulated,{noise}" for noise in NOISE.values())]
    done = subprocess.run([sys.executable, str(script), *cases], capture_output=True, text=True, check=True, cwd=root)
    return {case: float(taken) for case, taken in (line.split() for line in done.stdout.splitlines())}


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's figures")
@pytest.mark.parametrize("engine", NOISE)
def test_peak_is_at_most_three_times_that_of_quantised_inference_and_80_mb(
    engine: str, peaks: dict[str, float]
) -> None:
    quantised = peaks["quantized,0.0"]
    assert quantised > 8  # the outputs alone take 6.3 MB a layer
    assert peaks[f"simulated,{NOISE[engine]}"] <= 3 * quantised + 80


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's figures")
def test_simulated_layers_hold_their_weights_at_most_twice_more_whatever_the_batch() -> None:
    script, root = Path(__file__).with_name("weight_memory.py"), str(Path(__file__).parents[2])
    macros = {"random_noise": 0.05}, {"encoding_bits": 4, "random_noise": 0.3}
    command = [sys.executable, "-W", "ignore", str(script), *map(json.dumps, macros)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root)
    taken = [float(line) for line in done.stdout.splitlines()]
    assert len(taken) == len(macros)
    assert all(1.0 < each <= 2.0 for each in taken)  # their integers alone take as much as they do
