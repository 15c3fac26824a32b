"""Layers on macros, digital quantised layers, and float layers beside them."""

from asim_lightning.nn.assignment import Assignment
from asim_lightning.nn.attention import CimAttention
from asim_lightning.nn.calibration import calibrate_
from asim_lightning.nn.conv import CimConv2d, QuantConv2d
from asim_lightning.nn.convs_as_conv2d import CimConv1d, CimConvTranspose2d
from asim_lightning.nn.floating import FloatConv2d, FloatLinear, FloatMatmul
from asim_lightning.nn.input_range import INPUT_RANGES
from asim_lightning.nn.linear import CimFunctionalLinear, CimLinear
from asim_lightning.nn.matmul import CimMatmul
from asim_lightning.nn.multihead import MultiheadAttention
from asim_lightning.nn.on_macro import OnMacro
from asim_lightning.nn.pact import PACT
from asim_lightning.nn.quantized import FIDELITIES, QuantizedLayer
from asim_lightning.nn.routed import Route, RoutedModule, route_, routing_paused, unroute_
from asim_lightning.nn.training_noise import TrainingNoise, training_noise
from asim_lightning.nn.verify import Verification, verify

__all__ = [
    "FIDELITIES",
    "INPUT_RANGES",
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
    "Route",
    "RoutedModule",
    "TrainingNoise",
    "Verification",
    "calibrate_",
    "route_",
    "routing_paused",
    "training_noise",
    "unroute_",
    "verify",
]
