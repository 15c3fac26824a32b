"""Prints the memory that two layers take at their peak beyond their input and output, in MB."""

import sys
from pathlib import Path

import torch
from torch import nn

from asim_lightning import MacroConfig
from asim_lightning.nn import CimConv2d


def peak() -> int:
    """Largest resident size so far, kB (getrusage's starts at that of the process that started this one)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


fidelity, noise, batch = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
macro = MacroConfig(weight_bits=4, input_bits=4, random_noise=noise)
torch.manual_seed(0)
network = nn.Sequential(
    CimConv2d(64, 64, 3, padding=1, macro=macro, name="a"),
    nn.ReLU(),
    CimConv2d(64, 64, 3, padding=1, macro=macro, name="b"),
).eval()
for layer in network[::2]:
    layer.fidelity = fidelity
with torch.inference_mode():
    network(torch.rand(1, 64, 32, 32))  # compiles, and fills caches
    x = torch.rand(batch, 64, 32, 32)
    before = peak()
    network(x)
print((peak() - before) / 1024)
