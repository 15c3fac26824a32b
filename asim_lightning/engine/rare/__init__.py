"""The integer product and the rare wrong conversions.

Event: a conversion whose code is wrong. Candidate: a conversion that may be one. Hazard: ``-log(1 - rate)`` of a
conversion. Margin: how far the value of a converter may move before another code comes out.
"""

from asim_lightning.engine.rare.rare_engine import RareProgram, prepare, why_not_on
from asim_lightning.engine.rare.rates import refuses

__all__ = ["RareProgram", "prepare", "refuses", "why_not_on"]
