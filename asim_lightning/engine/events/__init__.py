"""The integer product and the rare wrong conversions."""

from asim_lightning.engine.events.engine import applies, run

__all__ = ["applies", "run"]
