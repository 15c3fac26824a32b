"""The fused engine: every conversion of a macro in one CUDA kernel.

One program computes a block of outputs: over tiles and cycles it multiplies digits on tensor cores (int8, sums in
int32), looks level and sigma up by count, draws the noise, converts, and adds codes as integers, all in registers; each
output is stored once. A convolution reads its input where it lies, so no patches are stored.
"""

from functools import lru_cache
from importlib.util import find_spec

import torch
from torch import Tensor

from asim_lightning.circuit import Cycle, Transfer
from asim_lightning.circuit.transfer import possible_counts
from asim_lightning.engine.fused.layout import operands
from asim_lightning.engine.fused.tables import tables
from asim_lightning.engine.noise_source import Noise
from asim_lightning.engine.product import Product

LONGEST_TABLE = 2**16
"""Counts of one kind of cycle whose level and sigma are tabulated: 512 KB, which a CUDA device's caches hold."""
MOST_ELECTORS = 63
"""Votes of a mode or median: comparing each read with each other takes the square of their number."""
_MOST_DIGIT_BITS = 7
_LARGEST_CODE, _LARGEST_NORMAL = 2.0**22, 7.0


@lru_cache(maxsize=1024)
def applies(transfer: Transfer) -> bool:
    """Whether the fused engine computes a macro.

    Not where counts are no whole numbers of few values or codes no whole numbers: cells that vary, weight-parallel
    cycles, an ideal converter, input digits of more than 7 bits, more than 65536 counts a cycle. Nor for more than 63
    votes of a mode or median (a mean may have any number), or a column whose level or sigma is not float32 or passes
    what the kernel rounds exactly: 2^22 codes.
    """
    macro = transfer.macro
    if transfer.column.cell_sigma > 0 or macro.top_code is None:
        return False
    for cycle in transfer.cycles:
        wide = len(cycle.weight_bits) > 1 or len(cycle.input_bits) > _MOST_DIGIT_BITS or cycle.signed
        if wide or cycle.full_scale >= LONGEST_TABLE or (macro.vote != "mean" and cycle.votes > MOST_ELECTORS):
            return False
    kinds = {(c.full_scale, c.analog, c.converted): c for c in transfer.cycles}  # the others convert alike
    return all(_is_rounded_exactly(transfer, cycle) for cycle in kinds.values())


def available(device: torch.device) -> bool:
    """Whether the fused engine runs on a device: CUDA of NVIDIA, with Triton installed."""
    return device.type == "cuda" and torch.version.hip is None and find_spec("triton") is not None


@torch.no_grad()
def run(product: Product, transfer: Transfer, x: Tensor, w: Tensor, noise: Noise) -> Tensor:
    """Outputs of a macro, in counts: those of the reference engine, code by code.

    Args:
        product: The linear map: a convolution or a matrix product.
        transfer: A macro to which the engine `applies`.
        x: Whole numbers. # (batch, *inputs)
        w: Whole numbers. # (*weight), or (batch, *weight) where the product says so
        noise: Noise source, with one row per row of the batch.

    Returns:
        Outputs in counts, float64. # (batch, *outputs)

    Raises:
        TypeError: The product is neither a convolution nor a matrix product.
    """
    from asim_lightning.engine.fused.kernel import launch  # Triton may be missing where this engine is not asked for

    macro = tables(transfer, x.device)
    return launch(
        operands(product, transfer.macro, macro.groups, x.to(torch.int32), w.to(torch.int32)),
        macro,
        transfer.macro,
        noise,
    )


def _is_rounded_exactly(transfer: Transfer, cycle: Cycle) -> bool:
    counts = possible_counts(cycle).float()
    level, sigma = transfer.column.level(counts, cycle), transfer.column.sigma(counts, cycle)
    largest = float(level.abs().max()) + _LARGEST_NORMAL * float(sigma.abs().max())
    return level.dtype is sigma.dtype is torch.float32 and largest < _LARGEST_CODE
