"""Lightning callbacks."""

from asim_lightning.callbacks.hparams_table import HparamsTable
from asim_lightning.callbacks.last_checkpoint import LastCheckpoint
from asim_lightning.callbacks.mistakes import ConfusionMatrix, Misclassified
from asim_lightning.callbacks.network_summary import NetworkSummary
from asim_lightning.callbacks.noise_ramp import NoiseRamp
from asim_lightning.callbacks.noise_sweep import NoiseSweep
from asim_lightning.callbacks.predictions import ImageValues, PredictionWriter
from asim_lightning.callbacks.range_calibration import RangeCalibration
from asim_lightning.callbacks.simulated_accuracy import SimulatedAccuracy

__all__ = [
    "ConfusionMatrix",
    "HparamsTable",
    "ImageValues",
    "LastCheckpoint",
    "Misclassified",
    "NetworkSummary",
    "NoiseRamp",
    "NoiseSweep",
    "PredictionWriter",
    "RangeCalibration",
    "SimulatedAccuracy",
]
