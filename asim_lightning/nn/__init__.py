"""Layers on macros, digital quantised layers, and float layers next to them."""

from asim_lightning.nn.assignment import Assignment
from asim_lightning.nn.attention import CimAttention
from asim_lightning.nn.calibration import calibrate_
from asim_lightning.nn.conv import CimConv1d, CimConv2d, CimConvTranspose2d, QuantConv2d
from asim_lightning.nn.floating import FloatConv2d, FloatLinear, FloatMatmul
from asim_lightning.nn.input_range import PACT
from asim_lightning.nn.linear import CimFunctionalLinear, CimLinear, CimMatmul
from asim_lightning.nn.multihead import MultiheadAttention
from asim_lightning.nn.on_macro import OnMacro
from asim_lightning.nn.quantized import QuantizedLayer
from asim_lightning.nn.training_noise import TrainingNoise
from asim_lightning.nn.verify import verify

__all__ = [
    "PACT",
    "Assignment",
    "CimAttention",
    "CimConv1d",
    "CimConv2d",
    "CimConvTranspose2d",
    "CimFunctionalLinear",
    "CimLinear",
    "CimMatmul",
    "FloatConv2d",
    "FloatLinear",
    "FloatMatmul",
    "MultiheadAttention",
    "OnMacro",
    "QuantConv2d",
    "QuantizedLayer",
    "TrainingNoise",
    "calibrate_",
    "verify",
]
