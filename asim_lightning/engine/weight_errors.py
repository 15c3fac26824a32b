"""Errors of exact sums over chips: by cells that differ, and by stuck cells."""

import torch
from torch import Tensor

from asim_lightning.circuit import Transfer
from asim_lightning.engine.digit_sums import Bits
from asim_lightning.engine.integer import digits
from asim_lightning.engine.product import Product
from asim_lightning.engine.static_moments import cell_variance_of_bit
from asim_lightning.engine.stored_weights import StoredBits


def by_cells(product: Product, transfer: Transfer, x: Tensor, w: Tensor) -> Tensor:
    """Variance of the sums of all analog cycles over cells that differ by 100 % and share no charge.

    A cell is the same in all input cycles: ``sum over rows and weight bits of 4^bit * bit * (sum over cycles of
    sign * 2^shift * digit)^2``.

    # (batch, *outputs), float32
    """
    top = (transfer.macro.weight_bits - 1,)
    by_bits: dict[Bits, tuple[tuple[Bits, int], ...]] = {}
    for cycle in transfer.cycles:
        if cycle.analog:
            sign = -cycle.sign if cycle.weight_bits == top else cycle.sign  # of the input digit
            by_bits[cycle.weight_bits] = (*by_bits.get(cycle.weight_bits, ()), (cycle.input_bits, sign))
    # weight bits of the same input cycles need one product
    together: dict[tuple[tuple[Bits, int], ...], list[Bits]] = {}
    for bits, inputs in by_bits.items():
        together.setdefault(inputs, []).append(bits)
    x_integers, w_integers, total = x.to(torch.int32), w.to(torch.int32), x.new_zeros(())
    signed = transfer.cycles[0].input_signed
    for inputs, weights in together.items():
        parts = (sign * 2.0 ** bits[0] * digits(x_integers, bits, signed) for bits, sign in inputs)
        cells = (4.0 ** bits[0] * _cells(transfer, w_integers, bits) for bits in weights)
        total = total + _multiplied(product, sum(parts, torch.zeros_like(x)).square(), sum(cells, torch.zeros_like(w)))
    return total


def _cells(transfer: Transfer, w: Tensor, bits: Bits) -> Tensor:
    """Variance of the contents of a weight's cells, over cells that differ by 100 %."""
    each = (cell_variance_of_bit(transfer, bit) * digits(w, (bit,), False) for bit in bits)
    return sum(each, torch.zeros(w.shape, dtype=torch.float32, device=w.device))


def by_stuck_cells(product: Product, transfer: Transfer, x: Tensor, stored: StoredBits) -> tuple[Tensor, Tensor]:
    """Mean and variance over chips of the change of the sums by stuck cells. # (batch, *outputs) each, float32"""
    static, w = transfer.macro.static, stored.weights.integers
    zero, one, w_integers = static.stuck_at_0, static.stuck_at_1, w.to(torch.int32)
    # a bit of 1 is lost, or a bit of 0 is set; two's complement weights of all bits add to -1
    if stored.complements is None:
        change = -one - (zero + one) * w
    else:  # bits that are held as complements count negatively
        both = (w_integers & stored.complements.to(torch.int32)).float()
        change = -one * (1.0 + 2.0 * stored.complements) - (zero + one) * (w - 2.0 * both)
    mean = _multiplied(product, x, change)
    variance = torch.zeros_like(w)
    for bit in range(transfer.macro.weight_bits):
        is_set = digits(w_integers, (bit,), False)
        variance += 4.0**bit * (one * (1.0 - one) + is_set * (zero * (1.0 - zero) - one * (1.0 - one)))
    return mean, _multiplied(product, x.square(), variance)


def _multiplied(product: Product, x: Tensor, w: Tensor) -> Tensor:
    """The product; in float64 if the device has it, because in float32 its last bit depends on the batch."""
    if x.device.type == "mps":
        return product.multiplied(x, w)
    return product.multiplied(x.double(), w.double()).float()
