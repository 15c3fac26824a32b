"""Every conversion on a CPU, from planes packed in words."""

from asim_lightning.engine.packed.engine import PackedProgram, available, prepare
from asim_lightning.engine.packed.schedule import refuses

__all__ = ["PackedProgram", "available", "prepare", "refuses"]
