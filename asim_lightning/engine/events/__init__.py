"""The integer product and the rare wrong conversions."""

from asim_lightning.engine.events.engine import add_errors, applies, run

__all__ = ["add_errors", "applies", "run"]
