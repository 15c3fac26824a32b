"""Every conversion on CUDA, in one Triton kernel."""

from asim_lightning.engine.fused.engine import applies, available, run

__all__ = ["applies", "available", "run"]
