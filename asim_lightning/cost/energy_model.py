"""The energy of a conversion and of a digital cycle, by the model of a technology."""

from dataclasses import dataclass, field, fields
from typing import Any

from asim_lightning.checks import built, named_class
from asim_lightning.circuit import Cycle, MacroConfig
from asim_lightning.cost.technology import MEASURED_ADCS, Technology


@dataclass(frozen=True)
class Part:
    """A part of an energy: its label in tables, its consumer, and the fields of a technology that decide it."""

    label: str
    what: str
    coefficients: tuple[str, ...]


def part(label: str, what: str, *coefficients: str) -> Any:
    """A dataclass field that is a part of an energy; see `Part`."""
    return field(default=0.0, metadata={"part": Part(label, what, coefficients)})


@dataclass(frozen=True)
class ConversionEnergy:
    """Energy of one conversion of one column, fJ."""

    array: float = part("array", "cells and lines of the columns", "row_capacitance")
    adc: float = part("ADC", "converters", "adc_bit", "adc_noise")
    drivers: float = part("drivers", "drivers of several input bits", "driver", "columns")
    """The column's share of the drivers."""

    @property
    def parts(self) -> dict[str, float]:
        """Energy by the name of the part, fJ."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @property
    def total(self) -> float:
        """The sum of all parts, fJ."""
        return sum(self.parts.values())


@dataclass(frozen=True)
class ActiveCells:
    """Active cells of a column, weight and input both 1, in a cycle: means over all its conversions."""

    mean: float
    mean_square: float


class EnergyModel:
    """Energy model of a charge-redistribution column; also the base class of every other energy model.

    The form is ZigZag-IMC's, with the array refitted to published chips. To use your model, inherit this class,
    override `conversion`, `digital_cycle` or both, and set ``technology.energy_model`` to its import path. Its
    arguments come from ``technology.energy_model_args``.

    Args:
        technology: Node, supply and coefficients.
    """

    def __init__(self, technology: Technology) -> None:
        self.technology = technology

    def conversion(self, macro: MacroConfig, cycle: Cycle, active: ActiveCells | None = None) -> ConversionEnergy:
        """Energy of one conversion of one column; with its active cells, if ``technology.charging`` needs them.

        It calls `charge_column` with all rows of the macro, including idle ones, and the bits of the cycle. If an ADC
        has a smaller range, it makes the comparisons of its bits, and resolves the same voltage as an ADC with more
        codes over the full scale.
        """
        bits = len(cycle.weight_bits), len(cycle.input_bits), converter_bits(macro, cycle)
        at_once = max(1, self.technology.value("columns") // (macro.static.columns_per_adc * bits[0]))
        codes = None if cycle.adc_step is None else cycle.full_scale * (1 + cycle.signed) / cycle.adc_step + 1
        charged = None
        if active is not None:
            charged = active.mean
            if self.technology.charging != "ground":
                charged -= active.mean_square / macro.rows
        return charge_column(self.technology, macro.rows, *bits, at_once, codes, charged)

    def digital_cycle(self, rows: int, weight_bits: int, input_bits: int) -> float:
        """Energy of digitally summed products, fJ: ``digital_mac rows W X (node / 28) (V / 0.9)^2``.

        `rows` is the macro's rows for a digital cycle of one column, and 1 for a multiplication of a digital layer.
        """
        t = self.technology
        return t.digital_mac * rows * weight_bits * input_bits * (t.nanometres / 28.0) * (t.volts / 0.9) ** 2


def charge_column(
    technology: Technology,
    rows: int,
    weight_bits: float,
    input_bits: float,
    adc_bits: float,
    converters: int,
    codes: float | None = None,
    charged: float | None = None,
) -> ConversionEnergy:
    """Energy of one conversion of a charge-redistribution column.

    ``V^2 (C charged weight_bits + adc_bit adc_bits + adc_noise codes^2 + driver input_bits rows / converters)``, where
    C is the capacitance that a row switches. The last term is 0 for one input bit. `converters` columns are converted
    at the same time, and share the drivers of the rows. `codes` of the full scale are 2^adc_bits by default, and all
    rows are `charged`. The terms of the ADC are multiplied for a measured converter, or replaced by `adc_pj`.
    """
    t, square = technology, technology.volts**2
    drivers = t.driver * input_bits * rows / converters if input_bits > 1 else 0.0
    resolved = 2.0**adc_bits if codes is None else codes
    adc = square * (t.adc_bit * adc_bits + t.adc_noise * resolved**2)
    if t.adc in MEASURED_ADCS:
        adc *= MEASURED_ADCS[t.adc][0]
    return ConversionEnergy(
        array=square * t.cell_capacitance * weight_bits * (rows if charged is None else charged),
        adc=adc if t.adc_pj is None else 1e3 * t.adc_pj,
        drivers=square * drivers,
    )


def energy_model(technology: Technology) -> EnergyModel:
    """The energy model of a technology."""
    kind = named_class("`technology.energy_model`", technology.energy_model, {"charge": EnergyModel}, EnergyModel)
    what = f"the energy model {technology.energy_model}"
    return built(kind, (technology,), technology.energy_model_args, "`technology.energy_model_args`", what)


def converter_bits(macro: MacroConfig, cycle: Cycle) -> int:
    """Bits of the ADC; for an ideal converter, enough bits to give every count of the cycle a different code."""
    if macro.adc_bits is not None:
        return macro.adc_bits
    return (cycle.full_scale * (1 + cycle.signed)).bit_length()
