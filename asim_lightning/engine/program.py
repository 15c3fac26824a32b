"""The program of a layer's product: an engine prepares it once and runs it at each call."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Any, Protocol, TypeVar
from weakref import WeakSet

import torch
from torch import Tensor

from asim_lightning.circuit import Transfer
from asim_lightning.engine import byte_passes
from asim_lightning.engine.chips.cells import Cells
from asim_lightning.engine.chips.chip import Chip
from asim_lightning.engine.chips.converters import Converters
from asim_lightning.engine.chips.effects import converters_of
from asim_lightning.engine.chips.places import Places
from asim_lightning.engine.memory import free_bytes
from asim_lightning.engine.noise_source import Noise
from asim_lightning.engine.product import Product
from asim_lightning.engine.quantizer import Quantizer
from asim_lightning.engine.stored_weights import StoredBits, Weights
from asim_lightning.engine.torch_modes import is_recorded

SomeProgram = TypeVar("SomeProgram", bound="Program")
_SHARE = 0.5
"""Largest share of the memory, free or with cells, that the cells of all programs of a process keep."""


class _OfCells(Protocol):
    @property
    def units(self) -> Tensor: ...


CellForm = TypeVar("CellForm", bound=_OfCells)
_forms_of_cells: WeakSet[_OfCells] = WeakSet()
_cells_lock = Lock()


@dataclass(eq=False)
class Program(ABC):
    """A product that is ready to run, with everything that depends only on weights, macro and chip.

    Attributes:
        weights: Integers; None if they come with each call (see `of`).
        max_elements: Most counts in memory at a time, except that a single row of the batch may exceed it. Outputs do
            not depend on it. None: the engine decides.
    """

    product: Product
    weights: Weights | None
    max_elements: int | None = field(default=None, kw_only=True)

    @property
    def given_weights(self) -> Weights:
        """The weights; a ValueError if the call did not give them."""
        if self.weights is None:
            raise ValueError("a program of two activations needs both: program.of(weights)(...)")
        return self.weights

    @property
    def w(self) -> Tensor:
        """Integers of the weights. # (*weight), or (batch, *weight) if the product says so"""
        return self.given_weights.integers

    def of(self: SomeProgram, weights: Weights) -> SomeProgram:
        """The same program with the second operand of one call, for a product of two activations."""
        return replace(self, weights=weights)

    def __call__(
        self, x: Tensor, quantizer: Quantizer, step: Tensor, bias: Tensor | None = None, noise: Noise | None = None
    ) -> Tensor:
        """``sums(q(x)) * step + bias``, in float32, or in float64 for x in float64. # (batch, *outputs)

        Args:
            x: Floating point. # (batch, *inputs)
            quantizer: Turns x into integers; raises a ValueError if it refuses x.
            step: Value of one count in the output, float32. # () or (outputs,)
            bias: # (outputs,)
            noise: Noise source, with one row for each row of the batch; None if the product is exact.
        """
        integers = self.quantized(x, quantizer)
        # the exact product of an empty batch has the right shape
        sums = self.sums(integers, noise) if x.shape[0] > 0 else self.product.integer(integers, self.w, 0)
        return scaled(self.product, sums, step, bias, x)

    def quantized(self, x: Tensor, quantizer: Quantizer) -> Tensor:
        """Integers in the form that `sums` takes fastest. # (batch, *inputs)"""
        return quantizer.integers(x)

    @abstractmethod
    def sums(self, x: Tensor, noise: Noise | None) -> Tensor:
        """Outputs in counts, as the macro computes them, in any type that holds them. # (batch, *outputs)

        Args:
            x: Integers in float32, or the result of `quantized`. # (batch, *inputs)
            noise: As for a call.
        """


@dataclass(frozen=True, eq=False)
class Conversions:
    """The conversions of a tile in a cycle.

    Attributes:
        tile: Number of the tile.
        cycle: Number of the cycle.
        count: Count of the column; a real number if cells differ. # (batch, *outputs)
        levels: Value that the ADC rounds for each vote, in codes: with noise, and with the offset and gain of its
            converter. # (votes, batch, *outputs)
        codes: A code for each vote. A cycle without ADC has its count here and in `levels`. # (votes, batch, *outputs)
        sign: -1 in columns of complements (`StoredBits.signs`), else 1; broadcasts against (batch, *outputs).
    """

    tile: int
    cycle: int
    count: Tensor
    levels: Tensor
    codes: Tensor
    sign: Tensor


class Tap(Protocol):
    """A function that sees each conversion of a product, and may replace its codes."""

    def __call__(self, made: Conversions) -> Tensor:
        """Codes that count instead of those made. # (votes, batch, *outputs)"""


@dataclass(eq=False)
class ConvertingProgram(Program):
    """Every conversion of a product on a chip.

    Attributes:
        converters: Errors of its converters; None: the macro's on this chip.
        kept: What an engine made of converters and cells, by shape of the weights; shared by all calls.
    """

    transfer: Transfer
    chip: Chip = field(default_factory=Chip)
    converters: Converters | None = field(default=None, kw_only=True)
    kept: dict[Hashable, Any] = field(default_factory=dict, kw_only=True, repr=False)

    @property
    def stored(self) -> StoredBits:
        """The bits that cells hold for the weights."""
        return self.given_weights.stored(self.product, self.transfer.macro)

    def of_chip(self, shape: torch.Size, key: Hashable, make: Callable[[Converters | None], Any]) -> Any:
        """``make`` of the errors of the converters for weights of a shape, computed at the first use."""
        if (shape, key) not in self.kept:
            found = self.converters or converters_of(self.chip, self.product, self.transfer, shape)
            # other threads see only the finished object
            self.kept[shape, key] = make(found)
        return self.kept[shape, key]

    def of_cells(self, shape: torch.Size, key: Hashable, make: Callable[[Cells], CellForm]) -> CellForm | None:
        """``make`` of the cells for weights of a shape, drawn at the first use; None if cells are equal.

        They are drawn again at each call, and are the same, if all programs together would hold more than half of the
        memory that is free without cells; they take 2 bytes for each bit of each weight.
        """
        if not self.transfer.column.cell_sigma:
            return None
        if (shape, key) in self.kept:
            return self.kept[shape, key]  # type: ignore[no-any-return]
        made = make(Cells(Places(self.chip, self.product, self.transfer, shape)))
        with _cells_lock:
            device = made.units.device
            on_device = (each.units.nbytes for each in _forms_of_cells if each.units.device == device)
            held = made.units.nbytes + sum(on_device)
            if held <= _SHARE * (held + free_bytes(device)):
                _forms_of_cells.add(made)
                self.kept[shape, key] = made
        return made


class Engine(Protocol):
    """An engine: a module that computes macros.

    Attributes:
        ALGORITHM: Its algorithm, in words for the user.
        SAME_NOISE: Whether its outputs are the reference's for the same noise source; else only their distribution is.
    """

    ALGORITHM: str
    SAME_NOISE: bool

    def prefers(self, transfer: Transfer) -> str | None:
        """Why the engine's algorithm is faster for a macro than those of all later engines, on any device; None if it
        is not, or the engine refuses the macro."""

    def refuses(self, transfer: Transfer) -> str | None:
        """Why the engine does not compute a macro; None if it does."""

    def why_not_on(self, device: torch.device) -> str | None:
        """Why the engine does not run on a device; None if it does."""

    def prepare(self, product: Product, transfer: Transfer, weights: Weights | None, chip: Chip = Chip()) -> Program:
        """The program of a product on a macro that is not refused; weights are None if they come with each call."""


EVERY_CONVERSION = "every conversion"
"""`Engine.ALGORITHM` of engines that make every conversion. The device decides among them."""


def prefers_nothing(transfer: Transfer) -> None:
    """`Engine.prefers` of engines that make every conversion: no reason."""
    return


def runs_everywhere(device: torch.device) -> None:
    """`Engine.why_not_on` of engines in plain torch: no reason."""
    return


def why_not_tabulated(transfer: Transfer, longest: int, real_counts: bool = False, driven: bool = False) -> str | None:
    """Why kernels with tables of whole codes and counts, one for all converters, do not compute a macro; None if they
    may. A table has fewer than `longest` counts. `real_counts`: the kernel takes real counts of cells that differ.
    `driven`: it has tables for each number of driven rows."""
    cycles = transfer.cycles
    if transfer.column.depends_on_driven and not driven:
        return "the column depends on the number of driven rows, and its tables only on the count"
    if transfer.column.curves > 1:
        return "its tables have one curve for all converters"
    if transfer.column.cell_sigma and not real_counts:
        return "cells differ, so counts are not whole numbers"
    if transfer.macro.adc_bits is None:
        return "an ideal converter's codes are not whole numbers"
    if any(cycle.signed or len(cycle.weight_bits) > 1 for cycle in cycles):
        return "several weight bits are converted at once"
    counts = max(cycle.full_scale for cycle in cycles)
    return f"{counts} counts in a cycle are too many to tabulate" if counts >= longest else None


def required(noise: Noise | None) -> Noise:
    """The noise source, which a macro's conversions need; a ValueError without one."""
    if noise is None:
        raise ValueError("conversions of a macro need a noise source; take the source of `noise_context`")
    return noise


def sums_of(
    engine: Engine, product: Product, transfer: Transfer, x: Tensor, w: Tensor, noise: Noise, chip: Chip | None = None
) -> Tensor:
    """Sums of an engine for one call, without keeping anything; x and w are integers, see `Program.sums`. Default: the
    chip that the read simulates."""
    chip = Chip.at(noise.chip, noise.name) if chip is None else chip
    held = Weights(w).on_chip(chip, product, transfer)
    return engine.prepare(product, transfer, held, chip).sums(x, noise)


def scaled(product: Product, sums: Tensor, step: Tensor, bias: Tensor | None, x: Tensor) -> Tensor:
    """``sums * step + bias``, in float32 (float64 for x in float64); channels_last images if x is channels_last."""
    is_contiguous = x.dim() < 4 or x.is_contiguous() or not x.is_contiguous(memory_format=torch.channels_last)
    in_one_pass = sums.device.type == "cpu" and x.dtype != torch.float64 and sums.numel() and not is_recorded()
    if in_one_pass and (step.dim() or bias is not None):
        outputs = sums.shape[1] if product.is_image else sums.shape[-1]
        steps = step if step.dim() else step.expand(outputs).contiguous()
        return byte_passes.to_floats(sums, steps, bias, product.is_image, is_contiguous)
    real = torch.float64 if x.dtype == torch.float64 else torch.float32
    y = sums.to(real) * _per_output(step, product).to(real)
    y = y if bias is None else y + _per_output(bias, product).to(real)
    return y.contiguous() if is_contiguous else y


def _per_output(values: Tensor, product: Product) -> Tensor:
    """Values for each output, in a shape that broadcasts against sums."""
    return values.view(-1, 1, 1) if product.is_image and values.dim() else values
