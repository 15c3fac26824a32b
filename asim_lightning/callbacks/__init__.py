"""Lightning callbacks."""

from typing import TYPE_CHECKING

from asim_lightning.lazy import lazy

if TYPE_CHECKING:
    from asim_lightning.callbacks.hparams_table import HparamsTable
    from asim_lightning.callbacks.last_checkpoint import LastCheckpoint
    from asim_lightning.callbacks.mistakes import ConfusionMatrix, Misclassified
    from asim_lightning.callbacks.network_summary import NetworkSummary
    from asim_lightning.callbacks.noise_ramp import NoiseRamp
    from asim_lightning.callbacks.noise_sweep import NoiseSweep
    from asim_lightning.callbacks.predictions import ImageValues, PredictionWriter
    from asim_lightning.callbacks.range_calibration import RangeCalibration
    from asim_lightning.callbacks.simulated_accuracy import SimulatedAccuracy

_MODULES = {
    "ConfusionMatrix": "mistakes",
    "HparamsTable": "hparams_table",
    "ImageValues": "predictions",
    "LastCheckpoint": "last_checkpoint",
    "Misclassified": "mistakes",
    "NetworkSummary": "network_summary",
    "NoiseRamp": "noise_ramp",
    "NoiseSweep": "noise_sweep",
    "PredictionWriter": "predictions",
    "RangeCalibration": "range_calibration",
    "SimulatedAccuracy": "simulated_accuracy",
}
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

# some draw pictures, which most commands do without
__getattr__ = lazy(__name__, _MODULES)
