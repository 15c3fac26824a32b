"""The integer product and the rare wrong conversions."""

from asim_lightning.engine.events.events_engine import EventsProgram, RareErrors, available, prepare
from asim_lightning.engine.events.rates import refuses

__all__ = ["EventsProgram", "RareErrors", "available", "prepare", "refuses"]
