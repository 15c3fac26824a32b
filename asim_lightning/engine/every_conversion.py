"""The engines that make every conversion, and the choice among them for a device."""

import warnings
from functools import lru_cache

import torch

from asim_lightning.circuit import Transfer
from asim_lightning.engine import fused, reference
from asim_lightning.engine.native import native_engine
from asim_lightning.engine.program import Engine

KERNELS: dict[str, Engine] = {"native": native_engine, "fused": fused, "reference": reference}
"""Engines that make every conversion, fastest first; the last one computes every macro on every device."""


def why_refused(name: str, transfer: Transfer) -> str | None:
    """Why an engine that makes every conversion does not compute a macro; None where it does."""
    if name != "reference" and transfer.column.curves > 1:
        return "its tables are of one curve for all converters"
    return KERNELS[name].refuses(transfer)


def kernel_for(transfer: Transfer, device: torch.device) -> str:
    """Name of the fastest engine that makes every conversion of a macro on a device; warns once where Triton would give
    a faster one (`passes.best_library` warns where there are no C++ kernels)."""
    reasons = {
        name: engine.why_not_on(device) for name, engine in KERNELS.items() if why_refused(name, transfer) is None
    }
    found = next(name for name, why in reasons.items() if why is None)
    if found == "reference" and device.type == "cuda" and (why := reasons.get("fused")):
        _warn(why)
    return found


@lru_cache
def _warn(why: str) -> None:
    warnings.warn(f"The reference engine makes the conversions on CUDA, many times slower: {why}", stacklevel=2)
