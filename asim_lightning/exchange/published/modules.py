"""Runs the layers of a checkout of the published simulator instead of ours in a network."""

import importlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from asim_lightning.circuit import StaticEffects
from asim_lightning.nn import CimConv2d, CimLinear, OnMacro

_FOLDERS = ("module", "tools")
"""Folders of the imported layers; they are not packages, and other code may have folders with these names."""


@dataclass(frozen=True)
class PublishedCode:
    """The two layers of a checkout of the published code."""

    conv: type[nn.Module]
    linear: type[nn.Module]


def load_published(checkout: str | Path) -> PublishedCode:
    """Import the layers of a checkout; other modules named `module` or `tools` stay as they are."""
    folder = Path(checkout).expanduser().resolve()
    before = {name: sys.modules.pop(name) for name in _imported()}
    for name in _FOLDERS:
        package = ModuleType(name)
        package.__path__ = [str(folder / name)]
        sys.modules[name] = package
    try:
        return PublishedCode(
            importlib.import_module("module.asim_conv").ASiMConv2d,
            importlib.import_module("module.asim_linear").ASiMLinear,
        )
    except ModuleNotFoundError as error:
        raise ValueError(
            f"{folder} is no checkout of the published code (github.com/Keio-CSG/ASiM): {error}"
        ) from error
    finally:
        for name in _imported():
            del sys.modules[name]
        sys.modules.update(before)


def _imported() -> list[str]:
    return [name for name in sys.modules if name.split(".")[0] in _FOLDERS]


def why_not(layer: OnMacro, x: Tensor) -> str:
    """Why the published code does not compute a layer for an input; empty if it does."""
    macro, conv = layer.macro, layer if isinstance(layer, CimConv2d) else None
    reasons = {
        "a product of two activations": not isinstance(layer, (CimConv2d, CimLinear)),
        "votes, weight-parallel conversion, static effects and other columns are extensions": macro.weight_parallel
        or (macro.column, macro.static) != ("charge", StaticEffects())
        or (macro.vote_levels > 0 and macro.votes > 1),
        "a range for each row": layer.input_range == "token",
        "an ADC with a range of its own": macro.adc_step is not None,
        "an ideal converter": macro.adc_bits is None or macro.adc_bits > 127,
        "a scale for each output channel": layer.per_channel,
        "a signed input with encoding": conv is not None and layer.signed_input and macro.encoding_bits > 1,
        "groups, dilation, or another kernel or padding than it takes": conv is not None and not _is_plain(conv),
        f"an input of {x.dim()} dimensions": conv is None and x.dim() not in (2, 3),
    }
    return next((why for why, holds in reasons.items() if holds), "")


def _is_plain(conv: CimConv2d) -> bool:
    """Whether a convolution is square, without groups or dilation, and its kernel fits the rows of its macro."""
    square = not isinstance(conv.padding, str) and all(
        len(set(pair)) == 1 for pair in (conv.kernel_size, conv.stride, conv.padding)
    )
    plain = conv.groups == 1 and conv.dilation == (1, 1) and conv.padding_mode == "zeros"
    return square and plain and conv.kernel_size[0] ** 2 <= conv.macro.rows


def published_layer(code: PublishedCode, layer: OnMacro, x: Tensor) -> nn.Module:
    """The published layer with geometry, parameters and macro of one of our layers (see `why_not`), in simulation."""
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


@contextmanager
def with_published(code: PublishedCode, layers: Mapping[str, OnMacro]) -> Iterator[dict[str, str]]:
    """Let the published layers answer instead of some of ours, while the context is open.

    A published layer scales its input by the largest value of the batch. To make it use our layer's stored range, its
    input is clipped to that range, and the batch gets one more sample at the end of the range.

    Args:
        code: The checkout.
        layers: Layers of the network, by name.

    Yields:
        Why a layer is still ours, by name; empty for a published one. Filled as layers run.
    """
    reasons: dict[str, str] = {}

    def published(name: str) -> Any:
        def answer(layer: Any, operands: tuple[Tensor, ...], ours: Tensor) -> Tensor:
            x = operands[0]
            reasons[name] = why_not(layer, x)
            if layer.macro.digital_levels and not layer.macro.digital_adc:  # this changes codes, but hardly the time
                reasons[name] = "digital cycles that do not pass the ADC"
            if reasons[name]:
                return ours
            largest = layer.stored_range()
            if largest is not None:
                x = torch.cat(
                    [x.clamp(-largest if layer.signed_input else 0, largest), largest.expand(1, *x.shape[1:])]
                )
            result: Tensor = published_layer(code, layer, x)(x)
            return result[: len(ours)]

        return answer

    with ExitStack() as hooks:
        for name, layer in layers.items():
            hooks.enter_context(layer.register_forward_hook(published(name)))
        yield reasons
