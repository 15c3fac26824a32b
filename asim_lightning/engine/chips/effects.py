"""The static effects of a chip. Each is an object: what a file has of it, how it is drawn, and what it changes."""

import warnings
from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import Tensor

from asim_lightning.circuit import Transfer
from asim_lightning.circuit.column_check import own_converters
from asim_lightning.engine.chips.cells import ChargeGains, contents
from asim_lightning.engine.chips.chip import Chip
from asim_lightning.engine.chips.converters import Converters, in_order
from asim_lightning.engine.chips.places import Places
from asim_lightning.engine.chips.saved_chip import MACRO_FIELDS, SavedPart
from asim_lightning.engine.product import Product

_MOST = 16.0
"""Largest offset in full scales, and largest gain, that a file may have."""
_warned = False
"""Whether a warning has said that thresholds are out of order."""


class Effect(ABC):
    """What makes places of a chip differ, by one cause."""

    @abstractmethod
    def asked(self, transfer: Transfer) -> dict[str, str]:
        """Kinds of tensors that a file must have, with the setting that says so; none if no chip differs by it."""

    @abstractmethod
    def tensors(self, places: Places) -> dict[str, Tensor]:
        """Tensors by kind on a chip: drawn, or as a file has them."""


class ConverterEffect(Effect):
    """An effect on converters: what it adds to offsets or INL, or multiplies gains by.

    Its kind is also the name of its setting, and of its draw.
    """

    kind: str
    part: Literal["gain", "offset", "inl"]

    def asked(self, transfer: Transfer) -> dict[str, str]:
        """See `Effect.asked`."""
        macro = transfer.macro
        if not (macro.converters_differ_by_chip and macro.static.is_set(self.kind)):
            return {}
        return {self.kind: f"`macro.static.{self.kind}` {getattr(macro.static, self.kind)}"}

    def tensors(self, places: Places) -> dict[str, Tensor]:
        """See `Effect.tensors`; in codes, or gains, after calibration. # (converters, ...)"""
        saved = places.chip.saved if self.asked(places.transfer) else None
        return {self.kind: self.drawn(places) if saved is None else self.read(places, saved)}

    @abstractmethod
    def drawn(self, places: Places) -> Tensor:
        """What converters have by the macro's spreads."""

    def read(self, places: Places, saved: SavedPart) -> Tensor:
        """What converters have by a file."""
        most = _MOST * (1.0 if self.part == "gain" else places.macro.top_code or 1)
        values = saved.tensor(self.kind, (places.converter_count,), -most, most)
        return places.chip.scaled(values, 1.0 if self.part == "gain" else 0.0)


class Offset(ConverterEffect):
    """Offsets are normal; a trimmed one keeps what lies next to the nearest step."""

    kind, part = "offset", "offset"

    def drawn(self, places: Places) -> Tensor:
        """See `ConverterEffect.drawn`."""
        offset, step = places.macro.converter_spreads
        error = offset * places.chip.spreads(self.kind, places.converter_count)[0]
        return _left(error, step) if places.static.trims(self.kind) else error


class Gain(ConverterEffect):
    """Gains are normal; a trimmed one keeps what lies next to the nearest step of the largest code."""

    kind, part = "gain", "gain"

    def drawn(self, places: Places) -> Tensor:
        """See `ConverterEffect.drawn`."""
        error = places.static.gain_percent / 100.0 * places.chip.spreads(self.kind, places.converter_count)[0]
        step = places.macro.converter_spreads[1] / (places.macro.top_code or 1)
        return 1.0 + (_left(error, step) if places.static.trims(self.kind) else error)


class Inl(ConverterEffect):
    """The INL of a binary C-DAC of B bits whose capacitors are ``2^n + s 2^(n/2) z``, with its end points as gain and
    offset: ``inl(c) = sum over bits n of c of (cap_n * (2^B - 1) / sum(cap) - 2^n)``; or a table of all converters."""

    kind, part = "inl", "inl"

    def asked(self, transfer: Transfer) -> dict[str, str]:
        """See `Effect.asked`."""
        return {} if transfer.macro.static.inl_table is not None else super().asked(transfer)

    def drawn(self, places: Places) -> Tensor:
        """Tables by nibbles of the code, or one by code. # (converters, nibbles, 16) or (1, codes)"""
        macro, static = places.macro, places.static
        if static.inl_table is not None:
            return places.chip.scaled(torch.tensor([static.inl_table], dtype=torch.float32, device="cpu"))
        bits = int(macro.top_code or 1).bit_length() + macro.weight_parallel  # signed codes are counted from the lowest
        nominal = 2.0 ** torch.arange(bits, dtype=torch.float64, device="cpu")
        normal = places.chip.spreads(self.kind, places.converter_count, range(bits)).T.double()
        caps = nominal + static.inl_percent / 100.0 * nominal.sqrt() * normal  # (converters, bits)
        errors = caps * (nominal.sum() / caps.sum(1, keepdim=True)) - nominal
        nibbles = -(-bits // 4)
        errors = torch.nn.functional.pad(errors, (0, 4 * nibbles - bits)).view(-1, nibbles, 4)
        codes, bit = (torch.arange(count, device="cpu") for count in (16, 4))
        return (errors @ (codes[:, None] >> bit & 1).double().T).float()

    def read(self, places: Places, saved: SavedPart) -> Tensor:
        """Tables by nibbles of the code, or by code. # (converters, nibbles, 16) or (converters, codes)"""
        codes, top = places.macro.signed_codes, places.macro.top_code or 1
        by_code = self.kind in saved.tensors and saved.tensors[self.kind].dim() == 2
        shape = (codes,) if by_code else (-(-(codes - 1).bit_length() // 4), 16)
        return places.chip.scaled(saved.tensor(self.kind, (places.converter_count, *shape), -top, top))


class StuckCells(Effect):
    """Bits of the weights' two's complement that are 0 or 1 whatever is written, by the tails of one normal a cell."""

    kinds = ("stuck_at_0", "stuck_at_1")

    def asked(self, transfer: Transfer) -> dict[str, str]:
        """See `Effect.asked`."""
        static = transfer.macro.static
        return {kind: f"`macro.static.{kind}` {share:g}" for kind in self.kinds if (share := getattr(static, kind))}

    def tensors(self, places: Places) -> dict[str, Tensor]:
        """See `Effect.tensors`; int32. # (*weight), or (macros, rows, columns) that layers share"""
        chip, bits, shape = places.chip, places.cells[0], places.cells[1:]
        found = {kind: torch.zeros(shape, dtype=torch.int32, device="cpu") for kind in self.kinds}
        if chip.saved is not None:
            for kind in self.asked(places.transfer):
                found[kind] = chip.saved.tensor(kind, shape, 0, 2**bits - 1, torch.int32)
            if bool((found["stuck_at_0"] & found["stuck_at_1"]).any()):
                raise ValueError(
                    f"{chip.saved.path}: cells of layer `{chip.layer}` must not be stuck at 0 and 1 at once"
                )
            return found
        shares = torch.tensor([getattr(places.static, kind) for kind in self.kinds], dtype=torch.float64, device="cpu")
        low, high = torch.special.ndtri((chip.spread * shares).clamp_max(1.0)).tolist()
        for bit, z in enumerate(chip.normals("stuck", shape.numel(), range(bits)).view(bits, *shape)):
            found["stuck_at_0"] |= (z < low).int() << bit
            found["stuck_at_1"] |= (z > -high).int() << bit
        return found

    def of_weights(self, places: Places) -> tuple[Tensor, Tensor]:
        """The bits of each weight whose cell is stuck at 0, and at 1, int32. # (*weight) each"""
        stuck = torch.stack([*self.tensors(places).values()])
        if places.static.is_reused:
            cells, stuck = stuck.flatten(1), torch.zeros(2, *places.shape, dtype=torch.int32, device="cpu")
            for bit in range(places.macro.weight_bits):
                of_place = bit if places.macro.weight_parallel else 0
                stuck |= (cells[:, places.cell_numbers(bit)] >> of_place & 1) << bit
        return stuck[0], stuck[1]


class CellMismatch(Effect):
    """What cells hold, and the cells of a column together that no weight uses; see `cells`."""

    def asked(self, transfer: Transfer) -> dict[str, str]:
        """See `Effect.asked`."""
        static, sigma = transfer.macro.static, transfer.column.cell_sigma
        found = {"cells": f"its cells differ by {sigma:g} %"} if sigma else {}
        if static.cell_percent and static.reference != "summing" and not static.is_reused:
            found["idle_cells"] = f"`macro.static.reference` {static.reference}"
        return found

    def tensors(self, places: Places) -> dict[str, Tensor]:
        """See `Effect.tensors`."""
        found = {"cells": contents(places, range(places.cells[0]))}
        if "idle_cells" in self.asked(places.transfer):
            found["idle_cells"] = ChargeGains(places).all_idle_cells()
        return found


CONVERTERS: tuple[ConverterEffect, ...] = (Offset(), Gain(), Inl())
STUCK = StuckCells()
EFFECTS: tuple[Effect, ...] = (*CONVERTERS, STUCK, CellMismatch())


def asked_of(transfer: Transfer) -> dict[str, str]:
    """Kinds of tensors that a file of a macro's chip must have of each layer, with the setting that says so."""
    found = {kind: why for effect in EFFECTS for kind, why in effect.asked(transfer).items()}
    if any(effect.asked(transfer) for effect in CONVERTERS):
        found["place"] = "its converters differ"
    return {"macro": "as every layer", **found} if found else {}


def check_saved(chip: Chip, transfer: Transfer) -> None:
    """Refuse a chip in a file that is not of a macro's.

    Raises:
        ValueError: The file lacks what differs on chips of the macro, has more, or is of another macro.
    """
    if chip.saved is not None:
        chip.saved.check(asked_of(transfer), _macro_tensor(transfer).tolist())


def chip_tensors(chip: Chip, product: Product, transfer: Transfer, shape: torch.Size) -> dict[str, Tensor]:
    """All that differs on chips of a layer's macro, as it is on one, by kind, as `SavedChip` reads it.

    Args:
        chip: The chip.
        product: The linear map.
        transfer: The macro's schedule and column.
        shape: Shape of the weights of a sample. # (*weight)
    """
    asked, places = asked_of(transfer), Places(chip, product, transfer, shape)
    found = {"macro": _macro_tensor(transfer)} if asked else {}
    if "place" in asked:
        found["place"] = places.saved_places()
    for effect in EFFECTS:
        if effect.asked(transfer):
            found |= effect.tensors(places)
    return {kind: found[kind].contiguous() for kind in found if kind in asked}


def converters_of(chip: Chip, product: Product, transfer: Transfer, shape: torch.Size) -> Converters | None:
    """Errors of a layer's converters: those of all effects and of the column's own pattern; None if there are none.

    A warning says once if thresholds are out of order.

    Args:
        chip: The chip.
        product: The linear map.
        transfer: The macro's schedule and column.
        shape: Shape of the weights of a sample. # (*weight)
    """
    macro = transfer.macro
    if not transfer.converters_differ or macro.top_code is None:
        return None
    places = Places(chip, product, transfer, shape)
    if chip.saved is not None and macro.converters_differ_by_chip:
        chip.saved.check_equal("place", places.saved_places())
    found = Converters(places.index)
    for effect in CONVERTERS:
        if macro.static.is_set(effect.kind):
            found = found.changed(**{effect.part: effect.tensors(places)[effect.kind]})
    if transfer.column.converters_differ:
        gain, offset = own_converters(transfer.column, places.of_converters())
        found = found.changed(gain=chip.scaled(gain, 1.0), offset=chip.scaled(offset))
    if found.tables is not None and not _warned and not in_order(found.tables, macro.signed_codes):
        _warn_of_order()
    return found


def stuck_weights(chip: Chip, product: Product, transfer: Transfer, w: Tensor) -> Tensor:
    """Weights as their cells hold them where some are stuck; w itself where no cell is.

    Args:
        chip: The chip.
        product: The linear map.
        transfer: The macro's schedule and column.
        w: Integers in floating point; samples of a batch are written into the same cells in turn. # (*weight), or
            (batch, *weight)
    """
    if not STUCK.asked(transfer):
        return w
    bits = transfer.macro.weight_bits
    shape = w.shape[1:] if product.batched_weight else w.shape
    zeros, ones = (mask.to(w.device) for mask in STUCK.of_weights(Places(chip, product, transfer, shape)))
    held = w.to(torch.int32) & 2**bits - 1 & ~zeros | ones
    return torch.where(held >= 2 ** (bits - 1), held - 2**bits, held).to(w.dtype)


def stuck_counts(chip: Chip, product: Product, transfer: Transfer, shape: torch.Size) -> tuple[int, int]:
    """Number of cells of a layer's weights that are stuck at 0, and at 1; arguments are those of `converters_of`."""
    if not STUCK.asked(transfer):
        return 0, 0
    masks = STUCK.of_weights(Places(chip, product, transfer, shape))
    zeros, ones = (sum(int((mask >> bit & 1).sum()) for bit in range(16)) for mask in masks)
    return zeros, ones


def _macro_tensor(transfer: Transfer) -> Tensor:
    """What a file says of a layer's macro: `saved_chip.MACRO_FIELDS`, int64. # (fields,)"""
    macro = transfer.macro
    values = [getattr(macro if hasattr(macro, name) else macro.static, name) for name in MACRO_FIELDS]
    return torch.tensor([int(value or 0) for value in values], dtype=torch.int64, device="cpu")


def _warn_of_order() -> None:
    global _warned
    _warned = True
    warnings.warn(
        "The INL of a converter (`macro.static.inl`) is so large that its thresholds are out of order: a conversion "
        "moves from the nearest code, one code at a time, to the first code between whose thresholds the value lies; "
        "this happens above about 3 % at 8 bits; use a smaller `inl`",
        stacklevel=2,
    )


def _left(error: Tensor, step: float) -> Tensor:
    """What a calibration to a step leaves of an error."""
    return error - step * torch.round(error / step) if step else torch.zeros_like(error)
