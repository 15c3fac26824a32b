"""All engines by name, and the choice among them: the macro decides the algorithm, the device only the kernel."""

import torch

from asim_lightning.circuit import Transfer
from asim_lightning.engine import exact, rare
from asim_lightning.engine.every_conversion import KERNELS, kernel_for, why_refused
from asim_lightning.engine.program import Engine

ENGINES: dict[str, Engine] = {"exact": exact, "events": rare, **KERNELS}


def choose(transfer: Transfer, device: str | torch.device = "cpu") -> str:
    """Name of the engine for a macro: "exact" or "events" where that is its algorithm; else "native" on a CPU, "fused"
    on CUDA, or "reference" where neither computes the macro.

    Args:
        transfer: The macro's schedule and column.
        device: Device that computes.
    """
    place = torch.device(device)
    for name in ("exact", "events"):
        if ENGINES[name].refuses(transfer) is None:
            return name
    return kernel_for(transfer, place)


def refusals(transfer: Transfer, device: str | torch.device = "cpu") -> dict[str, str]:
    """Reasons of the engines that do not compute a macro on a device, by the engine's name."""
    place = torch.device(device)
    found = {
        name: (why_refused(name, transfer) if name in KERNELS else engine.refuses(transfer)) or engine.why_not_on(place)
        for name, engine in ENGINES.items()
    }
    return {name: why for name, why in found.items() if why is not None}
