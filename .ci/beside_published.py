"""Times layers of a recipe's network next to those of the code published with the ASiM paper, in one process.

python .ci/beside_published.py CHECKOUT RECIPE [FIELD=VALUE ...], such as ../ASiM resnet18_cifar10_sim random_noise=0.05

CHECKOUT is a folder of the published code, which is imported. Fields are those of the recipe's macro. Weights come from
the recipe's checkpoint, or are random if it has none; images are random. Each repeat takes new images, and times all
layers in this package and then all layers of the published code.
"""

import argparse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
import yaml
from torch import Tensor

from asim_lightning import CimClassifier
from asim_lightning.bench.images import BenchImages, random_images
from asim_lightning.bench.inference import seconds_of
from asim_lightning.engine import noise_context
from asim_lightning.evaluation.condition import Condition, under
from asim_lightning.exchange.published.modules import PublishedCode, load_published, published_layer, why_not
from asim_lightning.nn import OnMacro
from asim_lightning.report.labels import milliseconds
from asim_lightning.resources import shipped_file
from asim_lightning.surgery import change_macros_, macro_layers
from asim_lightning.table import short, text_table


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
