"""A chip: what differs from place to place and stays the same for every read, drawn as a function of place alone."""

from dataclasses import dataclass, replace
from math import prod

import torch
from torch import Tensor

from asim_lightning.circuit import MacroConfig, Transfer
from asim_lightning.engine.converters import Converters
from asim_lightning.engine.noise import layer_key
from asim_lightning.engine.noise_source import Noise, fill
from asim_lightning.engine.product import Conv2dProduct, Product


@dataclass(frozen=True)
class Chip:
    """A layer's part of a chip, which is a function of these fields alone: every tile of every layer is a macro of its
    own.

    Attributes:
        number: Number of the chip.
        layer: Full name of the layer, whose place stays the same however often it is called.
        spread: What the spreads of its static effects are multiplied by, and the shares of stuck cells.
    """

    number: int = 0
    layer: str = ""
    spread: float = 1.0

    @classmethod
    def of(cls, noise: Noise) -> "Chip":
        """The chip that a read simulates."""
        return cls(noise.chip, noise.name)

    def normals(self, effect: str, count: int, lines: range = range(1)) -> Tensor:
        """Standard normals of places, times the chip's spread, drawn on the CPU for every device. # (lines, count)"""
        zero = torch.zeros(1, dtype=torch.int64, device="cpu")
        key = (0, layer_key(f"{self.layer}/{effect}"))
        drawn = fill(key, zero, zero, count, lines, 0, self.number)[:, 0]
        return drawn if self.spread == 1.0 else drawn * self.spread


def converters_of(chip: Chip, product: Product, transfer: Transfer, shape: torch.Size) -> Converters | None:
    """Errors of a layer's converters; None where the macro's have none.

    Offset and gain are normal; a trimmed one keeps what lies beside the nearest step. The INL is that of a binary C-DAC
    of B bits whose capacitors are ``2^n + s 2^(n/2) z``, with its end points as gain and offset: ``inl(c) = sum over
    bits n of c of (cap_n * (2^B - 1) / sum(cap) - 2^n)``.

    Args:
        chip: The chip.
        product: The linear map.
        transfer: The macro's schedule and column.
        shape: Shape of the weights of a sample. # (*weight)
    """
    macro = transfer.macro
    if not macro.converters_differ or macro.top_code is None:
        return None
    index = _index(product, macro, shape)
    number, static, (offset, step) = int(index.max()) + 1, macro.static, macro.converter_spreads
    trimmed = {kind: static.trim in (kind, "both") for kind in ("offset", "gain")}
    offsets = gains = curve = tables = None
    if offset:
        offsets = _left(offset * chip.normals("offset", number)[0], step if trimmed["offset"] else None)
    if static.gain_percent:
        error = static.gain_percent / 100.0 * chip.normals("gain", number)[0]
        gains = 1.0 + _left(error, step / macro.top_code if trimmed["gain"] else None)
    if static.inl_percent:
        curve, tables = torch.arange(number, device="cpu"), _dac_tables(chip, macro, number)
    return Converters(index, gains, offsets, curve, tables)


def _left(error: Tensor, step: float | None) -> Tensor:
    """What a calibration to a step leaves of an error; None: there is no calibration."""
    if step is None:
        return error
    return error - step * torch.round(error / step) if step else torch.zeros_like(error)


def _index(product: Product, macro: MacroConfig, shape: torch.Size) -> Tensor:
    """Converter of each place: see `Converters.index`."""
    tiles = len(product.tiles(torch.empty(shape, device="meta"), macro.rows))
    if isinstance(product, Conv2dProduct):
        macros, outputs = product.groups, shape[0] // product.groups
    else:
        macros, outputs = prod(shape[:-2]), shape[-2]
    bits = 1 if macro.weight_parallel else macro.weight_bits
    shared = torch.arange(outputs * bits, device="cpu").view(outputs, bits) // macro.static.columns_per_adc
    each = int(shared.max()) + 1
    index = torch.arange(tiles * macros, device="cpu").view(tiles, macros, 1, 1) * each + shared
    # columns of a weight bit lie together in memory, which is the order in which kernels read what is looked up by it
    return index.transpose(2, 3).contiguous().transpose(2, 3)


def _dac_tables(chip: Chip, macro: MacroConfig, number: int) -> Tensor:
    """INL of C-DACs by nibbles of the code, in codes. # (converters, nibbles, 16)"""
    bits = int(macro.top_code or 1).bit_length() + macro.weight_parallel  # signed codes are counted from the lowest
    nominal = 2.0 ** torch.arange(bits, dtype=torch.float64, device="cpu")
    spread = macro.static.inl_percent / 100.0 * nominal.sqrt()
    caps = nominal + spread * chip.normals("inl", number, range(bits)).T.double()  # (converters, bits)
    errors = caps * (nominal.sum() / caps.sum(1, keepdim=True)) - nominal
    nibbles = -(-bits // 4)
    errors = torch.nn.functional.pad(errors, (0, 4 * nibbles - bits)).view(number, nibbles, 4)
    codes, places = (torch.arange(count, device="cpu") for count in (16, 4))
    digits = (codes[:, None] >> places & 1).double()  # (16, 4)
    return (errors @ digits.T).float()


def stuck_weights(chip: Chip, transfer: Transfer, w: Tensor, batched: bool) -> Tensor:
    """Weights as their cells hold them where some are stuck: bits of the two's complement at 0 or 1.

    Args:
        chip: The chip.
        transfer: The macro's schedule and column.
        w: Integers in floating point. # (*weight), or (batch, *weight)
        batched: Whether w has a batch, whose samples are written into the same cells in turn.

    Returns:
        Integers of the same type and shape; w itself where no cell is stuck.
    """
    if not transfer.macro.static.has_stuck_cells:
        return w
    bits = transfer.macro.weight_bits
    zeros, ones = (mask.to(w.device) for mask in stuck_bits(chip, transfer, w.shape[1:] if batched else w.shape))
    held = w.to(torch.int32) & 2**bits - 1 & ~zeros | ones
    return torch.where(held >= 2 ** (bits - 1), held - 2**bits, held).to(w.dtype)


def stuck_bits(chip: Chip, transfer: Transfer, shape: torch.Size) -> tuple[Tensor, Tensor]:
    """The bits of each weight whose cell is stuck at 0, and at 1, int32. # (*weight) each"""
    static, bits = transfer.macro.static, transfer.macro.weight_bits
    normal = replace(chip, spread=1.0).normals("stuck", shape.numel(), range(bits))  # (bits, cells)
    zeros, ones = (torch.zeros(shape.numel(), dtype=torch.int32, device="cpu") for _ in range(2))
    low, high = (_quantile(min(1.0, chip.spread * share)) for share in (static.stuck_at_0, static.stuck_at_1))
    for bit, z in enumerate(normal):
        zeros |= (z < low).int() << bit
        ones |= (z > -high).int() << bit
    return zeros.view(shape), ones.view(shape)


def _quantile(share: float) -> float:
    """Normal below which a share of all normals lies."""
    return float(torch.special.ndtri(torch.tensor(share, dtype=torch.float64, device="cpu")))
