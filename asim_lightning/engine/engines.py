"""All engines by name, and the choice among them."""

import warnings
from functools import lru_cache

import torch
from torch import Tensor

from asim_lightning.circuit import Transfer
from asim_lightning.engine import exact, fused, rare, reference
from asim_lightning.engine.native import native_engine
from asim_lightning.engine.noise_source import Noise
from asim_lightning.engine.product import Conv2dProduct
from asim_lightning.engine.program import EVERY_CONVERSION, Engine, sums_of
from asim_lightning.quant import levels

KERNELS: dict[str, Engine] = {"native": native_engine, "fused": fused, "reference": reference}
"""Engines that make every conversion, fastest first. The last one computes every macro on every device."""
ENGINES: dict[str, Engine] = {"exact": exact, "events": rare, **KERNELS}
"""All engines, the fastest algorithm first."""
_MOST_DIFFERENT = 0.01
"""Share of the first use's outputs that may differ: a few codes depend on the last bit of a normal."""
_first_uses: dict[torch.device, str | None] = {}


def choose(transfer: Transfer, device: str | torch.device = "cpu") -> str:
    """Name of the engine for a macro.

    The first engine with an algorithm that is preferred for the macro, such as "exact" or "events"; else the fastest
    engine on the device that makes every conversion.
    """
    preferred = (name for name, engine in ENGINES.items() if engine.prefers(transfer) is not None)
    return next(preferred, None) or kernel_for(transfer, torch.device(device))


@lru_cache(maxsize=1024)
def decision(transfer: Transfer) -> tuple[str, str]:
    """The algorithm for a macro, and the reason for it. Noise and conversions decide it, never batch, threads or
    device."""
    why = ""
    for engine in ENGINES.values():
        if (reason := engine.prefers(transfer)) is not None:
            return engine.ALGORITHM, reason
        if engine.ALGORITHM != EVERY_CONVERSION:
            why = engine.refuses(transfer) or ""
    return EVERY_CONVERSION, (
        f"converters differ, and {why}: every conversion is made" if transfer.converters_differ else why
    )


def refusals(transfer: Transfer, device: str | torch.device = "cpu") -> dict[str, str]:
    """Why engines do not compute a macro on a device, by the engine's name; the other engines are left out."""
    place = torch.device(device)
    found = {name: engine.refuses(transfer) or engine.why_not_on(place) for name, engine in ENGINES.items()}
    return {name: why for name, why in found.items() if why is not None}


def kernel_for(transfer: Transfer, device: torch.device) -> str:
    """Name of the fastest engine that makes every conversion of a macro on a device.

    Warns once if the reference engine has to compute on CUDA instead of the fused one.
    """
    reasons = {name: engine.why_not_on(device) for name, engine in KERNELS.items() if engine.refuses(transfer) is None}
    found = next(name for name, why in reasons.items() if why is None)
    why = why_wrong(transfer, device) if found == "fused" else reasons.get("fused")
    if device.type != "cuda" or why is None:
        return found
    _warn(why)
    return "reference"


def why_wrong(transfer: Transfer, device: torch.device) -> str | None:
    """How the fused engine failed on a device at its first use in this process; None if it did not fail.

    A small layer on the first macro is computed by the fused engine and by the reference engine. The comparison stands
    for all macros.
    """
    if device not in _first_uses:
        _first_uses[device] = _first_use(transfer, device)
    return _first_uses[device]


def _first_use(transfer: Transfer, device: torch.device) -> str | None:
    macro, signed, generator = transfer.macro, transfer.signed_input, torch.Generator().manual_seed(0)

    def integers(largest: int, negative: bool, *shape: int) -> Tensor:
        drawn = torch.randint(-largest * negative, largest + 1, shape, generator=generator)
        return drawn.to(device, torch.float32)

    x = integers(levels(macro.input_bits, signed), signed, 2, 32, 6, 6)
    w = integers(levels(macro.weight_bits, True), True, 32, 32, 3, 3)
    product, rows = Conv2dProduct((1, 1), (1, 1), (1, 1), 1), torch.arange(len(x), device=device)
    noise = Noise(seed=0, name="first use", call=0, trial=0, chip=0, sample_ids=rows, offsets=0 * rows)
    expected = sums_of(reference, product, transfer, x, w, noise)
    try:
        found = sums_of(fused, product, transfer, x, w, noise)
    except Exception as error:  # Triton raises many kinds if it cannot compile or start a kernel
        return f"the fused kernel's first use ended in {type(error).__name__}: {error}"
    different = float((found != expected).float().mean())
    if different <= _MOST_DIFFERENT:
        return None
    return f"{different:.0%} of the outputs of the fused kernel's first use differ from the reference engine's"


@lru_cache
def _warn(why: str) -> None:
    warnings.warn(f"The reference engine makes the conversions on CUDA, many times slower: {why}", stacklevel=2)
