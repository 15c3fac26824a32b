"""Simulated inference needs little more memory than quantised inference, whatever the batch."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's figures"),
]


def measured(*cases: str) -> list[float]:
    """What `memory.py` prints."""
    command = [sys.executable, "-W", "ignore", str(Path(__file__).with_name("memory.py")), *cases]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    return [float(line) for line in done.stdout.splitlines()]


def test_peak_is_at_most_three_times_that_of_quantised_inference_and_35_mb() -> None:
    noise = {"exact": 0.0, "events": 0.05, "native": 0.3}
    quantised, *simulated = measured("peak quantized 0.0", *(f"peak simulated {each}" for each in noise.values()))
    assert quantised > 3.5  # the outputs alone take 2.6 MB a layer
    assert len(simulated) == len(noise)
    assert max(simulated) <= 3 * quantised + 35


def test_simulated_layers_hold_their_weights_at_most_twice_more_whatever_the_batch() -> None:
    taken = measured('weights {"random_noise": 0.05}', 'weights {"encoding_bits": 4, "random_noise": 0.3}')
    assert len(taken) == 2
    assert all(1.0 < each <= 2.0 for each in taken)  # their integers alone take as much as they do
