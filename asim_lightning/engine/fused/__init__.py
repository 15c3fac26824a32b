"""Every conversion on CUDA, in one Triton kernel."""

from asim_lightning.engine.fused.fused_engine import FusedProgram, prepare, refuses, why_not_on

__all__ = ["FusedProgram", "prepare", "refuses", "why_not_on"]
