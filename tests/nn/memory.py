"""Prints the memory that layers take, a line for each argument: a number in a process of its own, forked from this one.

"peak FIDELITY NOISE": two convolutions at their peak, beyond their input and output, MB. "weights MACRO", a macro as
JSON: linear layers that were simulated in batches of several sizes, beyond their float weights, in sizes of those.
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
from asim_lightning.nn import CimConv2d, CimLinear

SIZE, LAYERS, BATCHES = 3200, 2, (1, 16)  # memory of more than 32 MB goes back at once


def resident(line: str) -> int:
    """Memory, kB: VmHWM is the largest so far, where that of getrusage starts at the parent's."""
    gc.collect()
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(each for each in lines if each.startswith(line)).split()[1])


def peak(fidelity: str, noise: str) -> float:
    """Memory that a batch takes, MB."""
    macro = MacroConfig(weight_bits=4, input_bits=4, random_noise=float(noise))
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


def weights(macro: str) -> float:
    """What layers on a macro take."""
    fields = {"macro": MacroConfig(**json.loads(macro)), "signed_input": True}
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


for argument in sys.argv[1:]:
    child = os.fork()  # no thread runs here yet
    if child == 0:
        kind, *arguments = argument.split(" ", 2 if argument.startswith("peak") else 1)
        print({"peak": peak, "weights": weights}[kind](*arguments), flush=True)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        sys.exit(f"{argument} failed")
