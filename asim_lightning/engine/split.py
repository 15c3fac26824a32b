"""Some input digits exactly, the others conversion by conversion, where the cycles of some alone are exact.

A sign plane has counts of one bit a row, and a digit of four bits fifteen times as many on the same ADC: an 8-bit one
returns the former and not the latter.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from asim_lightning.circuit import Transfer, split
from asim_lightning.engine import events, exact
from asim_lightning.engine.digits import digits
from asim_lightning.engine.noise_source import Noise
from asim_lightning.engine.product import Product


def applies(transfer: Transfer) -> bool:
    """Whether a transfer is to be taken apart, and events serve for its exact cycles where they have noise."""
    parts = split(transfer)
    return parts is not None and (parts[0].exact or events.applies(parts[0]))


def run(
    product: Product,
    transfer: Transfer,
    x: Tensor,
    w: Tensor,
    noise: Noise,
    convert: Callable[[Product, Transfer, Tensor, Tensor, Noise], Tensor],
) -> Tensor:
    """Outputs of a macro, in counts, with the distribution that `reference.run` has.

    Args:
        product: The linear map.
        transfer: A transfer to which this engine `applies`.
        x: Whole numbers. # (batch, *inputs)
        w: Whole numbers, which must not change in place in inference mode. # (*weight), or (batch, *weight) where the
            product says so
        noise: Noise source, with one row per row of the batch.
        convert: Engine of the conversions that are made one by one.

    Returns:
        Outputs in counts, float64 (float32 where the device has no float64). # (batch, *outputs)

    Raises:
        ValueError: The transfer is not to be taken apart.
    """
    parts = split(transfer)
    if parts is None:
        raise ValueError("a schedule needs exact and other input digits and noise to be split")
    found, rest = parts
    with torch.no_grad():
        outputs = convert(product, rest, x, w, noise)
        integers = x.to(torch.int32)
        for bits in dict.fromkeys(cycle.input_bits for cycle in found.cycles):
            # unsigned: a sign plane's ones count negatively
            is_sign = transfer.signed_input and bits[-1] == transfer.macro.input_bits - 1
            digit = digits(integers, bits, False)
            sums = exact.multiply(product, digit, w, len(bits), transfer.macro.weight_bits, False)
            outputs.add_(sums, alpha=(-1 if is_sign else 1) * 2 ** bits[0])
        return events.add_errors(product, found, outputs, x, w, noise) if any(found.noisy) else outputs
