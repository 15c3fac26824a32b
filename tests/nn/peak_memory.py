"""Prints the memory that two layers take at their peak beyond their input and output, in MB, for each case it is given.

A case is a fidelity, a comma and random noise. Each has a process of its own, whose high-water mark starts afresh where
it is forked from this one.
"""

import os
import sys
from pathlib import Path

import torch
from torch import nn

from asim_lightning import MacroConfig
from asim_lightning.nn import CimConv2d

BATCH = 24


def peak() -> int:
    """Largest resident size so far, kB (getrusage's starts at that of the process that started this one)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def taken(fidelity: str, noise: float) -> float:
    """Memory that a batch takes, MB."""
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
        x = torch.rand(BATCH, 64, 32, 32)
        before = peak()
        network(x)
    return (peak() - before) / 1024


for case in sys.argv[1:]:
    name, percent = case.split(",")
    child = os.fork()  # no thread runs here yet
    if child == 0:
        print(case, taken(name, float(percent)), flush=True)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        sys.exit(f"{case} failed")
