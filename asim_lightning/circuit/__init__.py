"""What a chip is: macro, schedule of cycles, column models. Pure data and small functions.

Macro: the hardware: bits, rows, ADC, encoding, noise. Schedule: the cycles, or conversions, that one column makes.
Digit: the value of the weight bits or input bits that a cycle uses. Sign plane: the sign bits, which count negatively.
Count: the sum over rows of weight digit times input digit. Full scale: the count that the largest code stands for.
Level: mean of a count in codes before rounding. Sigma: standard deviation of its noise in codes. LSB: one code.
Exact, distinct, lossy: every count comes back, every count has a code of its own, or some counts share one.
Static effects: what differs from place to place on a chip. Trim: their calibration. Reference: what a column's charge
is measured against. Digital cycle: one without noise. Voted cycle: one that is converted several times.
Transfer: schedule with its column.
"""

from asim_lightning.circuit.algorithm import Algorithm, algorithm
from asim_lightning.circuit.column_models import COLUMNS, build_column, resolved
from asim_lightning.circuit.columns import Charge, Column, ConverterPlaces, Current, ratio, to_codes
from asim_lightning.circuit.explain import Explanation, explain
from asim_lightning.circuit.macro import MacroConfig
from asim_lightning.circuit.schedule import Cycle, input_groups, schedule
from asim_lightning.circuit.static import StaticEffects
from asim_lightning.circuit.transfer import Conversion, Transfer, transfer

__all__ = [
    "COLUMNS",
    "Algorithm",
    "Charge",
    "Column",
    "Conversion",
    "ConverterPlaces",
    "Current",
    "Cycle",
    "Explanation",
    "MacroConfig",
    "StaticEffects",
    "Transfer",
    "algorithm",
    "build_column",
    "explain",
    "input_groups",
    "ratio",
    "resolved",
    "schedule",
    "to_codes",
    "transfer",
]
