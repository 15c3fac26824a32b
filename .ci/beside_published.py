"""Times layers of a recipe's network next to those of the code published with the ASiM paper, in one process.

python .ci/beside_published.py CHECKOUT RECIPE [FIELD=VALUE ...], such as ../ASiM resnet18_cifar10_sim random_noise=0.05

CHECKOUT is a folder of the published code, which is imported. Fields are those of the recipe's macro. Weights come from
the recipe's checkpoint, or are random if it has none; images are random. Each repeat takes new images, and times all
layers in this package and then all layers of the published code.
"""

import argparse
import importlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from types import ModuleType
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from asim_lightning import CimClassifier
from asim_lightning.bench.images import BenchImages, random_images
from asim_lightning.bench.inference import seconds_of
from asim_lightning.engine import noise_context
from asim_lightning.evaluation import Condition, under
from asim_lightning.nn import CimConv2d, CimLinear, OnMacro
from asim_lightning.report.numbers import milliseconds
from asim_lightning.resources import shipped_file
from asim_lightning.surgery import change_macros_, macro_layers
from asim_lightning.table import short, text_table

_FOLDERS = ("module", "tools")
"""Folders that the layers are imported from; they are not packages, and other code may have folders of these names."""


@dataclass(frozen=True)
class PublishedCode:
    """The two layers of a checkout."""

    conv: type[nn.Module]
    linear: type[nn.Module]


@dataclass(frozen=True)
class Comparison:
    """One layer, simulated by this package and by the published code."""

    name: str
    engine: str
    ours: float | None
    """Median of the repeats, seconds a batch; None if the published code does not compute the layer."""
    published: float | None
    why_not: str
    """Why the published code does not compute the layer; empty if it does."""


def load_published(checkout: str | Path) -> PublishedCode:
    """Import the layers of a checkout; other modules named `module` or `tools` stay as they are."""
    with _importing(Path(checkout).expanduser().resolve()):
        return PublishedCode(
            importlib.import_module("module.asim_conv").ASiMConv2d,
            importlib.import_module("module.asim_linear").ASiMLinear,
        )


@contextmanager
def _importing(folder: Path) -> Iterator[None]:
    def mine() -> dict[str, Any]:
        return {name: module for name, module in sys.modules.items() if name.split(".")[0] in _FOLDERS}

    before = mine()
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
        for name in mine():
            del sys.modules[name]
        sys.modules.update(before)


def why_not(layer: OnMacro, x: Tensor) -> str:
    """Why the published code does not compute a layer for an input; empty if it does."""
    macro, conv = layer.macro, isinstance(layer, CimConv2d)
    if not isinstance(layer, (CimConv2d, CimLinear)):
        return "a product of two activations"
    if macro.weight_parallel or macro.column != "charge" or (macro.vote_levels and macro.votes > 1):
        return "votes, weight-parallel conversion and other columns are extensions"
    if macro.adc_step is not None:
        return "an ADC with a range of its own"
    if macro.adc_bits is None or macro.adc_bits > 127:
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


def compare(
    model: CimClassifier, code: PublishedCode, images: BenchImages, batch: int, repeats: int
) -> list[Comparison]:
    """Time every layer on a macro in both codes, on its input in the network; an untimed repeat comes first."""
    layers, device = macro_layers(model.backbone), model.device
    ours: dict[str, list[float]] = {}
    theirs: dict[str, list[float]] = {}
    reasons: dict[str, str] = {}
    for repeat in range(repeats + 1):
        x, _ = images.batch(repeat, batch, device)
        with torch.inference_mode(), under(model, Condition("quantized")), _inputs(layers) as inputs:
            model.backbone(x)
        reasons = {name: why_not(layers[name], operands[0]) for name, operands in inputs.items()}
        computed = {name: operands for name, operands in inputs.items() if not reasons[name]}
        with torch.inference_mode(), under(model, Condition("simulated")):
            # ours run after each other as in the network: after theirs, all caches would be cold
            for name, operands in computed.items():
                with noise_context(model.noise_seed, repeat, chip=model.chip):
                    seconds = seconds_of(lambda: layers[name](*operands), device)  # noqa: B023
                ours.setdefault(name, []).append(seconds)
            for name, operands in computed.items():
                layer = published_layer(code, layers[name], operands[0])
                theirs.setdefault(name, []).append(seconds_of(lambda: layer(operands[0]), device))  # noqa: B023

    def timed(seconds: Mapping[str, list[float]], name: str) -> float | None:
        return median(seconds[name][1:]) if name in seconds else None

    return [
        Comparison(name, layers[name].engine_on(device), timed(ours, name), timed(theirs, name), reason)
        for name, reason in reasons.items()
    ]


@contextmanager
def _inputs(layers: Mapping[str, OnMacro]) -> Iterator[dict[str, tuple[Tensor, ...]]]:
    """First input of each layer, by name."""
    inputs: dict[str, tuple[Tensor, ...]] = {}
    names = {layer: name for name, layer in layers.items()}

    def keep(layer: Any, arguments: tuple[Any, ...]) -> None:
        inputs.setdefault(names[layer], arguments)

    hooks = [layer.register_forward_pre_hook(keep) for layer in layers.values()]
    try:
        yield inputs
    finally:
        for hook in hooks:
            hook.remove()


def table(found: list[Comparison]) -> str:
    """One row a layer, and the sum of the layers that both compute."""
    rows, both = [], []
    for each in found:
        if each.ours is None or each.published is None:
            rows.append((each.name, each.engine, "-", "-", "-", f"not computed there: {each.why_not}"))
        else:
            both.append((each.ours, each.published))
            rows.append((each.name, each.engine, *_row(*both[-1]), ""))
    if both:
        ours, published = (sum(times) for times in zip(*both, strict=True))
        rows.append((f"{len(both)} layers", "", *_row(ours, published), ""))
    return text_table([("layer", "engine", "ms", "published ms", "times faster", ""), *rows], 1, "llrrrl")


def _row(ours: float, published: float) -> tuple[str, str, str]:
    return milliseconds(ours), milliseconds(published), short(published / ours)


def classifier(recipe: str, fields: Mapping[str, Any]) -> CimClassifier:
    """The converted network of a recipe, in evaluation."""
    settings = yaml.safe_load(shipped_file("configs", recipe).read_text(encoding="utf-8"))
    given, arguments = settings.get("ckpt_path"), settings["model"]
    if given is None:
        model = CimClassifier(**arguments)
    else:
        model = CimClassifier.load_from_checkpoint(shipped_file("checkpoints", given), **arguments)
    change_macros_(model.backbone, **fields)
    return model.eval()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout")
    parser.add_argument("recipe")
    parser.add_argument("field", nargs="*", help="FIELD=VALUE of the macro")
    parser.add_argument("--batch", type=int, default=1, help="images at a time")
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    code = load_published(given.checkout)
    model = classifier(
        given.recipe, {k: yaml.safe_load(v) for k, _, v in (each.partition("=") for each in given.field)}
    )
    images = random_images(model, None, given.batch * (given.repeats + 1), "this script takes")
    model.calibrate([images.images[: given.batch]])
    print(table(compare(model, code, images, given.batch, given.repeats)))


if __name__ == "__main__":
    main()
