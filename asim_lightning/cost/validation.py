"""The energy model against silicon: published charge-redistribution macros, components, supplies."""

import csv
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from importlib.resources import files

from asim_lightning.cost.energy_model import ConversionEnergy, charge_column
from asim_lightning.cost.technology import Technology


@dataclass(frozen=True)
class Chip:
    """A published macro at one supply."""

    index: int
    """Its row in UIUC-IMC-Benchmarking."""
    chip: str
    paper: str
    node: float
    """nm."""
    supply: float
    """V."""
    rows: int
    input_bits: float
    """Bits in one conversion; 1.5: three levels."""
    weight_bits: float
    adc_bits: float
    converters: int
    """Columns converted at the same time."""
    tops_per_watt: float
    """Operations a picojoule, of one bit by one bit, two a product."""
    time_ns: float | None = None
    """Time of an invocation, ns."""

    @property
    def at(self) -> str:
        """Its name and supply."""
        return f"{self.chip}, {self.supply:g} V"

    @property
    def reported(self) -> float:
        """Reported energy of a column and its conversion, fJ."""
        return 2e3 * self.rows * self.input_bits * self.weight_bits / self.tops_per_watt

    def modelled(self, technology: Technology) -> ConversionEnergy:
        """Energy of a column and its conversion by the coefficients of a technology, at the chip's node and supply."""
        own = technology.with_fields(node=self.node, supply=self.supply)
        return charge_column(own, self.rows, self.weight_bits, self.input_bits, self.adc_bits, self.converters)


@dataclass(frozen=True)
class Comparison:
    """A number of the model next to one of silicon."""

    what: str
    reported: float
    modelled: float
    note: str = ""
    chip: Chip | None = field(default=None, repr=False)

    @property
    def ratio(self) -> float:
        """Modelled over reported."""
        return self.modelled / self.reported


_NOTES = {"Wang 22 nm": "the row pairs the efficiency at 0.7 V with a supply of 1.1 V: see the supplies below"}
JIA_COMPONENTS = {0.85: (9700.0, 1790.0), 1.2: (20400.0, 3560.0)}
"""Jia, JSSC 2020, 65 nm: energy of a column's array and of its ADC, fJ, by supply (CiMLoop jia_jssc_2020)."""
WANG_SUPPLIES = {0.7: 31.998, 0.8: 22.590, 0.9: 18.439, 1.0: 16.376, 1.1: 15.467}
"""Wang, VLSI 2022, 22 nm: operations a picojoule of 8 by 8 bits, by supply (CiMLoop wang_vlsi_2022)."""
CR_CIM = Chip(0, "CR-CIM 65 nm", "Yoshioka, ISSCC 2024", 65, 1.0, 1088, 1, 1, 10, 78, 818)
"""Its supply is not published; 1.0 is a placeholder."""


def published_chips() -> tuple[Chip, ...]:
    """The rows to which the model is fitted."""
    text = files("asim_lightning.cost").joinpath("silicon/charge_macros.csv").read_text(encoding="utf-8")
    kinds: dict[str, Callable[[str], object]] = dict.fromkeys(("index", "rows", "converters"), int)
    kinds |= {"chip": str, "paper": str}
    return tuple(
        Chip(**{name: kinds.get(name, float)(value) if value else None for name, value in row.items()})  # type: ignore[arg-type]
        for row in csv.DictReader(io.StringIO(text))
    )


@dataclass(frozen=True)
class Validation:
    """The model against silicon."""

    chips: tuple[Comparison, ...]
    """Energy of a column of each published chip."""
    components: tuple[Comparison, ...]
    """Measured parts of that energy."""
    supplies: tuple[Comparison, ...]
    """Energy of Wang's column at each supply, and scaled by the supply squared from the highest."""
    absolute: tuple[Comparison, ...]
    """The same energies, and the model's."""
    matching: dict[str, float]
    """Supplies, V, at which CR-CIM's column would take the reported energy, by the assumption on its cell."""
    factor: float
    """Stated factor within which the chips lie."""

    @property
    def typical_factor(self) -> float:
        """``exp(sqrt(mean ln^2 ratio))`` over the chips."""
        return math.exp(math.sqrt(sum(math.log(each.ratio) ** 2 for each in self.chips) / len(self.chips)))

    @property
    def bias(self) -> float:
        """Geometric mean of the ratios of the chips."""
        return math.exp(sum(math.log(each.ratio) for each in self.chips) / len(self.chips))

    def within(self, factor: float) -> int:
        """Number of chips whose ratio lies within a factor, either way."""
        return sum(1 / factor <= each.ratio <= factor for each in self.chips)


def validate_model(technology: Technology = Technology()) -> Validation:
    """Compare a technology's coefficients with silicon, at each chip's node, supply and cell."""
    plain = technology.with_fields(unit_capacitor=None, preset="28nm")
    measured = plain.with_fields(unit_capacitor=Technology("jia_2020").value("unit_capacitor"))
    chips = published_chips()
    supplies, absolute = _supplies(next(chip for chip in chips if chip.index == 89), plain)
    compared = [
        Comparison(each.at, each.reported, each.modelled(plain).total, _NOTES.get(each.chip, ""), each)
        for each in chips
    ]
    components = _components([chip for chip in chips if chip.index == 5], plain, measured)
    matching = {
        f"{plain.row_capacitance:g} fF/nm": _matching_supply(CR_CIM, plain),
        f"{plain.parasitics:g} x 1.5 fF": _matching_supply(CR_CIM, plain.with_fields(unit_capacitor=1.5)),
    }
    return Validation(tuple(compared), tuple(components), supplies, absolute, matching, technology.factor)


def _components(chips: Sequence[Chip], plain: Technology, measured: Technology) -> list[Comparison]:
    found = []
    for chip in sorted(chips, key=lambda chip: chip.supply):
        array, adc = JIA_COMPONENTS[chip.supply]
        by_fit, by_cell = chip.modelled(plain), chip.modelled(measured)
        cell = f"measured cell: {measured.parasitics:g} x {measured.unit_capacitor:g} fF"
        found += [
            Comparison(f"{chip.at}: column", chip.reported, by_cell.total, cell),
            Comparison(f"{chip.at}: array", array, by_cell.array, cell),
            Comparison(f"{chip.at}: array", array, by_fit.array, "fitted cell"),
            Comparison(f"{chip.at}: ADC", adc, by_fit.adc),
        ]
    return found


def _supplies(chip: Chip, technology: Technology) -> tuple[tuple[Comparison, ...], tuple[Comparison, ...]]:
    highest = max(WANG_SUPPLIES)
    scaled, absolute = [], []
    for supply, efficiency in WANG_SUPPLIES.items():
        own, reported = replace(chip, supply=supply), 2e3 * chip.rows / efficiency
        square = 2e3 * chip.rows / WANG_SUPPLIES[highest] * (supply / highest) ** 2
        scaled.append(Comparison(own.at, reported, square, f"V^2 from {highest:g} V"))
        absolute.append(Comparison(own.at, reported, own.modelled(technology).total))
    return tuple(scaled), tuple(absolute)


def _matching_supply(chip: Chip, technology: Technology) -> float:
    """The supply at which the column would take the reported energy, V."""
    return chip.supply * math.sqrt(chip.reported / chip.modelled(technology).total)
