"""The integer product, and the rare wrong conversions.

Event: a conversion whose code is wrong. Candidate: a conversion that may be wrong. Hazard: ``-log(1 - rate)`` of a
conversion. Margin: how far a converter's value may move without changing the code.
"""

from asim_lightning.engine.rare.rare_engine import ALGORITHM, SAME_NOISE, RareProgram, prepare, why_not_on
from asim_lightning.engine.rare.rates import prefers, refuses

__all__ = ["ALGORITHM", "SAME_NOISE", "RareProgram", "prefers", "prepare", "refuses", "why_not_on"]
