"""A second, slow simulator in plain numpy, written from SEMANTICS.md (section 2) and not from the package's code.

It reads a macro as plain data. Everything is one matrix product of (batch, outputs, inputs): a convolution unfolds into
patches. Where the published code is defective it follows DESIGN.md, section 5: every channel has a tile,
weight-parallel converts once a tile, digital cycles are exact unless `digital_adc`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asim_lightning.circuit import MacroConfig

Array = NDArray[np.generic]
Normal = Callable[[int, int, int], Array]
"""Standard normals of (tile, cycle, vote), in the order and number of the layer's outputs."""
F32 = np.float32


def quantise(x: Array, bits: int, signed: bool) -> tuple[Array, np.float32]:
    """Integers and scale of a tensor (2.1)."""
    x = x.astype(F32)
    scale = F32((np.abs(x) if signed else x).max() + F32(1e-7))
    top = F32(2 ** (bits - signed) - 1)
    fraction = np.clip(np.abs(x) / scale if signed else x / scale, F32(0), F32(1))
    return (np.sign(x) if signed else 1) * np.rint(fraction * top).astype(np.int64), scale


def plane(integers: Array, width: int, bit: int) -> Array:
    """One bit of two's complement integers of some width (2.2)."""
    return np.mod(integers, 2**width) // 2**bit % 2


def groups(bits: int, encoding: int, signed: bool) -> list[list[int]]:
    """Activation groups, least significant first; the sign plane is the last (2.5)."""
    magnitude = list(range(bits - signed))
    chunks = [magnitude[low : low + encoding] for low in range(0, len(magnitude), encoding)]
    return [*chunks, [bits - 1]] if signed else chunks


def linear_tiles(terms: int, rows: int) -> list[list[int]]:
    """Inputs of each tile of a linear layer (2.3)."""
    return [list(range(low, min(low + rows, terms))) for low in range(0, terms, rows)]


def conv_tiles(channels: int, elements: int, rows: int) -> list[list[int]]:
    """Patch entries of each tile: whole kernels of floor(rows / elements) channels; larger kernels are split."""
    if elements > rows:
        return [[c * elements + e for e in part] for c in range(channels) for part in linear_tiles(elements, rows)]
    fit = rows // elements
    return [[c * elements + e for c in part for e in range(elements)] for part in linear_tiles(channels, fit)]


@dataclass(frozen=True)
class Conversion:
    """One cycle: its two digits, weight in the sum, full scale and kind (2.4 to 2.6, 2.10)."""

    w_digit: Callable[[Array], Array]
    x_digit: Callable[[Array], Array]
    weight: int
    full_scale: int
    low: int
    digital: bool
    votes: int


def conversions(macro: MacroConfig, signed: bool) -> Iterator[Conversion]:
    """All conversions of a column: activation groups outside, weight bits inside, least significant first."""
    width = macro.weight_bits
    if macro.weight_parallel:
        span = (2 ** (macro.input_bits - signed) - 1) * (2 ** (width - 1) - 1)
        votes = macro.votes if macro.vote_levels else 1
        yield Conversion(lambda w: w, lambda x: x, 1, span * macro.rows, -1, False, votes)
        return
    parts = groups(macro.input_bits, macro.encoding_bits, signed)
    for j, bits in enumerate(parts):
        for i in range(width):
            negative = (i == width - 1) ^ (signed and j == len(parts) - 1)
            from_corner = width + len(parts) - 2 - (i + j)
            digital = from_corner < macro.digital_levels
            yield Conversion(
                w_digit=lambda w, i=i: plane(w, width, i),
                x_digit=lambda x, bits=bits: sum(2 ** (p - bits[0]) * plane(x, macro.input_bits, p) for p in bits),
                weight=(-1 if negative else 1) * 2 ** (i + bits[0]),
                full_scale=(2 ** len(bits) - 1) * macro.rows,
                low=0,
                digital=digital,
                votes=macro.votes if from_corner < macro.vote_levels and not digital else 1,
            )


def top_code(macro: MacroConfig) -> int | None:
    """Largest code, of one side where codes are signed."""
    return None if macro.adc_bits is None else 2 ** (macro.adc_bits - macro.weight_parallel) - 1


def in_range(macro: MacroConfig, cycle: Conversion, count: Array, normal: Array | None) -> Array:
    """Code of one conversion by an ADC of which an LSB is `adc_step` counts and code 0 is `adc_low` counts."""
    top, step = top_code(macro), macro.adc_step
    assert top is not None
    assert step is not None
    value = (count.astype(F32) - F32(macro.adc_low)) / F32(step)
    if normal is not None and not cycle.digital:
        active = np.minimum(np.abs(count) / cycle.full_scale, 1.0) * macro.rows
        swing = cycle.full_scale / step  # in codes: noise in % is of it, noise in LSB is what it says

        def codes(noise: float | str) -> float:
            return float(noise.removesuffix(" lsb")) if isinstance(noise, str) else noise / 100 * swing

        variance = codes(macro.random_noise) ** 2 + codes(macro.nonlinear_noise) ** 2 / (active + 1)
        value = value + np.sqrt(variance).astype(F32) * normal.astype(F32)
    return np.clip(np.rint(value), cycle.low * top, top)


def convert(macro: MacroConfig, cycle: Conversion, count: Array, normal: Array | None, driven: Array) -> Array:
    """Code of one conversion in float32, in the published order of operations (2.4); ideal: the count (2.10 alpha)."""
    top, left = top_code(macro), F32(1)
    count = count.astype(F32)
    if macro.column == "droop":
        left = F32(1) - F32(macro.column_args["k"]) * driven.astype(F32) / F32(macro.rows)
    if macro.column == "current":
        count = count / (F32(1) + F32(macro.column_args["alpha"]) * np.abs(count))
    if macro.adc_step is not None:
        return in_range(macro, cycle, count * left, normal)
    m = np.clip(count / F32(cycle.full_scale), F32(cycle.low), F32(1))
    codes = cycle.full_scale if top is None else top
    level = (np.clip(count, cycle.low * codes, codes) if top is None else m * F32(top)) * left
    if normal is not None and not cycle.digital:
        active = np.abs(m) * F32(macro.rows)
        variance = F32(macro.random_noise**2) + F32(macro.nonlinear_noise**2) / (active + F32(1))
        sigma = np.sqrt(variance) * F32(codes / 100) if macro.nonlinear_noise else F32(codes * macro.random_noise / 100)
        level = level + sigma * normal.astype(F32)
    return np.clip(level if top is None else np.rint(level), cycle.low * codes, codes)


def vote(codes: list[Array], rule: str) -> Array:
    """One code of several: the most frequent (ties: the smallest), the middle one, or the mean."""
    stacked = np.stack(codes)
    if rule == "mean":
        return stacked.astype(np.float64).sum(0) / len(codes)
    if rule == "median":
        return np.sort(stacked, axis=0)[len(codes) // 2]
    lowest = int(stacked.min())
    return np.apply_along_axis(lambda v: np.bincount(v - lowest).argmax() + lowest, 0, stacked.astype(np.int64))


def held_bits(macro: MacroConfig, bits: Array) -> tuple[Array, Array]:
    """Bits that the cells of a tile's columns hold, and which columns hold complements. # (..., n, rows), (..., n)"""
    is_complement = (2 * bits.sum(-1) > bits.shape[-1]) & (macro.weight_coding == "flip")
    return np.where(is_complement[..., None], 1 - bits, bits), is_complement


def product(
    macro: MacroConfig, signed: bool, x: Array, w: Array, tiles: list[list[int]], normal: Normal | None = None
) -> Array:
    """x (batch, p, k) times w (batch or 1, n, k) on a macro, in counts, float64. # (batch, p, n)"""
    codes = np.zeros((len(x), x.shape[1], w.shape[1]))
    exact = np.zeros_like(codes)
    top = top_code(macro)
    for t, tile in enumerate(tiles):
        for number, cycle in enumerate(conversions(macro, signed)):
            digit, held = cycle.x_digit(x[..., tile]), cycle.w_digit(w[..., tile])
            held, is_complement = held_bits(macro, held)
            weight = cycle.weight * np.where(is_complement, -1, 1)[:, None]
            exact += cycle.weight * is_complement[:, None] * digit.sum(-1, keepdims=True)
            count, driven = digit @ held.swapaxes(-1, -2), np.zeros((*digit.shape[:-1], 1))
            for row in range(digit.shape[-1]):
                driven[..., 0] += digit[..., row] != 0
            if cycle.digital and not macro.digital_adc:
                exact += weight * count
                continue
            draws = [None if normal is None else normal(t, number, v).reshape(count.shape) for v in range(cycle.votes)]
            reads = [convert(macro, cycle, count, z, driven) for z in draws]
            code = reads[0] if cycle.votes == 1 else vote(reads, macro.vote)
            if macro.adc_step is not None:
                exact += weight * (code.astype(np.float64) * macro.adc_step + macro.adc_low)
                continue
            codes += code.astype(np.float64) * (weight * (1 if top is None else cycle.full_scale))
    return codes / (top or 1) + exact


def linear(macro: MacroConfig, signed: bool, x: Array, w: Array, normal: Normal | None = None) -> Array:
    """x (batch, ..., k) times w (n, k) on a macro, in counts. # (batch, ..., n)"""
    flat = x.reshape(len(x), -1, x.shape[-1])
    sums = product(macro, signed, flat, w[None], linear_tiles(w.shape[-1], macro.rows), normal)
    return sums.reshape(*x.shape[:-1], len(w))


def matmul(macro: MacroConfig, signed: bool, x: Array, w: Array, normal: Normal | None = None) -> Array:
    """x (batch, m, k) times w (batch, n, k) on macros, in counts. # (batch, m, n)"""
    return product(macro, signed, x, w, linear_tiles(w.shape[-1], macro.rows), normal)


def patches(
    x: Array, kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int], dilation: tuple[int, int]
) -> tuple[Array, tuple[int, int]]:
    """Patches of x (batch, c, h, w) and the size of the output. # (batch, out height * out width, c * kernel)"""
    x = np.pad(x, [(0, 0), (0, 0), (padding[0],) * 2, (padding[1],) * 2])
    out = [(x.shape[2 + a] - dilation[a] * (kernel[a] - 1) - 1) // stride[a] + 1 for a in (0, 1)]
    columns = [
        x[:, :, a * dilation[0] :: stride[0], b * dilation[1] :: stride[1]][:, :, : out[0], : out[1]]
        for a in range(kernel[0])
        for b in range(kernel[1])
    ]
    stacked = np.stack(columns, axis=2)  # (batch, c, kernel, out height, out width)
    return stacked.reshape(len(x), -1, out[0] * out[1]).swapaxes(1, 2), (out[0], out[1])


def conv2d(
    macro: MacroConfig,
    signed: bool,
    x: Array,
    w: Array,
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (0, 0),
    dilation: tuple[int, int] = (1, 1),
    groups: int = 1,
    normal: Normal | None = None,
) -> Array:
    """x (batch, groups * c, h, w) convolved with w (n, c, kh, kw) on a macro, in counts. # (batch, n, out h, out w)"""
    (outputs, channels), kernel = w.shape[:2], (w.shape[2], w.shape[3])
    tiles = conv_tiles(channels, kernel[0] * kernel[1], macro.rows)
    parts = []
    for g, weights in enumerate(w.reshape(groups, outputs // groups, -1)):
        flat, out = patches(x[:, g * channels : (g + 1) * channels], kernel, stride, padding, dilation)

        def of_group(t: int, number: int, v: int, g: int = g, places: int = flat.shape[1]) -> Array:
            assert normal is not None
            every = normal(t, number, v).reshape(len(x), groups, outputs // groups, places)
            return np.ascontiguousarray(every[:, g].swapaxes(1, 2))

        parts.append(product(macro, signed, flat, weights[None], tiles, None if normal is None else of_group))
    return np.concatenate(parts, axis=2).swapaxes(1, 2).reshape(len(x), outputs, *out)
