"""What the chip is: macro, schedule of cycles, column models. Pure data and small functions."""

from asim_lightning.circuit.algorithm import Algorithm, algorithm, split
from asim_lightning.circuit.columns import COLUMNS, Column, Current, build_column, ratio, to_codes
from asim_lightning.circuit.explain import Explanation, explain
from asim_lightning.circuit.macro import MacroConfig
from asim_lightning.circuit.schedule import Cycle, input_groups, schedule
from asim_lightning.circuit.transfer import Conversion, Transfer, transfer

__all__ = [
    "COLUMNS",
    "Algorithm",
    "Column",
    "Conversion",
    "Current",
    "Cycle",
    "Explanation",
    "MacroConfig",
    "Transfer",
    "algorithm",
    "build_column",
    "explain",
    "input_groups",
    "ratio",
    "schedule",
    "split",
    "to_codes",
    "transfer",
]
