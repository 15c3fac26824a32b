"""The kinds of torch's layers that macros compute: a new kind is a line here."""

from dataclasses import dataclass
from typing import Any

from torch import nn

from asim_lightning.nn.conv import CimConv1d, CimConv2d, CimConvTranspose2d
from asim_lightning.nn.floating import FloatConv1d, FloatConv2d, FloatConvTranspose2d, FloatLinear
from asim_lightning.nn.linear import CimLinear


@dataclass(frozen=True)
class LayerKind:
    """A kind of layer.

    Attributes:
        torchs: torch's class.
        on_macro: The layer on a macro; ``on_macro.from_float(layer, macro, signed_input, ...)`` makes it.
        in_float: The layer that stays in floating point; ``in_float.from_float(layer)`` makes it.
        axes: Number of axes of an output; the second axis has the layer's outputs.
    """

    torchs: type[nn.Module]
    on_macro: Any
    in_float: Any
    axes: int


LAYER_KINDS = (
    LayerKind(nn.Conv2d, CimConv2d, FloatConv2d, 4),
    LayerKind(nn.Linear, CimLinear, FloatLinear, 2),
    LayerKind(nn.Conv1d, CimConv1d, FloatConv1d, 3),
    LayerKind(nn.ConvTranspose2d, CimConvTranspose2d, FloatConvTranspose2d, 4),
)
TORCH_LAYERS = tuple(kind.torchs for kind in LAYER_KINDS)
FLOAT_LAYERS = tuple(kind.in_float for kind in LAYER_KINDS)


def kind_of(layer: nn.Module) -> LayerKind | None:
    """The kind of a layer; None: there is none."""
    return next((kind for kind in LAYER_KINDS if isinstance(layer, kind.torchs)), None)
