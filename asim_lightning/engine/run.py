"""Which engine computes a macro's outputs: the macro decides, never batch, threads or device."""

import torch
from torch import Tensor

from asim_lightning.circuit import Transfer
from asim_lightning.engine import exact, reference
from asim_lightning.engine.noise_source import Noise
from asim_lightning.engine.product import Product


def choose(transfer: Transfer) -> str:
    """Name of the engine for a macro: "exact" where its whole schedule is exact and noise-free, else "reference"."""
    return "exact" if transfer.exact else "reference"


@torch.compiler.disable
def run(product: Product, transfer: Transfer, x: Tensor, w: Tensor, noise: Noise) -> Tensor:
    """Outputs of a macro in counts, by the engine that `choose` names.

    Args:
        product: The linear map.
        transfer: The macro's schedule and column.
        x: Whole numbers. # (batch, *inputs)
        w: Whole numbers. # (*weight), or (batch, *weight) where the product says so
        noise: Noise source, with one row per row of the batch.

    Returns:
        Outputs in counts; exact ones as whole numbers of any type. # (batch, *outputs)
    """
    if choose(transfer) == "exact":
        return exact.run(product, transfer.macro, transfer.signed_input, x, w)
    return reference.run(product, transfer, x, w, noise)
