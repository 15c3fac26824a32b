"""Lightning callbacks."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asim_lightning.callbacks.hparams_table import HparamsTable
    from asim_lightning.callbacks.last_checkpoint import LastCheckpoint
    from asim_lightning.callbacks.mistakes import ConfusionMatrix, Misclassified
    from asim_lightning.callbacks.network_summary import NetworkSummary
    from asim_lightning.callbacks.noise_ramp import NoiseRamp
    from asim_lightning.callbacks.noise_sweep import NoiseSweep
    from asim_lightning.callbacks.predictions import ImageCounter, PredictionWriter
    from asim_lightning.callbacks.range_calibration import RangeCalibration
    from asim_lightning.callbacks.simulated_accuracy import SimulatedAccuracy

_FILES = {
    "ConfusionMatrix": "mistakes",
    "HparamsTable": "hparams_table",
    "ImageCounter": "predictions",
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
    "ImageCounter",
    "LastCheckpoint",
    "Misclassified",
    "NetworkSummary",
    "NoiseRamp",
    "NoiseSweep",
    "PredictionWriter",
    "RangeCalibration",
    "SimulatedAccuracy",
]


def __getattr__(name: str) -> Any:
    # most commands use few of them, and imports take time
    if name in _FILES:
        return getattr(import_module(f"asim_lightning.callbacks.{_FILES[name]}"), name)
    raise AttributeError(f"module 'asim_lightning.callbacks' has no attribute {name!r}")
