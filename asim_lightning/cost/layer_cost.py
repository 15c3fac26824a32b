"""The cost of a layer for one image: its operations and its energy."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from asim_lightning.circuit import Cycle, MacroConfig, Transfer
from asim_lightning.cost.energy_model import ActiveCells, ConversionEnergy, EnergyModel, Part, converter_bits, part
from asim_lightning.cost.operations import Operations, input_digits, operations
from asim_lightning.cost.product_shape import ProductShape, Traffic
from asim_lightning.cost.technology import Technology


@dataclass(frozen=True)
class Energy(ConversionEnergy):
    """Energy by part, fJ."""

    shift_add: float = part("shift-add", "sums over weight bits, accumulators, complements", "full_adder", "flip_flop")
    digital: float = part("digital", "digital cycles and layers", "digital_mac")
    """Digital cycles, and layers on no macro."""
    writes: float = part("writes", "written cells", "cell_write")

    def __add__(self, other: "Energy") -> "Energy":
        return Energy(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def times(self, number: int) -> "Energy":
        """Energy of `number` of them."""
        return Energy(*(number * value for value in self.parts.values()))


PARTS: dict[str, Part] = {each.name: each.metadata["part"] for each in fields(Energy)}
"""The parts of an energy, by name."""


@dataclass(frozen=True)
class LayerCost:
    """Cost of a layer for one image."""

    name: str
    kind: str
    macro: MacroConfig | None
    """Its macro; None if it is digital."""
    bits: tuple[int, int]
    """Bits of weights and inputs."""
    why_digital: str
    """Why it is on no macro; empty if it is on one."""
    done: Operations
    energy: Energy
    all_digital: float
    """Energy of its multiplications in a digital macro of the same technology, fJ."""
    complements: float = 0.0
    """Energy of its complement sums (`weight_coding` flip), fJ; ``energy.shift_add`` contains it."""
    traffic: Traffic | None = None
    """Its values that move; None if they are not known."""
    shapes: tuple[ProductShape, ...] = ()
    """Its products, if it is converted."""

    def seconds_a_cycle(self, technology: Technology) -> float:
        """Time of a conversion, s."""
        return technology.seconds(None if self.macro is None else self.macro.adc_bits)


def tops_per_watt(macs: int, femtojoules: float) -> float | None:
    """Operations a picojoule, two a multiplication; None without energy."""
    return 2e3 * macs / femtojoules if femtojoules else None


def output_energy(circuit: Transfer, model: EnergyModel, active: Sequence[ActiveCells] | None = None) -> Energy:
    """Energy of all cycles of one output on one tile, and of its shift-adds."""
    energy = Energy()
    on: Sequence[ActiveCells | None] = [None] * len(circuit.cycles) if active is None else active
    for cycle, cells in zip(circuit.cycles, on, strict=True):
        if cycle.converted:
            one = model.conversion(circuit.macro, cycle, cells)
            energy += Energy(**one.parts).times(cycle.votes)
        else:
            bits = len(cycle.weight_bits), len(cycle.input_bits)
            energy += Energy(digital=model.digital_cycle(circuit.macro.rows, *bits))
    for digit in input_digits(circuit.cycles):
        energy += Energy(shift_add=_shift_add_energy(model, circuit.macro, digit))
    return energy


def macro_cost(
    name: str, kind: str, circuit: Transfer, shapes: Sequence[ProductShape], model: EnergyModel, output: Energy
) -> LayerCost:
    """Cost of a layer on a macro."""
    macro = circuit.macro
    calls = [operations(shape, circuit) for shape in shapes]
    # calls add time and energy, and share the arrays of the largest call
    own = ("cells", "all_cells", "converters", "complement_bits")
    held = {each: max(getattr(call, each) for call in calls) for each in own}
    done = replace(sum(calls, Operations()), **held)
    outputs = sum(shape.outputs * len(shape.tiles(macro.rows)) for shape in shapes)
    energy = output.times(outputs) + Energy(writes=done.cells_written * write_energy(model))
    complements = 0.0
    if macro.weight_coding == "flip":
        complements = outputs * _complements_energy(model, circuit)
        complements += sum(_input_sums_energy(model, circuit, shape) for shape in shapes)
        energy += Energy(shift_add=complements)
    bits = macro.weight_bits, macro.input_bits
    in_digital = done.macs * model.digital_cycle(1, *bits)
    return LayerCost(name, kind, macro, bits, "", done, energy, in_digital, complements)


def digital_cost(
    name: str, kind: str, macs: int, bits: tuple[int, int], why_digital: str, model: EnergyModel
) -> LayerCost:
    """Cost of a layer in digital integers; its time and its memory are left out."""
    energy = macs * model.digital_cycle(1, *bits)
    return LayerCost(name, kind, None, bits, why_digital, Operations(macs=macs), Energy(digital=energy), energy)


def transform_cost(name: str, kind: str, additions: int, why_digital: str, model: EnergyModel) -> LayerCost:
    """Cost of a transform by digital additions: a full adder for each bit of a float layer; 0 without macros."""
    t = model.technology
    energy = additions * t.float_bits * t.full_adder * (t.nanometres / 28.0) * t.volts**2
    done = Operations(additions=additions)
    return LayerCost(name, kind, None, (t.float_bits,) * 2, why_digital, done, Energy(digital=energy), 0.0)


def _shift_add_energy(model: EnergyModel, macro: MacroConfig, digit: Sequence[Cycle]) -> float:
    """Energy of summing an input digit's codes over weight bits, and of adding the sum to the output, fJ.

    An accumulator has ``W + X + B`` full adders and flip-flops for codes of B bits (ZigZag-IMC); linear in the node.
    Logic for votes is left out.
    """
    t, slices = model.technology, len(digit)
    code = max(converter_bits(macro, cycle) for cycle in digit)
    width = macro.weight_bits + macro.input_bits + code
    switched = t.full_adder * (_full_adders(slices, code) + width) + t.flip_flop * width
    return switched * (t.nanometres / 28.0) * t.volts**2


def _complements_energy(model: EnergyModel, circuit: Transfer) -> float:
    """Energy of (sum of the inputs) - (code) for all codes of one output on one tile, fJ.

    Each code takes a subtractor of ``B + 1`` full adders, for the widest code of the digit.
    """
    t, subtractors = model.technology, 0
    for digit in input_digits(circuit.cycles):
        subtractors += len(digit) * (1 + max(converter_bits(circuit.macro, cycle) for cycle in digit))
    return subtractors * t.full_adder * (t.nanometres / 28.0) * t.volts**2


def _full_adders(terms: int, bits: int) -> float:
    """Full adders of a tree over S terms of B bits: ``B (S - 1) + S (log2 S - 1/2)`` (ZigZag-IMC)."""
    return max(0.0, bits * (terms - 1) + terms * (math.log2(terms) - 0.5))


def _input_sums_energy(model: EnergyModel, circuit: Transfer, shape: ProductShape) -> float:
    """Energy of the sums of each input digit over the rows of each tile, fJ; all columns of a tile share a sum."""
    t, digits = model.technology, [len(digit[0].input_bits) for digit in input_digits(circuit.cycles)]
    trees = sum(_full_adders(rows, bits) for rows in shape.tiles(circuit.macro.rows) for bits in digits)
    switched = shape.matrices * shape.steps * trees * t.full_adder
    return switched * (t.nanometres / 28.0) * t.volts**2


def write_energy(model: EnergyModel) -> float:
    """Energy of writing a cell, fJ; 0 if it has no price."""
    return (model.technology.cell_write or 0.0) * model.technology.volts**2
