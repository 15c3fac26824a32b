"""Every conversion on a CPU, from planes packed in words."""

from asim_lightning.engine.packed.engine import applies, run

__all__ = ["applies", "run"]
