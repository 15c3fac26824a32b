"""The integers of a weight, and the bits that a macro's cells hold for them."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

from asim_lightning.circuit import Cycle, MacroConfig, Transfer
from asim_lightning.engine.chips.chip import Chip
from asim_lightning.engine.chips.effects import stuck_weights
from asim_lightning.engine.product import Product
from asim_lightning.quant import levels

Form = TypeVar("Form")
_MOST_FORMS = 8
"""Most forms in memory: a macro needs up to three, but a sweep over rows needs new ones for each point."""


class Weights:
    """Integers, which must not change, and the forms that engines made of them, such as packed bit planes. A form
    depends on bits, rows and geometry, but not on noise.

    Args:
        integers: float32. # (*weight), or (batch, *weight)
        stored: The bits that cells hold, if stuck cells changed them; None: those of `stored_bits`.
    """

    def __init__(self, integers: Tensor, stored: "StoredBits | None" = None) -> None:
        self.integers, self._stored = integers, stored
        self._forms: dict[Hashable, object] = {}

    def form(self, key: Hashable, make: Callable[[Tensor], Form]) -> Form:
        """The form of a key, made at its first use.

        Args:
            key: Everything besides the integers that the form depends on.
        """
        forms = self._forms
        if key in forms:
            return forms[key]  # type: ignore[return-value]
        with torch.inference_mode(False), torch.no_grad():
            made = make(self.integers)
        # a new dictionary, because other threads may read the old one
        self._forms = {**dict(list(forms.items())[-_MOST_FORMS + 1 :]), key: made}
        return made

    def stored(self, product: Product, macro: MacroConfig) -> "StoredBits":
        """The bits that the cells of a macro hold for these integers, coded at the first use."""
        if self._stored is not None:
            return self._stored
        if macro.weight_coding == "plain":
            return StoredBits(self)
        key = "flip", product, macro.rows, macro.weight_bits
        return self.form(key, lambda w: stored_bits(product, macro, w))

    def cpu(self) -> "Weights":
        """The weights on the CPU."""
        return Weights(self.integers.cpu(), None if self._stored is None else self._stored.cpu())

    def on_chip(self, chip: Chip, product: Product, circuit: Transfer) -> "Weights":
        """The weights that stuck cells leave; these weights themselves if no cell is stuck."""
        if not circuit.macro.static.has_stuck_cells:
            return self
        stored = self.stored(product, circuit.macro)
        left = stuck_weights(chip, product, circuit, stored.weights.integers)
        if stored.complements is None:
            return Weights(left)
        return Weights(_exclusive_or(left, stored.complements), replace(stored, weights=Weights(left)))


@dataclass(frozen=True, eq=False)
class StoredBits:
    """The bits that cells hold.

    With `weight_coding` flip, a column of a tile with ones in more than half of its rows in use holds the complement of
    each bit in these rows: ``count = sum of the inputs - count of the complements``. Codes of such a column count
    negatively, and the digital side adds the sum of the inputs.

    Attributes:
        weights: Integers with these bits in two's complement.
        flips: Bit b says whether the column of weight bit b holds complements, int32; None: no column does.
            # (*columns, tiles), or (batch, *columns, tiles)
        complements: Integers with a 1 in each bit that is held as its complement, in two's complement, float32.
            # (*weight), or (batch, *weight)
    """

    weights: Weights
    flips: Tensor | None = None
    complements: Tensor | None = None

    def signs(self, bits: int | Sequence[int]) -> Tensor:
        """Factor of the codes of some weight bits, float32: -1 in a column of complements, else 1.

        # (..., *columns, tiles), or (..., *columns, tiles, bits)
        """
        if self.flips is None:
            return torch.ones((), dtype=torch.float32, device=self.weights.integers.device)
        flips, chosen = self.flips, torch.as_tensor(bits, dtype=torch.int32, device=self.flips.device)
        return 1.0 - 2.0 * ((flips[..., None] if chosen.dim() else flips) >> chosen & 1).float()

    def sign_of_outputs(self, product: Product, cycle: Cycle, tile: int) -> Tensor:
        """`signs` of the columns of a tile in a cycle, in a shape that broadcasts against (batch, *outputs)."""
        signs = self.signs(cycle.weight_bits[0])
        return signs if self.flips is None else self.of_outputs(product, signs[..., tile])

    def cpu(self) -> "StoredBits":
        """The same bits on the CPU."""
        flips, complements = (None if each is None else each.cpu() for each in (self.flips, self.complements))
        return StoredBits(self.weights.cpu(), flips, complements)

    def of_tiles(self, chosen: Sequence[int]) -> "StoredBits":
        """The same bits, with the columns of some tiles."""
        return self if self.flips is None else replace(self, flips=self.flips[..., list(chosen)])

    def parts(self, part: slice) -> "StoredBits":
        """The bits of some samples of a batch of weights."""
        found = StoredBits(Weights(self.weights.integers[part]))
        if self.flips is None or self.complements is None:
            return found
        return replace(found, flips=self.flips[part], complements=self.complements[part])

    def of_outputs(self, product: Product, values: Tensor) -> Tensor:
        """Values of the columns of a tile, in a shape that broadcasts against (batch, *outputs).

        # (*columns) or (batch, *columns)
        """
        if product.batched_weight:
            return values.unsqueeze(-2)
        return product.geometry(None, self.weights.integers).per_output(values)

    def input_sums(self, product: Product, circuit: Transfer, x: Tensor, real: torch.dtype) -> Tensor:
        """What the digital side adds for columns of complements, in counts: the sums of their inputs.

        Args:
            x: Integers. # (batch, *inputs)
            real: Type of the result.

        Returns:
            # (batch, *outputs), or () without complements
        """
        if self.complements is None:
            return torch.zeros((), dtype=real, device=x.device)
        limit = levels(circuit.macro.input_bits, circuit.signed_input) * 2 ** (circuit.macro.weight_bits - 1)
        return product.integer(x.to(torch.float32), self.complements, limit).to(real)

    def offset(self, product: Product, circuit: Transfer, real: torch.dtype) -> Tensor | int:
        """Counts that codes of 0 add to an output, over all tiles. # broadcasts against (batch, *outputs)"""
        if not circuit.offset:
            return 0
        if self.flips is None:
            return circuit.offset * len(product.geometry(None, self.weights.integers).tiles(circuit.macro.rows))
        bits = range(circuit.macro.weight_bits)
        lows = [self.signs(bit).sum(-1).to(real) * circuit.offset_of(bit) for bit in bits]  # (*columns) each
        return self.of_outputs(product, torch.stack(lows).sum(0))


def stored_bits(product: Product, macro: MacroConfig, w: Tensor) -> StoredBits:
    """The bits that the cells of a macro with `weight_coding` flip hold for integers.

    # (*weight), or (batch, *weight)
    """
    found = product.geometry(None, w)
    tiles, lead = found.tiles(macro.rows), w.shape[:1] if product.batched_weight else torch.Size()
    terms = w.to(torch.int32).reshape(*lead, *found.columns, found.channels, found.elements)
    flips = torch.zeros(*terms.shape[:-2], len(tiles), dtype=torch.int32, device=w.device)
    complements = torch.zeros_like(terms)
    for number, tile in enumerate(tiles):
        held = terms[..., tile.channels, tile.kernel].flatten(-2)  # (..., rows)
        for bit in range(macro.weight_bits):
            many = 2 * (held >> bit & 1).sum(-1) > held.shape[-1]
            # the top bit is the sign: complements are in two's complement, like the weights
            flips[..., number] |= many.int() * (-(2**bit) if bit == macro.weight_bits - 1 else 2**bit)
        complements[..., tile.channels, tile.kernel] = flips[..., number, None, None]
    held_as = complements.reshape(w.shape).to(torch.float32)
    return StoredBits(Weights(_exclusive_or(w, held_as)), flips, held_as)


def _exclusive_or(w: Tensor, complements: Tensor) -> Tensor:
    return (w.to(torch.int32) ^ complements.to(torch.int32)).to(torch.float32)
