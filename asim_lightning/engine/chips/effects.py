"""The static effects of a chip. Each is an object: its tensor in a file, its draw by place, and where it acts."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Literal

import torch
from torch import Tensor

from asim_lightning.circuit import Transfer
from asim_lightning.circuit.column_models import own_converters
from asim_lightning.engine.chips.cells import all_idle_cells, contents
from asim_lightning.engine.chips.chip import Chip
from asim_lightning.engine.chips.converters import Converters, in_order
from asim_lightning.engine.chips.places import Places
from asim_lightning.engine.chips.saved_chip import MACRO_FIELDS
from asim_lightning.engine.product import Product

_MOST = 16.0
"""Largest offset in full scales, and largest gain, that a file may have."""


@dataclass(frozen=True)
class Effect:
    """One cause of differences between places of a chip.

    Attributes:
        kind: Name of the tensor in a file, and of the draw; also of the setting, if `why` is None.
        drawn: The effect by place, from the macro's spreads; without `bounds` also from a file.
        bounds: Shape and largest value of the tensor in a file; the smallest is its negative, or 0 of integers.
        part: The part of a converter that changes: gains are multiplied, offsets added, and `inl` is the INL. None: the
            effect changes weights or cells.
        why: The setting by which chips of a macro differ, for messages; empty if they do not.
        dtype: Type of the tensor in a file.
    """

    kind: str
    drawn: Callable[[Places], Tensor]
    bounds: Callable[[Places], tuple[tuple[int, ...], float]] | None = None
    part: Literal["gain", "offset", "inl"] | None = None
    why: Callable[[Transfer], str] | None = None
    dtype: torch.dtype = torch.float32

    def asked(self, transfer: Transfer) -> str:
        """The setting by which chips of a macro differ; empty if they do not."""
        macro, static = transfer.macro, transfer.macro.static
        if self.why is not None:
            return self.why(transfer)
        if not static.is_drawn(self.kind) or (self.part and not macro.converters_differ_by_chip):
            return ""
        return f"`macro.static.{self.kind}` {getattr(static, self.kind)}"

    def tensor(self, places: Places) -> Tensor:
        """The effect by place: drawn, or from a file."""
        saved = places.chip.saved
        if saved is None or self.bounds is None or not self.asked(places.transfer):
            return self.drawn(places)
        shape, most = self.bounds(places)
        low = -most if self.dtype.is_floating_point else 0
        found = saved.tensor(places.chip.layer, self.kind, shape, low, most, self.dtype)
        return places.chip.scaled(found, 1.0 if self.part == "gain" else 0.0)


def _offsets(places: Places) -> Tensor:
    """Normal; calibration leaves the distance to the nearest step. In codes. # (converters,)"""
    offset, step = places.macro.converter_spreads
    error = offset * places.chip.spreads("offset", places.converter_count)[0]
    return _left(error, step) if places.static.trims("offset") else error


def _gains(places: Places) -> Tensor:
    """Normal; calibration leaves the distance to the nearest step of the largest code. # (converters,)"""
    error = places.static.gain_percent / 100.0 * places.chip.spreads("gain", places.converter_count)[0]
    step = places.macro.converter_spreads[1] / (places.macro.top_code or 1)
    return 1.0 + (_left(error, step) if places.static.trims("gain") else error)


def _left(error: Tensor, step: float) -> Tensor:
    """The error that remains after a calibration to a step."""
    return error - step * torch.round(error / step) if step else torch.zeros_like(error)


def _inl(places: Places) -> Tensor:
    """INL of binary C-DACs of B bits with capacitors ``2^n + s 2^(n/2) z``; their end points count as gain and offset:
    ``inl(c) = sum over bits n of c of (cap_n * (2^B - 1) / sum(cap) - 2^n)``. Or the one table of all converters.

    In codes. # (converters, nibbles of the code, 16) or (1, codes)
    """
    macro, static = places.macro, places.static
    if static.inl_table is not None:
        return places.chip.scaled(torch.tensor([static.inl_table], dtype=torch.float32, device="cpu"))
    bits = int(macro.top_code or 1).bit_length() + macro.weight_parallel  # signed codes are counted from the lowest
    nominal = 2.0 ** torch.arange(bits, dtype=torch.float64, device="cpu")
    normal = places.chip.spreads("inl", places.converter_count, range(bits)).T.double()
    caps = nominal + static.inl_percent / 100.0 * nominal.sqrt() * normal  # (converters, bits)
    errors = caps * (nominal.sum() / caps.sum(1, keepdim=True)) - nominal
    nibbles = -(-bits // 4)
    errors = torch.nn.functional.pad(errors, (0, 4 * nibbles - bits)).view(-1, nibbles, 4)
    codes, bit = (torch.arange(count, device="cpu") for count in (16, 4))
    return (errors @ (codes[:, None] >> bit & 1).double().T).float()


def _bounds_of_inl(places: Places) -> tuple[tuple[int, ...], float]:
    codes, most, chip = places.macro.signed_codes, float(places.macro.top_code or 1), places.chip
    given = None if chip.saved is None else chip.saved.layers.get(chip.layer, {}).get("inl")
    shape = (codes,) if given is not None and given.dim() == 2 else (-(-(codes - 1).bit_length() // 4), 16)
    return (places.converter_count, *shape), most


def _stuck(kind: str, places: Places) -> Tensor:
    """The stuck bits of each place, int32, by a tail of one normal for each cell. # cells without their bits"""
    bits, shape = places.cells[0], places.cells[1:]
    share = torch.tensor(places.chip.spread * getattr(places.static, kind), dtype=torch.float64, device="cpu")
    limit = float(torch.special.ndtri(share.clamp_max(1.0)))
    sign = 1 if kind == "stuck_at_0" else -1
    return places.chip.tail_bits("stuck", shape.numel(), bits, limit, sign).view(shape)


def _why_cells(transfer: Transfer) -> str:
    sigma = transfer.column.cell_sigma
    return f"its cells differ by {sigma:g} %" if sigma else ""


def _why_idle_cells(transfer: Transfer) -> str:
    static = transfer.macro.static
    is_used = static.cell_percent and static.reference != "summing" and not static.is_reused
    return f"`macro.static.reference` {static.reference}" if is_used else ""


CONVERTERS = (
    Effect("offset", _offsets, lambda at: ((at.converter_count,), _MOST * (at.macro.top_code or 1)), "offset"),
    Effect("gain", _gains, lambda at: ((at.converter_count,), _MOST), "gain"),
    Effect("inl", _inl, _bounds_of_inl, "inl"),
)
STUCK = tuple(
    Effect(kind, partial(_stuck, kind), lambda at: (at.cells[1:], 2 ** at.cells[0] - 1), dtype=torch.int32)
    for kind in ("stuck_at_0", "stuck_at_1")
)
CELLS = (Effect("cells", contents, why=_why_cells), Effect("idle_cells", all_idle_cells, why=_why_idle_cells))
EFFECTS = (*CONVERTERS, *STUCK, *CELLS)


def check_saved(chip: Chip, transfer: Transfer) -> None:
    """Refuse a chip in a file that does not fit a macro: see `SavedChip.check`."""
    if chip.saved is None:
        return
    asked = {effect.kind: why for effect in EFFECTS if (why := effect.asked(transfer))}
    if any(effect.kind in asked for effect in CONVERTERS):
        asked["place"] = "its converters differ"
    chip.saved.check(
        chip.layer, {"macro": "as every layer", **asked} if asked else {}, _macro_tensor(transfer).tolist()
    )


def chip_tensors(chip: Chip, product: Product, transfer: Transfer, shape: torch.Size) -> dict[str, Tensor]:
    """All static effects of a layer's macro on a chip, by kind, as `SavedChip` reads them; `shape` is the shape of the
    weights, (*weight)."""
    places = Places(chip, product, transfer, shape)
    found = {effect.kind: effect.tensor(places).contiguous() for effect in EFFECTS if effect.asked(transfer)}
    if any(effect.kind in found for effect in CONVERTERS):
        found["place"] = places.saved_places()
    return {"macro": _macro_tensor(transfer), **found} if found else {}


def converters_of(chip: Chip, product: Product, transfer: Transfer, shape: torch.Size) -> Converters | None:
    """Errors of a layer's converters, by all effects and the column's own pattern; None if there are none.

    A warning says once for each number of ADC bits if thresholds are out of order.
    """
    macro = transfer.macro
    if not transfer.converters_differ or macro.top_code is None:
        return None
    places = Places(chip, product, transfer, shape)
    if chip.saved is not None and macro.converters_differ_by_chip:
        chip.saved.check_equal(chip.layer, "place", places.saved_places())
    found = Converters(places.index)
    for effect in CONVERTERS:
        if effect.part and macro.static.is_set(effect.kind):
            found = found.changed(**{effect.part: effect.tensor(places)})
    if transfer.column.converters_differ:
        gain, offset = own_converters(transfer.column, places.of_converters())
        found = found.changed(gain=chip.scaled(gain, 1.0), offset=chip.scaled(offset))
    if found.tables is not None and not in_order(found.tables, macro.signed_codes):
        _warn_of_order(macro.adc_bits)
    return found


def stuck_bits(chip: Chip, product: Product, transfer: Transfer, shape: torch.Size) -> Tensor:
    """The bits of each weight with a cell stuck at 0, and stuck at 1, int32. # (2, *weight)"""
    places = Places(chip, product, transfer, shape)
    found = torch.zeros(2, *shape, dtype=torch.int32, device="cpu")
    for held, effect in zip(found, STUCK, strict=True):
        if effect.asked(transfer) and not places.static.is_reused:
            held |= effect.tensor(places)
        elif effect.asked(transfer):
            stuck = effect.tensor(places).flatten()
            for bit in range(places.macro.weight_bits):
                of_place = bit if places.macro.weight_parallel else 0
                held |= (stuck[places.cell_numbers(bit)] >> of_place & 1) << bit
    if chip.saved is not None and bool((found[0] & found[1]).any()):
        raise ValueError(f"{chip.saved.path}: cells of layer `{chip.layer}` must not be stuck at 0 and 1 at once")
    return found


def stuck_weights(chip: Chip, product: Product, transfer: Transfer, w: Tensor) -> Tensor:
    """The weights that stuck cells leave; w itself if no cell is stuck.

    Samples of a batch use the same cells in turn. # (*weight), or (batch, *weight)
    """
    if not transfer.macro.static.has_stuck_cells:
        return w
    bits = transfer.macro.weight_bits
    zeros, ones = stuck_bits(chip, product, transfer, product.weight_shape(w)).to(w.device)
    held = w.to(torch.int32) & 2**bits - 1 & ~zeros | ones
    return torch.where(held >= 2 ** (bits - 1), held - 2**bits, held).to(w.dtype)


def _macro_tensor(transfer: Transfer) -> Tensor:
    """Values of `saved_chip.MACRO_FIELDS` of a layer's macro, int64. # (fields,)"""
    macro = transfer.macro
    values = [getattr(macro if hasattr(macro, name) else macro.static, name) for name in MACRO_FIELDS]
    return torch.tensor([int(value or 0) for value in values], dtype=torch.int64, device="cpu")


@lru_cache
def _warn_of_order(adc_bits: int | None) -> None:
    warnings.warn(
        f"The INL of a converter (`macro.static.inl`) is so large for {adc_bits} bits that its thresholds are out of "
        "order: a conversion moves from the nearest code, one code at a time, until the value lies between the "
        "thresholds of the code; this happens above about 3 % at 8 bits; a smaller `inl` or fewer `adc_bits` avoid it",
        stacklevel=2,
    )
