"""Engines that execute a schedule on integers, and the noise they draw from."""

from asim_lightning.engine.cells import Chip
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
    "Tile",
    "Weights",
    "choose",
    "current_scope",
    "noise_context",
    "refusals",
    "sums_of",
]
