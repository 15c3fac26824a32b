"""Layers of the code published with the ASiM paper, from the user's own checkout."""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import Tensor, nn

from asim_lightning.nn import CimConv2d, CimLinear, OnMacro

_FILES = {"conv": "asim_conv.py", "linear": "asim_linear.py"}
_CLASSES = {"conv": "ASiMConv2d", "linear": "ASiMLinear"}
_FOLDERS = ("module", "tools")
"""Folders that the layers are imported from; they are not packages, and other code may have folders of these names."""
_MOST_ADC_BITS = 127


@dataclass(frozen=True)
class PublishedCode:
    """The two layers of a checkout."""

    path: Path
    conv: type[nn.Module]
    linear: type[nn.Module]


def load_published(path: str | Path) -> PublishedCode:
    """Import the layers of a checkout; other modules named `module` or `tools` stay as they are.

    Args:
        path: Folder of the checkout, which holds module/asim_conv.py and module/asim_linear.py.

    Raises:
        ValueError: The folder lacks a file or class, or the import fails.
    """
    folder = Path(path).expanduser().resolve()
    wanted = "`compare_reference` must be a checkout of the published code, with module/asim_conv.py and asim_linear.py"
    for name in _FILES.values():
        if not (folder / "module" / name).is_file():
            raise ValueError(f"{wanted}, got {path}, which has no module/{name}")
    found: dict[str, type[nn.Module]] = {}
    with _importing(folder):
        for kind, file in _FILES.items():
            try:
                module = importlib.import_module(f"module.{file.removesuffix('.py')}")
            except Exception as error:  # code of the user's
                raise ValueError(f"{wanted}, got {path}, whose module/{file} is not imported: {error}") from error
            layer = getattr(module, _CLASSES[kind], None)
            if not (isinstance(layer, type) and issubclass(layer, nn.Module)):
                raise ValueError(f"{wanted}, got {path}, whose module/{file} has no layer {_CLASSES[kind]}")
            found[kind] = layer
    return PublishedCode(folder, **found)


@contextmanager
def _importing(folder: Path) -> Iterator[None]:
    def mine(name: str) -> bool:
        return name.split(".")[0] in _FOLDERS

    before = {name: module for name, module in sys.modules.items() if mine(name)}
    for name in before:
        del sys.modules[name]
    for name in _FOLDERS:
        package = ModuleType(name)
        package.__path__ = [str(folder / name)]
        sys.modules[name] = package
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in [name for name in sys.modules if mine(name)]:
            del sys.modules[name]
        sys.modules.update(before)


def why_not(layer: OnMacro, x: Tensor) -> str:
    """Why the published code does not compute a layer for an input; empty where it does."""
    macro, conv = layer.macro, isinstance(layer, CimConv2d)
    if not isinstance(layer, (CimConv2d, CimLinear)):
        return "a product of two activations"
    if macro.weight_parallel or macro.column != "charge" or (macro.vote_levels and macro.votes > 1):
        return "votes, weight-parallel conversion and other columns are extensions"
    if macro.adc_step is not None:
        return "an ADC with a range of its own"
    if macro.adc_bits is None or macro.adc_bits > _MOST_ADC_BITS:
        return "an ideal converter"
    if layer.per_channel:
        return "a scale for each output channel"
    if conv and layer.signed_input and macro.encoding_bits > 1:
        return "a signed input with encoding"
    if isinstance(layer, CimConv2d):
        square = not isinstance(layer.padding, str) and all(
            len(set(pair)) == 1 for pair in (layer.kernel_size, layer.stride, layer.padding)
        )
        plain = layer.groups == 1 and layer.dilation == (1, 1) and layer.padding_mode == "zeros"
        if not square or not plain or layer.kernel_size[0] ** 2 > macro.rows:
            return "groups, dilation, or another kernel or padding than it takes"
    if not conv and x.dim() not in (2, 3):
        return f"an input of {x.dim()} dimensions"
    return ""


def published_layer(code: PublishedCode, layer: OnMacro, x: Tensor) -> nn.Module:
    """The published layer with geometry, parameters and macro of one of this package, in simulation.

    Args:
        code: The checkout.
        layer: A layer that the published code computes (see `why_not`).
        x: Input of the layer.
    """
    macro = layer.macro
    settings: dict[str, Any] = {
        "bias": getattr(layer, "bias", None) is not None,
        "wbit": macro.weight_bits,
        "xbit": macro.input_bits,
        "adc_prec": macro.adc_bits,
        "nrow": macro.rows,
        "rand_noise_sigma": macro.random_noise_percent,
        "non_linear_sigma": macro.nonlinear_noise_percent,
        "act_enc": macro.encoding_bits if macro.encoding_bits > 1 else None,
        "signed_act": layer.signed_input,
        "hybrid_levels": macro.digital_levels or None,
        "mode": "Simulation",
        "device": str(x.device),
    }
    if isinstance(layer, CimConv2d):
        geometry = {"kernel_size": layer.kernel_size[0], "stride": layer.stride[0], "padding": int(layer.padding[0])}
        built = code.conv(layer.in_channels, layer.out_channels, **geometry, **settings)
    else:
        settings["layer"] = "fc" if x.dim() == 2 else "proj"
        built = code.linear(layer.in_features, layer.out_features, **settings)
    for name in ("weight", "bias"):
        setattr(built, name, getattr(layer, name))
    return built.eval()
