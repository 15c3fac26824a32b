"""The integer product and the rare wrong conversions."""

from asim_lightning.engine.events.events_engine import Errors, EventsProgram, RareErrors, prepare, why_not_on
from asim_lightning.engine.events.rates import refuses

__all__ = ["Errors", "EventsProgram", "RareErrors", "prepare", "refuses", "why_not_on"]
