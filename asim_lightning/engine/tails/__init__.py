"""The integer product and the wrong conversions of converters that differ.

Margin: how far a converter's value may move before another code comes out. Candidate: a conversion whose normal passes
the margin, so that its code may be wrong. Tail: the probability that a normal passes it, upward or downward.
"""

from asim_lightning.engine.tails.tails_engine import TailErrors, prepare, refuses, why_not_on

__all__ = ["TailErrors", "prepare", "refuses", "why_not_on"]
