"""Which engine computes a macro's outputs: the macro decides the algorithm, the device only which kernel runs it."""

import warnings
from collections.abc import Callable
from functools import lru_cache, partial

import torch
from torch import Tensor

from asim_lightning.circuit import Algorithm, Transfer, algorithm
from asim_lightning.circuit import split as parts_of
from asim_lightning.engine import events, exact, fused, packed, reference, split
from asim_lightning.engine.noise_source import Noise
from asim_lightning.engine.product import Product

Engine = Callable[[Product, Transfer, Tensor, Tensor, Noise], Tensor]
"""Outputs in counts of a product, transfer, input integers, weight integers and noise."""

ENGINES: dict[str, Engine] = {
    "exact": lambda product, transfer, x, w, _: exact.run(product, transfer.macro, transfer.signed_input, x, w),
    "events": events.run,
    "split": lambda product, transfer, x, w, noise: _split(product, transfer, x, w, noise, None),
    "packed": packed.run,
    "fused": fused.run,
    "reference": reference.run,
}


def choose(transfer: Transfer, device: str = "cpu") -> str:
    """Name of the engine for a macro: "exact", "events" or "split" where its algorithm is that, else "packed" on a CPU,
    "fused" on CUDA, or "reference" where these do not compute the macro.

    Args:
        transfer: The macro's schedule and column.
        device: Type of the device, such as "cpu" or "cuda".
    """
    found = algorithm(transfer)
    if found is Algorithm.EXACT:
        return "exact"
    if found is Algorithm.EVENTS and events.applies(transfer):
        return "events"
    if found is Algorithm.SPLIT and split.applies(transfer):
        return "split"
    return _kernel(transfer, device)


def _split(
    product: Product, transfer: Transfer, x: Tensor, w: Tensor, noise: Noise, max_elements: int | None
) -> Tensor:
    parts = parts_of(transfer)
    name = "reference" if parts is None else _kernel(parts[1], x.device.type)
    engine = partial(reference.run, max_elements=max_elements) if name == "reference" else ENGINES[name]
    return split.run(product, transfer, x, w, noise, engine)


@lru_cache(maxsize=1024)
def _kernel(transfer: Transfer, device: str) -> str:
    """Engine that makes every conversion."""
    if device == "cpu" and packed.applies(transfer):
        return "packed"
    if device == "cuda" and fused.applies(transfer):
        if fused.available(torch.device(device)):
            return "fused"
        _warn_of_triton()
    return "reference"


@lru_cache(maxsize=1)
def _warn_of_triton() -> None:
    warnings.warn(
        "Triton is not installed, so the reference engine makes the conversions on CUDA, many times slower; "
        "pip install triton",
        stacklevel=2,
    )


@torch.compiler.disable
def run(
    product: Product, transfer: Transfer, x: Tensor, w: Tensor, noise: Noise, max_elements: int | None = None
) -> Tensor:
    """Outputs of a macro in counts, by the engine that `choose` names.

    Args:
        product: The linear map.
        transfer: The macro's schedule and column.
        x: Whole numbers. # (batch, *inputs)
        w: Whole numbers. # (*weight), or (batch, *weight) where the product says so
        noise: Noise source, with one row per row of the batch.
        max_elements: Most counts that the reference engine holds at a time; None: its own bound for the device.

    Returns:
        Outputs in counts; exact ones as whole numbers of any type. # (batch, *outputs)
    """
    name = choose(transfer, x.device.type)
    if name == "reference":
        return reference.run(product, transfer, x, w, noise, max_elements)
    if name == "split":
        return _split(product, transfer, x, w, noise, max_elements)
    return ENGINES[name](product, transfer, x, w, noise)
