"""The circuit of a chip: macro, schedule of cycles, column models. Pure data and small functions.

Macro: the hardware: bits, rows, ADC, encoding, noise. Schedule: the cycles, or conversions, that one column makes.
Digit: the value of the weight bits or input bits that a cycle uses. Sign plane: the sign bits, which count negatively.
Count: the sum over rows of weight digit times input digit. Full scale: the count of the largest code.
Level: mean of a count in codes before rounding. Sigma: standard deviation of its noise in codes. LSB: one code.
Exact, distinct, lossy: every count comes back, every count has its own code, or some counts share a code.
Static effects: differences between the cells and converters of a chip. Trim: their calibration. Reference: the charge
that a column's charge is compared with. Digital cycle: a cycle without noise. Voted cycle: a cycle that is converted
several times. Transfer: schedule with its column.
"""

from asim_lightning.circuit.column_models import COLUMNS, build_column, resolved
from asim_lightning.circuit.columns import Charge, Column, ConverterPlaces, Current, Droop, to_codes
from asim_lightning.circuit.macro import MacroConfig
from asim_lightning.circuit.schedule import Cycle, input_groups, schedule
from asim_lightning.circuit.static import StaticEffects
from asim_lightning.circuit.transfer import Conversion, Transfer, transfer

__all__ = [
    "COLUMNS",
    "Charge",
    "Column",
    "Conversion",
    "ConverterPlaces",
    "Current",
    "Cycle",
    "Droop",
    "MacroConfig",
    "StaticEffects",
    "Transfer",
    "build_column",
    "input_groups",
    "resolved",
    "schedule",
    "to_codes",
    "transfer",
]
