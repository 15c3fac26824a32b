"""Engines, which execute the schedule of a macro on integers, and the noise that they draw.

Cycle: one conversion in the schedule of a macro: which weight bits meet which input bits, its sign and binary weight.
Digit: the value of the bits that a cycle uses; the bits of one weight bit over a tensor are a (bit) plane.
Tile: the rows of one macro; a product with more terms than rows is split over several tiles.
Count: sum over a tile's rows of weight digit times input digit; outputs are in counts before they are scaled.
Column: the model that gives level (mean) and sigma (standard deviation) of a count, both in codes of the ADC.
Converter: the ADC at the end of a column. Code: the integer that a conversion returns, ``round(level + sigma * z)``.
Vote: one of several conversions of the same count, which become one code by mode, median or mean.
Exact: every code of a cycle stands for its count, noise aside. Event: a conversion whose code is wrong by noise.
Trial: one read of one chip, with noise of its own. Chip: what stays the same for every read, such as its cells.
Product: the linear map, a convolution or matrix product. Transfer: schedule and column of a macro, with tables.
Program: what an engine prepares for a product on a macro, and runs at each call. Step: output of one count.

The macro decides the algorithm, and the device only the kernel: `exact` computes the integer product, `events` (the
folder rare) adds the wrong conversions, and `native` (CPU), `fused` (CUDA) and `reference` (any device, the
specification) make every conversion.
"""

from asim_lightning.engine.chips.chip import Chip
from asim_lightning.engine.chips.effects import check_saved, converters_of, stuck_weights
from asim_lightning.engine.chips.saved_chip import SavedChip
from asim_lightning.engine.engines import ENGINES, choose, refusals
from asim_lightning.engine.noise_source import Noise, NoiseScope, current_scope, noise_context
from asim_lightning.engine.product import Conv2dProduct, MatmulProduct, Product, Tile
from asim_lightning.engine.program import Engine, Program, sums_of
from asim_lightning.engine.quantizer import Quantizer
from asim_lightning.engine.weights import Weights

__all__ = [
    "ENGINES",
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
    "noise_context",
    "refusals",
    "stuck_weights",
    "sums_of",
]
