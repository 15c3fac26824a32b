"""Lightning callbacks."""

from asim_lightning.callbacks.images import ImageCounter
from asim_lightning.callbacks.predictions import PredictionWriter

__all__ = ["ImageCounter", "PredictionWriter"]
