"""A chip: what differs from place to place and stays the same for every read, drawn as a function of place alone."""

import warnings
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from asim_lightning.circuit import MacroConfig, Transfer
from asim_lightning.engine.converters import Converters, in_order
from asim_lightning.engine.noise import layer_key
from asim_lightning.engine.noise_source import Noise, fill
from asim_lightning.engine.placement import arrays_of, macro_numbers, physical_cells, physical_columns
from asim_lightning.engine.product import Product
from asim_lightning.engine.saved_chip import MACRO_FIELDS, SavedChip, SavedPart

_MOST = 16.0
"""Largest offset in full scales, gain, and content of a cell that a file may have."""
_warned = False
"""Whether a warning has said that thresholds are out of order."""


@dataclass(frozen=True)
class Chip:
    """A layer's part of a chip, which is a function of these fields alone.

    Every tile of every layer is a macro of its own (placement unrolled), or the tiles of all layers are given in turn
    to the macros that they share (reuse; see `placement`).

    Attributes:
        number: Number of the chip.
        layer: Full name of the layer, whose place stays the same however often it is called; or of the macros that it
            shares.
        spread: What the spreads of its static effects are multiplied by, and the shares of stuck cells (of a chip in a
            file its deviations from an ideal one; stuck cells stay).
        saved: What a file has of the layer, in place of a draw.
        first_tile: How many tiles were given before the layer's to the macros that it shares.
        product: The linear map, where the layer shares macros.
    """

    number: int = 0
    layer: str = ""
    spread: float = 1.0
    saved: SavedPart | None = None
    first_tile: int = 0
    product: Product | None = None

    @classmethod
    def of(cls, noise: Noise) -> "Chip":
        """The chip that a read simulates."""
        return cls.at(noise.chip, noise.name)

    @classmethod
    def at(cls, chip: int | SavedChip, layer: str) -> "Chip":
        """The part of a chip, by number or from a file, that a layer has."""
        if isinstance(chip, SavedChip):
            return cls(0, layer, saved=chip.part(layer))
        return cls(chip, layer)

    @property
    def required_product(self) -> Product:
        """The linear map.

        Raises:
            ValueError: It is not known.
        """
        if self.product is None:
            raise ValueError(f"the chip of `{self.layer}` needs the product whose tiles share its macros, got none")
        return self.product

    def check(self, transfer: Transfer) -> None:
        """Refuse a chip in a file that is not of a macro's.

        Raises:
            ValueError: The file lacks what differs on chips of the macro, has more, or is of another macro.
        """
        if self.saved is not None:
            self.saved.check(kinds_of(transfer), macro_tensor(transfer).tolist())

    def normals(self, effect: str, count: int, lines: range = range(1)) -> Tensor:
        """Standard normals of places, times the chip's spread, drawn on the CPU for every device. # (lines, count)"""
        zero = torch.zeros(1, dtype=torch.int64, device="cpu")
        key = (0, layer_key(f"{self.layer}/{effect}"))
        drawn = fill(key, zero, zero, count, lines, 0, self.number)[:, 0]
        return drawn if self.spread == 1.0 else drawn * self.spread


def kinds_of(transfer: Transfer) -> dict[str, str]:
    """What differs on chips of a macro, by `saved_chip.KINDS`, with the setting that says so."""
    macro, static, found = transfer.macro, transfer.macro.static, dict[str, str]()
    if macro.converters_differ_by_chip and macro.top_code is not None:
        own_inl = static.inl_table is None and static.inl_percent
        spreads = {"offset": macro.converter_spreads[0], "gain": static.gain_percent, "inl": own_inl}
        found = {kind: f"`macro.static.{kind}` {getattr(static, kind)}" for kind, spread in spreads.items() if spread}
        found = {"place": "its converters differ", **found}
    for kind in ("stuck_at_0", "stuck_at_1"):
        if share := getattr(static, kind):
            found[kind] = f"`macro.static.{kind}` {share:g}"
    if sigma := transfer.column.cell_sigma:
        found["cells"] = f"its cells differ by {sigma:g} %"
        if static.cell_percent and static.reference != "summing" and not static.is_reused:
            found["idle_cells"] = f"`macro.static.reference` {static.reference}"
    return {"macro": "as every layer", **found} if found else {}


def macro_tensor(transfer: Transfer) -> Tensor:
    """What a file says of a layer's macro: `saved_chip.MACRO_FIELDS`, int64. # (fields,)"""
    macro = transfer.macro
    values = [getattr(macro if hasattr(macro, name) else macro.static, name) for name in MACRO_FIELDS]
    return torch.tensor([int(value or 0) for value in values], dtype=torch.int64, device="cpu")


def converters_of(chip: Chip, product: Product, transfer: Transfer, shape: torch.Size) -> Converters | None:
    """Errors of a layer's converters; None where the macro's have none.

    Offset and gain are normal; a trimmed one keeps what lies beside the nearest step. The INL is that of a binary C-DAC
    of B bits whose capacitors are ``2^n + s 2^(n/2) z``, with its end points as gain and offset: ``inl(c) = sum over
    bits n of c of (cap_n * (2^B - 1) / sum(cap) - 2^n)``. A warning says once if thresholds are out of order.

    Args:
        chip: The chip.
        product: The linear map.
        transfer: The macro's schedule and column.
        shape: Shape of the weights of a sample. # (*weight)
    """
    macro = transfer.macro
    if not macro.converters_differ or macro.top_code is None:
        return None
    index = _index(product, macro, shape, chip.first_tile)
    if chip.saved is not None and macro.converters_differ_by_chip:
        found = _saved_converters(chip, chip.saved, transfer, index)
    else:
        found = _drawn_converters(chip, macro, index)
    if found.tables is not None and not _warned and not in_order(found.tables, _signed_codes(macro)):
        _warn_of_order()
    return found


def _warn_of_order() -> None:
    global _warned
    _warned = True
    warnings.warn(
        "The INL of a converter (`macro.static.inl`) is so large that its thresholds are out of order: a conversion "
        "moves from the nearest code, one code at a time, to the first code between whose thresholds the value lies; "
        "this happens above about 3 % at 8 bits; use a smaller `inl`",
        stacklevel=2,
    )


def _drawn_converters(chip: Chip, macro: MacroConfig, index: Tensor) -> Converters:
    """Errors of converters by the macro's spreads."""
    number, static, (offset, step) = _converter_count(macro, index), macro.static, macro.converter_spreads
    trimmed = {kind: static.trim in (kind, "both") for kind in ("offset", "gain")}
    offsets = gains = curve = tables = None
    if offset:
        offsets = _left(offset * chip.normals("offset", number)[0], step if trimmed["offset"] else None)
    if static.gain_percent:
        error = static.gain_percent / 100.0 * chip.normals("gain", number)[0]
        gains = 1.0 + _left(error, step / (macro.top_code or 1) if trimmed["gain"] else None)
    if static.inl_table is not None:
        curve, tables = _same_table(chip, macro, number)
    elif static.inl_percent:
        curve, tables = torch.arange(number, device="cpu"), _dac_tables(chip, macro, number)
    return Converters(index, gains, offsets, curve, tables)


def _saved_converters(chip: Chip, saved: SavedPart, transfer: Transfer, index: Tensor) -> Converters:
    """Errors of converters as a file has them."""
    kinds, top = kinds_of(transfer), float(transfer.macro.top_code or 1)
    places = saved_places(transfer.macro, index)
    saved.check_equal("place", places)
    number = len(places)
    offsets = gains = curve = tables = None
    if "offset" in kinds:
        offsets = chip.spread * saved.tensor("offset", (number,), -_MOST * top, _MOST * top)
    if "gain" in kinds:
        gains = 1.0 + chip.spread * (saved.tensor("gain", (number,), -_MOST, _MOST) - 1.0)
        gains = saved.tensors["gain"] if chip.spread == 1.0 else gains
    if "inl" in kinds:
        codes = _signed_codes(transfer.macro)
        nibbles = -(-(codes - 1).bit_length() // 4)
        by_code = saved.tensors["inl"].dim() == 2
        shape = (number, codes) if by_code else (number, nibbles, 16)
        curve = torch.arange(number, device="cpu")
        tables = chip.spread * saved.tensor("inl", shape, -top, top)
    elif transfer.macro.static.inl_table is not None:
        curve, tables = _same_table(chip, transfer.macro, number)
    return Converters(index, gains, offsets, curve, tables)


def _same_table(chip: Chip, macro: MacroConfig, number: int) -> tuple[Tensor, Tensor]:
    """Number of each converter's table of INL, and the one table, in codes. # (converters,) and (1, codes)"""
    table = torch.tensor([macro.static.inl_table or ()], dtype=torch.float32, device="cpu")
    return torch.zeros(number, dtype=torch.int64, device="cpu"), chip.spread * table


def _signed_codes(macro: MacroConfig) -> int:
    """Codes of a converter, those below 0 of a weight-parallel one too."""
    return (2 if macro.weight_parallel else 1) * (macro.top_code or 1) + 1


def saved_places(macro: MacroConfig, index: Tensor) -> Tensor:
    """`places_of`, or macro and first column of each converter of the macros that layers share.

    # (converters, 4), or (converters, 2)
    """
    if not macro.static.is_reused:
        return places_of(index)
    numbers, each = torch.arange(_converter_count(macro, index), device="cpu"), _converters_of_macro(macro)
    return torch.stack([numbers // each, numbers % each * macro.static.columns_per_adc], 1)


def places_of(index: Tensor) -> Tensor:
    """Tile, group or head, output and weight bit of the first column of each converter, int64. # (converters, 4)"""
    columns, count = index.numel(), int(index.max()) + 1
    every = torch.arange(columns, device="cpu")
    first = torch.full((count,), columns, device="cpu").scatter_reduce(0, index.flatten(), every, "amin")
    return torch.stack(torch.unravel_index(first, index.shape), 1)


def _left(error: Tensor, step: float | None) -> Tensor:
    """What a calibration to a step leaves of an error; None: there is no calibration."""
    if step is None:
        return error
    return error - step * torch.round(error / step) if step else torch.zeros_like(error)


def _index(product: Product, macro: MacroConfig, shape: torch.Size, first_tile: int) -> Tensor:
    """Converter of each place: see `Converters.index`."""
    groups, outputs = arrays_of(product, shape)
    if macro.static.is_reused:
        shared = physical_columns(macro, outputs) // macro.static.columns_per_adc
        each, numbers = _converters_of_macro(macro), macro_numbers(product, macro, shape, first_tile)
    else:
        bits = 1 if macro.weight_parallel else macro.weight_bits
        shared = torch.arange(outputs * bits, device="cpu").view(outputs, bits) // macro.static.columns_per_adc
        tiles, each = len(product.tiles(torch.empty(shape, device="meta"), macro.rows)), int(shared.max()) + 1
        numbers = torch.arange(tiles * groups, device="cpu").view(tiles, groups)
    return numbers[:, :, None, None] * each + shared


def _converters_of_macro(macro: MacroConfig) -> int:
    """Converters of one of the macros that layers share."""
    return -(-(macro.static.columns or 1) // macro.static.columns_per_adc)


def _converter_count(macro: MacroConfig, index: Tensor) -> int:
    """Converters of the layer, or of the macros that it shares."""
    if macro.static.is_reused:
        return (macro.static.macros or 1) * _converters_of_macro(macro)
    return int(index.max()) + 1


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
    shape = w.shape[1:] if batched else w.shape
    zeros, ones = (mask.to(w.device) for mask in held_stuck_bits(chip, transfer, shape))
    held = w.to(torch.int32) & 2**bits - 1 & ~zeros | ones
    return torch.where(held >= 2 ** (bits - 1), held - 2**bits, held).to(w.dtype)


def held_stuck_bits(chip: Chip, transfer: Transfer, shape: torch.Size) -> tuple[Tensor, Tensor]:
    """The bits of each weight whose cell is stuck at 0, and at 1, int32. # (*weight) each"""
    found, macro = stuck_bits(chip, transfer, shape), transfer.macro
    if not macro.static.is_reused:
        return found
    zeros, ones = (torch.zeros(shape, dtype=torch.int32, device="cpu") for _ in range(2))
    for bit in range(macro.weight_bits):
        cells = physical_cells(chip.required_product, macro, shape, chip.first_tile, bit)
        for held, stuck in zip((zeros, ones), found, strict=True):
            held |= (stuck.flatten()[cells] >> (bit if macro.weight_parallel else 0) & 1) << bit
    return zeros, ones


def physical_shape(macro: MacroConfig) -> tuple[int, torch.Size]:
    """Bits that a cell's place holds, and places of the macros that layers share, (macros, rows, columns)."""
    places = torch.Size((macro.static.macros or 1, macro.rows, macro.static.columns or 1))
    return macro.weight_bits if macro.weight_parallel else 1, places


def stuck_bits(chip: Chip, transfer: Transfer, shape: torch.Size) -> tuple[Tensor, Tensor]:
    """The bits that are stuck at 0, and at 1, int32, of each weight; or of each place of the macros that layers share.

    # (*weight), or (macros, rows, columns), each
    """
    static, bits = transfer.macro.static, transfer.macro.weight_bits
    if static.is_reused:
        bits, shape = physical_shape(transfer.macro)
    if chip.saved is not None:
        kinds, most = kinds_of(transfer), 2**bits - 1
        zeros, ones = (
            chip.saved.tensor(kind, shape, 0, most)
            if kind in kinds
            else torch.zeros(shape, dtype=torch.int32, device="cpu")
            for kind in ("stuck_at_0", "stuck_at_1")
        )
        if bool((zeros & ones).any()):
            raise ValueError(f"{chip.saved.path}: cells of layer `{chip.layer}` must not be stuck at 0 and 1 at once")
        return zeros, ones
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
