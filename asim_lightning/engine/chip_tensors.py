"""What a chip gives a layer, as tensors of a file that `SavedChip` reads."""

import torch
from torch import Tensor

from asim_lightning.circuit import Transfer
from asim_lightning.engine.cells import ChargeGains, cells_of
from asim_lightning.engine.chip import (
    Chip,
    converters_of,
    kinds_of,
    macro_tensor,
    physical_shape,
    saved_places,
    stuck_bits,
)
from asim_lightning.engine.product import Product


def chip_tensors(chip: Chip, product: Product, transfer: Transfer, shape: torch.Size) -> dict[str, Tensor]:
    """All that differs on chips of a layer's macro, as it is on one, by kind (`saved_chip.KINDS`).

    Args:
        chip: The chip.
        product: The linear map.
        transfer: The macro's schedule and column.
        shape: Shape of the weights of a sample. # (*weight)
    """
    kinds, macro = kinds_of(transfer), transfer.macro
    found = {"macro": macro_tensor(transfer)} if kinds else {}
    converters = converters_of(chip, product, transfer, shape)
    if converters is not None:
        found["place"] = saved_places(macro, converters.index)
        errors = (("offset", converters.offset), ("gain", converters.gain), ("inl", converters.tables))
        found |= {kind: values for kind, values in errors if values is not None and kind in kinds}
    if macro.static.has_stuck_cells:
        found |= dict(zip(("stuck_at_0", "stuck_at_1"), stuck_bits(chip, transfer, shape), strict=True))
    if "cells" in kinds:
        found["cells"] = cells_of(
            chip, transfer, shape, range(physical_shape(macro)[0] if macro.static.is_reused else macro.weight_bits)
        )
    if "idle_cells" in kinds:
        found["idle_cells"] = ChargeGains(product, transfer, chip, shape).all_idle_cells()
    return {kind: values.contiguous() for kind, values in found.items() if kind in kinds}
