"""The noise stream: a counter-based generator, so noise is a function of its counter and not a sequence.

Stream version 2: Philox 4x32 with 7 rounds (Salmon et al., SC 2011, table 2: Crush-resistant), uniforms
``word * 2^-32 + 2^-33`` rounded to float32, normals by Box and Muller of the word pairs (0, 1) and (2, 3), with
polynomials in float32, each operation rounded once. Version 1 drew rare errors of converters that differ otherwise
(`rare.stream`). Any change of these lines changes `STREAM_VERSION`.

Key: (seed, hash of the layer's full name + call number). Counter: (sample id, position in the sample's output,
tile * cycles + cycle // 4, trial << 16 | vote). The word is cycle mod 4: one call serves four conversions.

A row that belongs to no sample, such as a token that a router sends to an expert, has `row_digests` as its sample id,
position 0 and call 0: its noise is a function of its integers, wherever it is in a batch.

Noise of training is one normal for each output, not for each conversion: key of name + "/train", counter (sample id,
position in a quarter of the sample's outputs, 0, step), and the four words serve the four quarters.
"""

import hashlib

import torch
from torch import Tensor

STREAM_VERSION = 2
ROUNDS = 7
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
WORD = 0xFFFFFFFF
# the factors of splitmix64 (Steele et al., OOPSLA 2014) as signed numbers
DIGEST_FACTORS = (-0x61C8864680B583EB, -0x40A7B892E31B1A47, -0x6B2FB644ECCEEE15)
# log(1 + f) / f on [sqrt(1/2) - 1, sqrt(2) - 1]; sin(a) / a and cos(a) in a^2 on [0, (pi / 2)^2], lowest power first
LOG = (1.0, -0.5000036, 0.33335114, -0.24970071, 0.19898565, -0.17247014, 0.16234189, -0.10134057)
SIN = (0.9999992251, -0.16665679, 0.0083132247, -0.00018523449)
COS = (1.0, -0.49999905, 0.04166358, -0.0013853667, 2.3153174e-05)
LN2 = 0.69314718
HALF_TURN = 3.14159265 / 4294967296.0


def layer_key(name: str, call: int = 0) -> int:
    """32-bit hash of a layer's full name, plus the number of its call within one forward pass."""
    digest = hashlib.blake2s(name.encode(), digest_size=4).digest()
    return (int.from_bytes(digest, "little") + call * KEY_STEPS[0]) & WORD


def row_digests(integers: Tensor) -> Tensor:
    """A 32-bit digest of each row, the same on every device: the upper half of a sum of products with fixed numbers.

    Two different rows have the same digest with odds of 1 to 4 billion.

    Args:
        integers: Whole numbers of at most 32 bits, in any type. # (rows, ...)

    Returns:
        int64. # (rows,)
    """
    rows = integers.flatten(1).to(torch.int64)
    factors = torch.arange(1, rows.shape[1] + 1, device=rows.device)
    for factor, shift in zip(DIGEST_FACTORS, (30, 27, 31), strict=True):  # int64 products wrap
        factors = factors * factor
        factors = factors ^ (factors >> shift)
    return ((rows * factors).sum(1) >> 32) & WORD


def philox(counter: tuple[Tensor, Tensor, Tensor, Tensor], key: tuple[int, int]) -> tuple[Tensor, ...]:
    """Four random 32-bit words for each counter of four; all are int64 tensors that broadcast against each other."""
    x0, x1, x2, x3 = torch.broadcast_tensors(*counter)
    k0, k1 = key
    for _ in range(ROUNDS):
        # int64 products wrap, but their 64 bits equal those of the unsigned product
        p0, p1 = x0 * MULTIPLIERS[0], x2 * MULTIPLIERS[1]
        x0, x1, x2, x3 = (((p1 >> 32) & WORD) ^ x1 ^ k0, p1 & WORD, ((p0 >> 32) & WORD) ^ x3 ^ k1, p0 & WORD)
        k0, k1 = (k0 + KEY_STEPS[0]) & WORD, (k1 + KEY_STEPS[1]) & WORD
    return x0, x1, x2, x3


def box_muller(radius_word: Tensor, angle_word: Tensor) -> tuple[Tensor, Tensor]:
    """Two independent standard normals, float32, |z| <= 6.8, from two 32-bit words each."""
    uniform = radius_word.float() * 2.0**-32 + 2.0**-33
    bits = uniform.view(torch.int32)
    exponent = (bits - 0x3F3504F3) >> 23
    fraction = (bits - (exponent << 23)).view(torch.float32) - 1.0
    log = _polynomial(fraction, LOG) * fraction + exponent.float() * LN2
    squared_radius = log * -2.0
    # torch's float32 root on a CPU (MKL) is not correctly rounded; a float64 root, rounded to float32, is
    is_cpu = squared_radius.device.type == "cpu"
    radius = squared_radius.double().sqrt().float() if is_cpu else squared_radius.sqrt()
    signed = torch.where(angle_word > 0x7FFFFFFF, angle_word - 2**32, angle_word)
    half = signed.float() * HALF_TURN  # half of the angle stays within a quarter turn
    square = half * half
    sine, cosine = _polynomial(square, SIN) * half, _polynomial(square, COS)
    return radius * (1.0 - (sine * sine) * 2.0), radius * ((sine * cosine) * 2.0)


def normals(
    key: tuple[int, int],
    sample_ids: Tensor,
    offsets: Tensor,
    positions: int,
    cycles: range,
    word_base: int,
    last_word: int,
) -> Tensor:
    """Standard normals of consecutive cycles of one tile: the definition, on any device.

    Args:
        key: (seed, layer key).
        sample_ids: Sample of each row, int64. # (rows,)
        offsets: Position of each row's first output within its sample, int64. # (rows,)
        positions: Outputs a row.
        cycles: Consecutive cycle numbers.
        word_base: tile * cycles of the schedule.
        last_word: trial << 16 | vote.

    Returns:
        float32. # (len(cycles), rows, positions)
    """
    device = sample_ids.device
    position = offsets[:, None] + torch.arange(positions, device=device)  # (rows, positions)
    last = torch.full((), last_word, dtype=torch.int64, device=device)
    planes: list[Tensor] = []
    for group in range(cycles.start // 4, (cycles.stop - 1) // 4 + 1):
        third = torch.full((), word_base + group, dtype=torch.int64, device=device)
        w0, w1, w2, w3 = philox((sample_ids[:, None], position, third, last), key)
        four = (*box_muller(w0, w1), *box_muller(w2, w3))
        planes += [z for word, z in enumerate(four) if group * 4 + word in cycles]
    return torch.stack(planes)


def _polynomial(x: Tensor, coefficients: tuple[float, ...]) -> Tensor:
    value = x * coefficients[-1] + coefficients[-2]
    for coefficient in reversed(coefficients[:-2]):
        value = value * x + coefficient
    return value
