"""Every conversion on CUDA, in one Triton kernel."""

from asim_lightning.engine.fused.fused_engine import (
    ALGORITHM,
    SAME_NOISE,
    FusedProgram,
    prefers,
    prepare,
    refuses,
    why_not_on,
)

__all__ = ["ALGORITHM", "SAME_NOISE", "FusedProgram", "prefers", "prepare", "refuses", "why_not_on"]
