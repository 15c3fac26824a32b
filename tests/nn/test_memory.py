"""Simulated inference needs little more memory than quantised inference, whatever the batch."""

import gc
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from asim_lightning import MacroConfig
from asim_lightning.engine import noise_context
from asim_lightning.nn import CimConv2d, CimLinear

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's figures"),
]
SIZE, LAYERS, BATCHES = 3200, 2, (1, 16)  # memory of more than 32 MB goes back at once


def resident(line: str) -> int:
    """Memory, kB: VmHWM is the largest so far, where that of getrusage starts at the parent's."""
    gc.collect()
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(each for each in lines if each.startswith(line)).split()[1])


def peak(fidelity: str, noise: float) -> float:
    """Memory that two convolutions take at their peak, beyond their input and output, MB."""
    macro = MacroConfig(weight_bits=4, input_bits=4, random_noise=noise)
    torch.manual_seed(0)
    layers = [CimConv2d(64, 64, 3, padding=1, macro=macro, name=name) for name in "ab"]
    network = nn.Sequential(layers[0], nn.ReLU(), layers[1]).eval()
    for layer in layers:
        layer.fidelity = fidelity
    with torch.inference_mode():
        network(torch.rand(1, 64, 32, 32))  # compiles, and fills caches
        x = torch.rand(10, 64, 32, 32)
        before = resident("VmHWM")
        network(x)
    return (resident("VmHWM") - before) / 1024


def weights(**macro: Any) -> float:
    """Memory of linear layers that were simulated in batches of several sizes, beyond their float weights, in sizes of
    those."""
    fields = {"macro": MacroConfig(**macro), "signed_input": True}
    layers = [CimLinear(SIZE, SIZE, name=f"layer{n}", **fields) for n in range(LAYERS)]
    network = nn.Sequential(*layers).eval()
    with torch.inference_mode():
        small = CimLinear(8, 8, name="small", **fields).eval()
        for layer in layers:
            layer.fidelity = "float"
        for batch in BATCHES:
            network(torch.rand(batch, SIZE))
            small(torch.rand(batch, 8))  # loads what is loaded once
        before = resident("VmRSS")
        for layer in layers:
            layer.fidelity = "simulated"
        for batch in BATCHES:
            with noise_context():
                network(torch.rand(batch, SIZE))
    return (resident("VmRSS") - before) * 1024 / (4 * SIZE * SIZE * LAYERS)


def measured(call: str) -> float:
    """The answer of a function of this file in a process of its own."""
    command = [sys.executable, "-W", "ignore", "-c", f"from tests.nn.test_memory import *; print({call})"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    return float(done.stdout)


def test_peak_is_at_most_three_times_that_of_quantised_inference_and_35_mb() -> None:
    quantised = measured("peak('quantized', 0.0)")
    assert quantised > 3.5  # the outputs alone take 2.6 MB a layer
    for noise in (0.0, 0.05, 0.3):  # exact, events, native
        assert measured(f"peak('simulated', {noise})") <= 3 * quantised + 35


def test_simulated_layers_hold_their_weights_at_most_twice_more_whatever_the_batch() -> None:
    for macro in ("random_noise=0.05", "encoding_bits=4, random_noise=0.3"):
        assert 1.0 < measured(f"weights({macro})") <= 2.0  # their integers alone take as much as they do
