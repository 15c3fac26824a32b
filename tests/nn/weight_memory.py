"""Prints what layers take beyond their float weights, in sizes of those: after batches of several sizes, simulated.

Its arguments are macros, as JSON. Each has a process of its own, forked from this one, and a line of the output.
"""

import gc
import json
import os
import sys
from pathlib import Path

import torch
from torch import nn

from asim_lightning import MacroConfig
from asim_lightning.engine import noise_context
from asim_lightning.nn import CimLinear

SIZE, LAYERS, BATCHES = 3200, 2, (1, 16)  # memory of more than 32 MB goes back at once


def resident() -> int:
    """Resident memory, kB."""
    gc.collect()
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1])


def taken(macro: MacroConfig) -> float:
    """What layers on a macro take."""
    layers = [CimLinear(SIZE, SIZE, macro=macro, signed_input=True, name=f"layer{n}") for n in range(LAYERS)]
    network = nn.Sequential(*layers).eval()
    with torch.inference_mode():
        small = CimLinear(8, 8, macro=macro, signed_input=True, name="small").eval()
        for layer in layers:
            layer.fidelity = "float"
        for batch in BATCHES:
            network(torch.rand(batch, SIZE))
            small(torch.rand(batch, 8))  # loads what is loaded once
        before = resident()
        for layer in layers:
            layer.fidelity = "simulated"
        for batch in BATCHES:
            with noise_context():
                network(torch.rand(batch, SIZE))
    return (resident() - before) * 1024 / (4 * SIZE * SIZE * LAYERS)


for argument in sys.argv[1:]:
    child = os.fork()  # no thread runs here yet
    if child == 0:
        print(taken(MacroConfig(**json.loads(argument))), flush=True)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        sys.exit(f"{argument} failed")
