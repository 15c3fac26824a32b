"""How often each count occurs in each cycle of layers on macros, for some images, and the ADC ranges that fit them."""

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from asim_lightning.circuit import Cycle, Transfer, transfer
from asim_lightning.circuit.voltage import at_voltage_of
from asim_lightning.engine import Product, Weights
from asim_lightning.engine.adc_range import Histogram, Quality, fit_range, overall, qualities, together
from asim_lightning.engine.integer import digits
from asim_lightning.engine.reference import blocks
from asim_lightning.engine.torch_modes import exact_float32
from asim_lightning.nn.on_macro import OnMacro

_ELEMENTS = 2**22
"""Counts in memory at a time: 16 MB."""
_LONGEST_TABLE = 2**22
_SPREAD = 3.0
"""Counts an LSB, in deviations of the counts, up to which rounding errors have both signs (test_learnt_range)."""


@dataclass(eq=False)
class LayerCounts:
    """Counts of a layer.

    Attributes:
        circuit: Schedule and column of its macro.
        rows: Rows of each tile that hold weights.
        conversions: Counts that were seen in a cycle.
        histograms: Histogram of each cycle of the schedule.
    """

    circuit: Transfer
    rows: tuple[int, ...] = ()
    conversions: int = 0
    histograms: list[Histogram] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.histograms = [Histogram(*torch.zeros(2, 0, dtype=torch.float64, device="cpu"))] * len(self.circuit.cycles)

    def add(self, product: Product, x: Tensor, w: Tensor) -> None:
        """Count a product of integers. # (batch, *inputs) and (*weight), or (batch, *weight)"""
        held = Weights(w).stored(product, self.circuit.macro).weights.integers
        x, w = x.to(torch.int32), held.to(torch.int32)
        found = product.geometry(x, w)
        tiles = found.tiles(self.circuit.macro.rows)
        self.rows = tuple(found.rows_of(tile) for tile in tiles)
        of_digits = blocks(self.circuit)
        step = max(1, _ELEMENTS // max(1, max(map(len, of_digits)) * found.positions))
        for low in range(0, len(x), step):
            inputs, weights = x[low : low + step], w[low : low + step] if product.batched_weight else w
            self.conversions += len(inputs) * found.positions * len(tiles)
            for block in of_digits:
                first = block[0][1]
                x_digits = digits(inputs, first.input_bits, first.input_signed)
                w_digits = torch.stack([digits(weights, c.weight_bits, c.weight_signed) for _, c in block])
                if first.full_scale >= 2**24:
                    x_digits, w_digits = x_digits.double(), w_digits.double()
                with exact_float32(x.device.type):
                    for tile in tiles:
                        counts = product.counts(tile, x_digits, w_digits)  # (batch, cycles, *outputs)
                        for place, (number, cycle) in enumerate(block):
                            self._count(number, cycle, counts[:, place].flatten().long())

    def _count(self, number: int, cycle: Cycle, counts: Tensor) -> None:
        least = -cycle.full_scale if cycle.signed else 0
        if cycle.full_scale - least < _LONGEST_TABLE:  # faster than sorting
            table = torch.bincount(counts - least).cpu()
            places = table.nonzero().flatten()
            values, numbers = places + least, table[places]
        else:
            values, numbers = (each.cpu() for each in counts.unique(return_counts=True))
        self.histograms[number] = together(self.histograms[number], Histogram(values.double(), numbers.double()))


@torch.no_grad()
def count_histograms(
    model: nn.Module, layers: Mapping[str, OnMacro], batches: Iterable[Tensor]
) -> dict[str, LayerCounts]:
    """Counts of some layers of a network for batches of its inputs; a layer that no input reaches is absent.

    The network is in evaluation, and its layers are quantised. Counts are whole numbers, because cells are equal and
    there is no noise.
    """
    found: dict[str, LayerCounts] = {}

    def count(name: str, layer: Any, inputs: tuple[Any, ...]) -> None:
        if inputs[0].numel():  # an expert may get no row
            found.setdefault(name, LayerCounts(layer.transfer)).add(*layer.quantized_operands(*inputs))

    with ExitStack() as hooks:
        for name, layer in layers.items():
            hooks.enter_context(layer.register_forward_pre_hook(partial(count, name)))
        for batch in batches:
            model(batch)
    return found


@dataclass(frozen=True)
class AdcRange:
    """The fitted range of a layer's ADC.

    Attributes:
        name: Full name of the layer.
        adc_bits: Bits of its ADC.
        step: Counts an LSB.
        low: Count of code 0.
        before: CSNR with the previous range, dB.
        after: CSNR with this range, dB.
        clipped: Share of counts outside the range, by diagonal of cycles, least significant first.
        noise: Noise and spreads that the macro has in LSB, at the same voltage with this range, by the name of a field.
        weight_coding: Coding of the weights whose counts it fits.
        coarse: Share of the square error that is of cycles whose counts spread less than an LSB: their deviation times
            `_SPREAD` is below the step. If most of it is, the gradient of a learnt step does not follow the loss.
    """

    name: str
    adc_bits: int
    step: int
    low: int
    before: float
    after: float
    clipped: tuple[float, ...]
    noise: Mapping[str, float | str] = field(default_factory=dict)
    weight_coding: str = "plain"
    coarse: float = 0.0

    @property
    def fields(self) -> dict[str, int | float | str]:
        """The fields of a macro with this range, by the name of their axis."""
        coding = {} if self.weight_coding == "plain" else {"weight_coding": self.weight_coding}
        return {"adc_bits": self.adc_bits, "adc_step": self.step, "adc_low": self.low, **coding, **self.noise}


def fitted_range(name: str, layer: OnMacro, counts: LayerCounts) -> AdcRange:
    """The range of a layer's ADC with the least sum over cycles of 4^shift times the mean square error."""
    circuit = counts.circuit
    step, low = fit_range(circuit, counts.histograms)
    noise = at_voltage_of(circuit.macro.with_fields(adc_step=step, adc_low=low), circuit.macro, layer.signed_input)
    macro = circuit.macro.with_fields(adc_step=step, adc_low=low, **noise)
    fitted = transfer(macro, layer.signed_input, layer.rows_in_use)
    before, after = qualities(circuit, counts.histograms), qualities(fitted, counts.histograms)
    diagonals: dict[int, list[Quality]] = {}
    groups = list(dict.fromkeys(cycle.input_bits for cycle in fitted.cycles))
    for cycle, quality in zip(fitted.cycles, after, strict=True):
        if cycle.converted:
            diagonals.setdefault(cycle.weight_bits[0] + groups.index(cycle.input_bits), []).append(quality)
    clipped = tuple(sum(each.clipped for each in found) / len(found) for _, found in sorted(diagonals.items()))
    every = overall(fitted, after)
    few = [each if each.variance * _SPREAD**2 < step**2 else replace(each, mse=0.0) for each in after]
    coarse = overall(fitted, few).mse / every.mse if every.mse else 0.0
    decibels = overall(circuit, before).csnr, every.csnr
    return AdcRange(name, macro.adc_bits or 0, step, low, *decibels, clipped, noise, macro.weight_coding, coarse)
