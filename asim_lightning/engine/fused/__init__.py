"""Every conversion on CUDA, in one Triton kernel."""

from asim_lightning.engine.fused.fused_engine import FusedProgram, available, prepare, refuses

__all__ = ["FusedProgram", "available", "prepare", "refuses"]
