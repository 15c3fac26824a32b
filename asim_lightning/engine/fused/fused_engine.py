"""The fused engine: every conversion of a macro in one CUDA kernel.

One program computes a block of outputs. For each tile and cycle it multiplies digits on tensor cores (int8, sums in
int32), looks level and sigma up by count, draws the noise, converts, and adds codes as integers, all in registers. Each
output is stored once. A convolution reads its input in place, without im2col.
"""

from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec

import torch
from torch import Tensor

from asim_lightning.circuit import Cycle, Transfer
from asim_lightning.circuit.columns import possible_counts
from asim_lightning.engine.chips.chip import Chip
from asim_lightning.engine.chips.converters import placed
from asim_lightning.engine.fused.digit_layout import operands
from asim_lightning.engine.fused.tables import tables
from asim_lightning.engine.noise_source import Noise
from asim_lightning.engine.product import Product
from asim_lightning.engine.program import (
    EVERY_CONVERSION,
    ConvertingProgram,
    prefers_nothing,
    required,
    why_not_tabulated,
)
from asim_lightning.engine.stored_weights import Weights

LONGEST_TABLE = 2**16
"""Most counts of one kind of cycle in tables of level and sigma: 512 KB, which fits a CUDA device's caches."""
MOST_COMPARED_VOTES = 63
"""Most votes of a mode or median: the comparisons of reads grow with the square of the votes."""
ALGORITHM, SAME_NOISE, prefers = EVERY_CONVERSION, True, prefers_nothing
_MOST_DIGIT_BITS = 7
_LARGEST_CODE, _LARGEST_NORMAL = 2.0**22, 7.0


@lru_cache(maxsize=1024)
def refuses(transfer: Transfer) -> str | None:
    """Why the fused engine does not compute a macro: columns may hold complements, `why_not_tabulated`, digits or votes
    are too large, or the kernel could not round the column's levels and noise exactly."""
    macro = transfer.macro
    if macro.weight_coding != "plain":
        return "columns may hold complements (weight_coding flip)"
    if why := why_not_tabulated(transfer, LONGEST_TABLE):
        return why
    for cycle in transfer.cycles:
        if len(cycle.input_bits) > _MOST_DIGIT_BITS:
            return f"input digits have {len(cycle.input_bits)} bits, more than {_MOST_DIGIT_BITS}"
        if macro.vote != "mean" and cycle.votes > MOST_COMPARED_VOTES:
            return f"{cycle.votes} votes of a {macro.vote} are more than {MOST_COMPARED_VOTES}"
    kinds = {(c.full_scale, c.analog, c.converted): c for c in transfer.cycles}  # one cycle of each kind
    if all(_is_rounded_exactly(transfer, cycle) for cycle in kinds.values()):
        return None
    return f"the column's levels and noise are not float32 numbers below {_LARGEST_CODE:.0f} codes"


def why_not_on(device: torch.device) -> str | None:
    """See `Engine.why_not_on`; it runs on NVIDIA's CUDA with Triton installed."""
    if device.type != "cuda" or torch.version.hip is not None:
        return f"does not run on {device.type}"
    return None if find_spec("triton") is not None else "Triton is not installed (`pip install triton`)"


def prepare(product: Product, transfer: Transfer, weights: Weights | None, chip: Chip = Chip()) -> "FusedProgram":
    """See `Engine.prepare`."""
    return FusedProgram(product, weights, transfer, chip)


@dataclass(eq=False)
class FusedProgram(ConvertingProgram):
    """Every conversion of a product in one kernel."""

    @torch.no_grad()
    def sums(self, x: Tensor, noise: Noise | None) -> Tensor:
        """Outputs of a macro, in counts, equal to the reference engine's code by code; float64. # (batch, *outputs)"""
        from asim_lightning.engine.fused.kernel import (
            launch,  # Triton may be missing if this engine is not used
        )

        macro, w, product = self.transfer.macro, self.w, self.product
        errors = self.of_chip(product.weight_shape(w), x.device, lambda found: found and placed(found, 1, x.device))
        tabulated = tables(self.transfer, x.device, errors is not None)
        integers = operands(product, macro, tabulated, x.to(torch.int32), w.to(torch.int32))
        return launch(integers, tabulated, errors, required(noise))


def _is_rounded_exactly(transfer: Transfer, cycle: Cycle) -> bool:
    counts = possible_counts(cycle).float()
    level, sigma = transfer.column.level(counts, cycle), transfer.column.sigma(counts, cycle)
    largest = float(level.abs().max()) + _LARGEST_NORMAL * float(sigma.abs().max())
    return level.dtype is sigma.dtype is torch.float32 and largest < _LARGEST_CODE
