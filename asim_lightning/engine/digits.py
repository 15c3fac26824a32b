"""Digits: the bits of integers that a cycle uses, as small numbers in floating point."""

import torch
from torch import Tensor


def digits(integers: Tensor, bits: tuple[int, ...], signed: bool) -> Tensor:
    """Value of some consecutive two's complement bits: ``sum over p in bits of 2^(p - bits[0]) * bit_p``.

    Args:
        integers: Whole numbers, int32.
        bits: Bit numbers, ascending and consecutive.
        signed: Whether the last of them is the sign bit and counts negatively.

    Returns:
        Whole numbers in float32, of the same shape.
    """
    shifted = integers >> bits[0]
    if not signed:
        shifted = shifted & (2 ** len(bits) - 1)
    return shifted.to(torch.float32)
