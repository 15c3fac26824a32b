"""The energy of a conversion over the digital work that it replaces, for macros of many sizes: where analog can win."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from asim_lightning.checks import check_whole
from asim_lightning.circuit import MacroConfig
from asim_lightning.circuit.schedule import schedule
from asim_lightning.circuit.voltage import IN_VOLTS
from asim_lightning.cost.energy_model import ConversionEnergy, energy_model
from asim_lightning.cost.technology import Technology
from asim_lightning.table import Table, TableColumn


@dataclass(frozen=True)
class ConversionGrid:
    """Macros of a table of conversions: every combination."""

    rows: list[int] = field(default_factory=lambda: [64, 255, 576, 1152])
    """Rows that a column sums, all in use."""
    encoding_bits: list[int] = field(default_factory=lambda: [1, 2, 4])
    """Input bits a cycle."""
    adc_bits: list[int] = field(default_factory=lambda: [4, 6, 8])
    """Bits of the ADC."""
    adc_step: list[int] = field(default_factory=lambda: [1, 4, 16, 32, 64])
    """Counts an LSB."""


@dataclass(frozen=True)
class ConversionRow:
    """Conversions of a macro.

    Attributes:
        macro: The macro, whose largest code is the full scale.
        energies: Energy of a conversion, fJ, by counts an LSB; None: the largest code is the full scale.
        digital: Energy of the same products in a digital macro, fJ.
        wins_from: Fewest counts an LSB with which a conversion takes less than the digital products; None: none.
    """

    macro: MacroConfig
    energies: dict[int | None, ConversionEnergy]
    digital: float
    wins_from: int | None

    def ratio(self, step: int | None) -> float:
        """Energy of a conversion over that of the digital products."""
        return self.energies[step].total / self.digital


def conversion_rows(technology: Technology, macro: MacroConfig, grid: ConversionGrid) -> list[ConversionRow]:
    """Energies of conversions of one weight bit by all rows at each point of a grid; other fields are a macro's.

    Raises:
        ValueError: A value of the grid is none that a macro takes, or the energy depends on the counts of images.
    """
    if technology.charging != "fixed":
        raise ValueError(
            f"`technology.charging` must be fixed with `conversions`, which counts no images, got {technology.charging}"
        )
    for name in ("rows", "encoding_bits", "adc_bits"):  # without `adc_step`, the full scale is left
        if not getattr(grid, name):
            raise ValueError(f"`grid.{name}` must have one value or more, such as [8], got none")
    for step in grid.adc_step:
        check_whole("`grid.adc_step`", step, 1, 2**20)
    model, found = energy_model(technology), []
    for rows in grid.rows:
        for bits in grid.encoding_bits:
            digital = model.digital_cycle(rows, 1, bits)
            for adc_bits in grid.adc_bits:
                own = macro.with_fields(
                    rows=rows, encoding_bits=bits, input_bits=max(bits, macro.input_bits), adc_bits=adc_bits,
                    adc_step=None, adc_low=0, digital_levels=0, weight_parallel=False,
                    **dict.fromkeys(IN_VOLTS, 0.0),  # takes no energy, and LSB change with the step
                )  # fmt: skip

                def energy(step: int | None, own: MacroConfig = own) -> ConversionEnergy:
                    cycle = schedule(own.with_fields(adc_step=step), False)[0]
                    return model.conversion(own.with_fields(adc_step=step), cycle)

                full_scale = rows * (2**bits - 1)
                # the energy falls with the step, down to one code for all counts
                low, high = 0, full_scale
                while high - low > 1:
                    middle = (low + high) // 2
                    low, high = (low, middle) if energy(middle).total < digital else (middle, high)
                wins = high if energy(high).total < digital else None
                steps = [None, *(step for step in grid.adc_step if step < full_scale)]
                found.append(ConversionRow(own, {step: energy(step) for step in steps}, digital, wins))
    return found


def conversion_table(
    rows: Sequence[ConversionRow], grid: ConversionGrid, technology: Technology
) -> Table[ConversionRow]:
    """Ratios for people, and energies in the CSV, for each point of a grid."""

    def ratio(step: int | None) -> TableColumn[ConversionRow]:
        name = "full_scale" if step is None else f"step_{step}"

        def text(row: ConversionRow) -> str:
            return f"{row.ratio(step):.2f}" if step in row.energies else "-"

        def number(row: ConversionRow) -> float | None:
            return row.energies[step].total if step in row.energies else None

        head = "full\nscale" if step is None else f"counts an LSB\n{step}" if step == grid.adc_step[0] else f"\n{step}"
        return TableColumn(head, text, {f"{name}_fj": number})

    columns = [
        TableColumn[ConversionRow]("\nrows", lambda row: row.macro.rows, {"rows": lambda row: row.macro.rows}),
        TableColumn(
            "input bits\na cycle", lambda row: row.macro.encoding_bits,
            {"input_bits_a_cycle": lambda row: row.macro.encoding_bits},
        ),
        TableColumn("ADC\nbits", lambda row: row.macro.adc_bits, {"adc_bits": lambda row: row.macro.adc_bits}),
        ratio(None),
        *map(ratio, grid.adc_step),
        TableColumn(
            "analog wins from\ncounts an LSB", lambda row: row.wins_from or "never",
            {"wins_from": lambda row: row.wins_from},
        ),
        TableColumn("digital\n(fJ)", lambda row: f"{row.digital:.3g}", {"digital_fj": lambda row: row.digital}),
        TableColumn("", None, {"nm": lambda _: technology.nanometres, "volts": lambda _: technology.volts}),
    ]  # fmt: skip
    return Table(
        columns,
        rows,
        "energy of a conversion, over the same products of bits in a digital macro; below 1 analog wins; "
        f"{technology}; full scale: the largest code is the full scale; -: one code holds all counts; without the "
        "digital additions of codes",
    )
