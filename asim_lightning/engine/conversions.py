"""How many conversions of the ADC a product takes."""

from torch import Tensor

from asim_lightning.circuit import Transfer
from asim_lightning.engine.product import Product


def conversion_count(product: Product, transfer: Transfer, x: Tensor, w: Tensor) -> int:
    """Conversions of all samples of a product: ``outputs * tiles * sum of votes of converted cycles``.

    Every conversion of the schedule counts, however an engine computes it; only shapes of x and w matter.

    Args:
        product: The linear map.
        transfer: The macro's schedule and column.
        x: Input integers. # (batch, *inputs)
        w: Weight integers. # (*weight), or (batch, *weight) where the product says so
    """
    weight = w[0] if product.batched_weight else w
    outputs = x.shape[0] * product.positions(x, weight)
    votes = sum(cycle.votes for cycle in transfer.cycles if cycle.converted)
    return outputs * len(product.tiles(weight, transfer.macro.rows)) * votes
