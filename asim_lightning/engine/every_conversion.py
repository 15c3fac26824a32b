"""The engines that make every conversion, and the choice among them for a device."""

import warnings
from functools import lru_cache

import torch

from asim_lightning.circuit import Transfer
from asim_lightning.engine import fused, packed, reference
from asim_lightning.engine.program import Engine

KERNELS: dict[str, Engine] = {"packed": packed, "fused": fused, "reference": reference}
"""Engines that make every conversion, fastest first; the last one computes every macro on every device."""


def kernel_for(transfer: Transfer, device: torch.device) -> str:
    """Name of the fastest engine that makes every conversion of a macro on a device."""
    computing = [name for name, engine in KERNELS.items() if engine.refuses(transfer) is None]
    found = next(name for name in computing if KERNELS[name].available(device))
    if found == "reference" and "fused" in computing and device.type == "cuda":
        _warn_of_triton()
    return found


@lru_cache(maxsize=1)
def _warn_of_triton() -> None:
    warnings.warn(
        "Triton is not installed, so the reference engine makes the conversions on CUDA, many times slower; "
        "pip install triton",
        stacklevel=2,
    )
