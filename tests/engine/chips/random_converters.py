"""Converters with random errors."""

import torch
from torch import Tensor

from asim_lightning.circuit import Transfer
from asim_lightning.engine import Product
from asim_lightning.engine.chips.converters import Converters


def converters(product: Product, circuit: Transfer, w: Tensor, kinds: str, shared: int = 1) -> Converters:
    """Converters with errors of some kinds, each of which several columns share."""
    found = product.geometry(None, w)
    bits = 1 if circuit.macro.weight_parallel else circuit.macro.weight_bits
    shape = (len(found.tiles(circuit.macro.rows)), found.groups, found.outputs, bits)
    number, generator = torch.Size(shape).numel(), torch.Generator().manual_seed(1)
    index = (torch.arange(number) // shared).view(shape)
    largest = 1.8 if "large" in kinds else 0.4
    curve = torch.arange(number) if "nibbles" in kinds else torch.randint(0, 3, (number,), generator=generator)
    codes = 2 * circuit.macro.top_code + 1 if circuit.macro.weight_parallel else circuit.macro.top_code + 1
    nibbles = -(-(codes - 1).bit_length() // 4)
    tables = {
        "nibbles": (torch.rand(number, nibbles, 16, generator=generator) - 0.5) * 2 * largest / nibbles,
        "curves": (torch.rand(3, codes, generator=generator) - 0.5) * 2 * largest,
    }
    found = next((tables[kind] for kind in tables if kind in kinds), None)
    return Converters(
        index,
        1 + 0.02 * torch.randn(number, generator=generator) if "gain" in kinds else None,
        0.7 * torch.randn(number, generator=generator) if "offset" in kinds else None,
        None if found is None else curve,
        found,
    )
