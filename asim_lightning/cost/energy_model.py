"""The energy of a conversion and of a digital cycle, by a model that a technology names."""

from dataclasses import dataclass

from asim_lightning.circuit import Cycle, MacroConfig
from asim_lightning.circuit.plug_in import named_class
from asim_lightning.cost.technology import Technology


@dataclass(frozen=True)
class ConversionEnergy:
    """Energy of one conversion of one column, fJ."""

    array: float
    """Cells and lines of the column."""
    adc: float
    """Converter."""
    drivers: float = 0.0
    """The column's share of the drivers of several input bits."""

    @property
    def total(self) -> float:
        """All of it, fJ."""
        return self.array + self.adc + self.drivers


@dataclass(frozen=True)
class ActiveCells:
    """Cells of a column that are on, weight and input both 1, in a cycle: means over all its conversions."""

    mean: float
    mean_square: float


class EnergyModel:
    """Charge-redistribution column; also the base class of every other energy model.

    Form of ZigZag-IMC, array refitted to published chips. To use another one, inherit, override `conversion`,
    `digital_cycle` or both, and name the class by its import path in ``technology.energy_model``; arguments come from
    ``technology.energy_model_args``.

    Args:
        technology: Node, supply and coefficients.
    """

    def __init__(self, technology: Technology) -> None:
        self.technology = technology

    def conversion(self, macro: MacroConfig, cycle: Cycle, active: ActiveCells | None = None) -> ConversionEnergy:
        """Energy of one conversion of one column.

        ``V^2 (C N B_w + adc_bit B + adc_noise codes^2 + (B_x > 1) driver B_x N / N_ADC)``: C the capacitance of a row,
        N all rows of the macro, idle ones too, B_w weight bits and B_x input bits of the cycle, B bits of the ADC,
        codes that the full scale spans (2^B where the largest code is the full scale: an ADC with a range of its own
        resolves as small a voltage), and N_ADC columns that are converted at a time. With ``charging`` the N of the
        first term is the mean number of cells that draw charge.

        Args:
            macro: The macro.
            cycle: The conversion.
            active: Cells that are on, where ``technology.charging`` asks for them.
        """
        t, square = self.technology, self.technology.volts**2
        weight_bits, input_bits = len(cycle.weight_bits), len(cycle.input_bits)
        bits = converter_bits(macro, cycle)
        codes = 2.0**bits if cycle.adc_step is None else cycle.full_scale * (1 + cycle.signed) / cycle.adc_step + 1
        drivers = t.driver * input_bits * macro.rows / converters_an_array(t, macro, cycle) if input_bits > 1 else 0.0
        return ConversionEnergy(
            array=square * t.cell_capacitance * weight_bits * self._charged(macro, active),
            adc=square * (t.adc_bit * bits + t.adc_noise * codes**2),
            drivers=square * drivers,
        )

    def digital_cycle(self, rows: int, weight_bits: int, input_bits: int) -> float:
        """Energy of products that are summed digitally, fJ: ``digital_mac rows W X (node / 28) (V / 0.9)^2``.

        Args:
            rows: Rows that are summed: all of the macro in a digital cycle of one column, 1 for a multiplication of a
                layer that is on no macro.
            weight_bits: Bits of the weights, W.
            input_bits: Bits of the inputs, X.
        """
        t = self.technology
        return t.digital_mac * rows * weight_bits * input_bits * (t.nanometres / 28.0) * (t.volts / 0.9) ** 2

    def _charged(self, macro: MacroConfig, active: ActiveCells | None) -> float:
        """Cells of a column that draw charge."""
        if active is None:
            return macro.rows
        if self.technology.charging == "ground":
            return active.mean
        return active.mean - active.mean_square / macro.rows


def energy_model(technology: Technology) -> EnergyModel:
    """The energy model that a technology names.

    Raises:
        ValueError: There is no such class, or it does not take the arguments.
    """
    kind = named_class("`technology.energy_model`", technology.energy_model, {"charge": EnergyModel}, EnergyModel)
    try:
        return kind(technology, **technology.energy_model_args)
    except TypeError as error:
        raise ValueError(
            f"`technology.energy_model_args` does not fit the energy model {technology.energy_model}: {error}"
        ) from None


def converter_bits(macro: MacroConfig, cycle: Cycle) -> int:
    """Bits of the ADC; for an ideal converter as many as give every count of the cycle a code of its own."""
    if macro.adc_bits is not None:
        return macro.adc_bits
    return (cycle.full_scale * (1 + cycle.signed)).bit_length()


def converters_an_array(technology: Technology, macro: MacroConfig, cycle: Cycle) -> int:
    """Columns of an array that are converted at a time."""
    shared = macro.static.columns_per_adc * len(cycle.weight_bits)
    return max(1, technology.columns // shared)
