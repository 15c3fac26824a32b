"""Lightning callbacks."""

from asim_lightning.callbacks.predictions import PredictionWriter

__all__ = ["PredictionWriter"]
