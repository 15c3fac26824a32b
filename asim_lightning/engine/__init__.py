"""Engines that execute a schedule on integers, and the noise they draw from."""

from asim_lightning.engine.noise_source import Noise, NoiseScope, current_scope, noise_context
from asim_lightning.engine.product import Conv2dProduct, MatmulProduct, Product, Tile
from asim_lightning.engine.run import ENGINES, choose, run

__all__ = [
    "ENGINES",
    "Conv2dProduct",
    "MatmulProduct",
    "Noise",
    "NoiseScope",
    "Product",
    "Tile",
    "choose",
    "current_scope",
    "noise_context",
    "run",
]
