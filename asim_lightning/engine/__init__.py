"""Engines compute a macro's schedule on integers and draw its noise.

Cycle: one conversion in a macro's schedule. It says which weight bits meet which input bits, the sign and the shift.
Digit: the value of the bits that a cycle uses. One weight bit of a whole tensor is a (bit) plane.
Tile: the rows of one macro. A product with more terms than rows is split over several tiles.
Count: sum over a tile's rows of weight digit times input digit. Outputs are in counts before they are scaled.
Column: the model that gives level (mean) and sigma (standard deviation) of a count, both in codes of the ADC.
Converter: the ADC at the end of a column. Code: the integer that a conversion returns, ``round(level + sigma * z)``.
Vote: one of several conversions of the same count. Mode, median or mean makes one code of the votes.
Exact: without noise, each code of a cycle gives its count back. Event: a conversion whose code noise made wrong.
Trial: one read of one chip, with its own noise. Chip: all that stays the same for every read, such as the cells.
Product: a convolution or matrix product. Transfer: schedule and column of a macro, with tables.
Program: prepared by an engine for a product on a macro, and run at each call. Step: output value of one count.

The macro decides the algorithm; the device decides only the kernel. `exact` computes the integer product. `events`
(folder rare) adds the wrong conversions to it. `native` (CPU), `fused` (CUDA) and `reference` (any device, the
specification) make every conversion.
"""

from asim_lightning.engine.chips.chip import Chip
from asim_lightning.engine.chips.effects import check_saved, converters_of
from asim_lightning.engine.chips.saved_chip import SavedChip
from asim_lightning.engine.engines import ENGINES, KERNELS, choose, decision, refusals
from asim_lightning.engine.noise_source import Noise, NoiseScope, current_scope, noise_context
from asim_lightning.engine.product import Conv2dProduct, MatmulProduct, Product, Tile
from asim_lightning.engine.program import Engine, Program, sums_of
from asim_lightning.engine.quantizer import Quantizer
from asim_lightning.engine.stored_weights import Weights

__all__ = [
    "ENGINES",
    "KERNELS",
    "Chip",
    "Conv2dProduct",
    "Engine",
    "MatmulProduct",
    "Noise",
    "NoiseScope",
    "Product",
    "Program",
    "Quantizer",
    "SavedChip",
    "Tile",
    "Weights",
    "check_saved",
    "choose",
    "converters_of",
    "current_scope",
    "decision",
    "noise_context",
    "refusals",
    "sums_of",
]
