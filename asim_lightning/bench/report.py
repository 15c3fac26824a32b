"""Times as tables for a terminal, and as plain values for JSON."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from typing import Any

from asim_lightning.bench.comparison import LayerComparison
from asim_lightning.bench.images import BenchImages
from asim_lightning.bench.layers import LayerTime
from asim_lightning.bench.machine import Machine, versions
from asim_lightning.bench.network import PROJECTED, InferenceTime
from asim_lightning.bench.timing import Repeats
from asim_lightning.circuit import algorithm
from asim_lightning.classifier import CimClassifier
from asim_lightning.surgery import macro_layers
from asim_lightning.text_table import text_table

LEGEND = (
    "ratio: time over that of float32; rates and projected times: of the median repeat; conversions: all of the "
    "schedule,\nhowever an engine computes them"
)


def network_table(times: Sequence[InferenceTime]) -> str:
    """Times of one batch size: one row for each way to compute the network."""
    headers = [
        ("", "", "", "ms,", "ms,", "images", "conversions", "ratio,", "ratio,", *(f"{n:,}" for n in PROJECTED)),
        ("inference", "algorithm", "engine", "median", "fastest", "/s", "/s", "median", "fastest", "images", "images"),
    ]
    rows = [
        (
            each.inference,
            each.algorithm or "-",
            each.engine,
            _ms(each.repeats.median),
            _ms(each.repeats.fastest),
            _short(each.images_per_second),
            _rate(each.conversions_per_second),
            _short(each.ratio),
            _short(each.fastest_ratio),
            *(duration(each.projected(images)) for images in PROJECTED),
        )
        for each in times
    ]
    return text_table([*headers, *rows], 2, "lllrrrrrrrr")


def layer_table(times: Sequence[LayerTime]) -> str:
    """Times of layers, one row each, and their sum."""
    headers = [
        ("", "", "", "", "", "conversions", "ms,", "ms,", "conversions", "share of"),
        ("layer", "kind", "shape", "algorithm", "engine", "/image", "quantized", "simulated", "/s", "network"),
    ]
    rows = [
        (
            each.name,
            each.kind,
            f"{_shape(each.input_shape)} -> {_shape(each.output_shape)}",
            each.algorithm,
            each.engine,
            f"{each.conversions:,}",
            _ms(each.quantized.median),
            _ms(each.simulated.median),
            _rate(each.conversions_per_second),
            f"{100 * each.share:.1f} %",
        )
        for each in times
    ]
    seconds, made = sum(t.simulated.median for t in times), sum(t.conversions for t in times)
    total = (
        f"{len(times)} layers", "", "", "", "", f"{made:,}", _ms(sum(t.quantized.median for t in times)), _ms(seconds),
        _rate(made * times[0].batch / seconds), f"{100 * sum(t.share for t in times):.1f} %",
    )  # fmt: skip
    return text_table([*headers, *rows, total], 2, "lllllrrrrr")


def comparison_table(found: Sequence[LayerComparison]) -> str:
    """Times of layers in this package and in the published code, one row each, and their sum."""
    header = ("layer", "engine", "ms", "published ms", "times faster", "")
    rows, both = [], []
    for each in found:
        if each.ours is None or each.published is None:
            rows.append((each.name, each.engine, "-", "-", "-", f"not computed there: {each.why_not}"))
        else:
            both.append((each.ours.median, each.published.median))
            rows.append((each.name, each.engine, *_compared(*both[-1]), ""))
    if both:
        ours, published = (sum(times) for times in zip(*both, strict=True))
        rows.append((f"{len(both)} layers", "", *_compared(ours, published), ""))
    return text_table([header, *rows], 1, "llrrrl")


def to_dict(
    model: CimClassifier,
    machine: Machine,
    images: BenchImages,
    times: Sequence[InferenceTime],
    layers: Sequence[LayerTime] = (),
    comparison: Sequence[LayerComparison] = (),
) -> dict[str, Any]:
    """Everything that was measured, and on what, as plain values."""
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": machine.to_dict(),
        "versions": versions(),
        "network": _network(model, images),
        "images": images.source,
        "macros": _macros(model),
        "inference": [_inference(each) for each in times],
        "layers": [_layer(each) for each in layers],
        "published": [_comparison(each) for each in comparison],
    }


def duration(seconds: float) -> str:
    """A time as people say it, such as "850 ms", "42.0 s", "5.3 min" or "2.1 h"."""
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    for unit, size, limit in (("s", 1, 120), ("min", 60, 7200)):
        if seconds < limit:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds / 3600:.1f} h"


def _network(model: CimClassifier, images: BenchImages) -> dict[str, Any]:
    backbone = dict(model.hparams["backbone"])
    return {
        **backbone,
        "classes": model.num_classes,
        "image_shape": list(images.shape),
        "layers_on_macro": len(model.report.on_macro),
        "input_range": model.hparams["plan"]["input_range"],
    }


def _macros(model: CimClassifier) -> list[dict[str, Any]]:
    groups: dict[Any, list[str]] = {}
    for name, layer in macro_layers(model.backbone).items():
        groups.setdefault(layer.transfer, []).append(name)
    return [
        {
            **asdict(transfer.macro),
            "signed_input": transfer.signed_input,
            "algorithm": str(algorithm(transfer)),
            "layers": names,
        }
        for transfer, names in groups.items()
    ]


def _inference(each: InferenceTime) -> dict[str, Any]:
    return {
        "inference": each.inference,
        "algorithm": each.algorithm or None,
        "engine": each.engine,
        "batch": each.batch,
        **_repeats(each.repeats),
        "images_per_second": each.images_per_second,
        "conversions_per_image": each.conversions,
        "conversions_per_second": each.conversions_per_second,
        "ratio_to_float32": each.ratio,
        "fastest_ratio_to_float32": each.fastest_ratio,
        "projected_seconds": {str(images): each.projected(images) for images in PROJECTED},
    }


def _layer(each: LayerTime) -> dict[str, Any]:
    return {
        "name": each.name,
        "kind": each.kind,
        "input_shape": list(each.input_shape),
        "output_shape": list(each.output_shape),
        "algorithm": each.algorithm,
        "engine": each.engine,
        "batch": each.batch,
        "conversions_per_image": each.conversions,
        "conversions_per_second": each.conversions_per_second,
        "quantized": _repeats(each.quantized),
        "simulated": _repeats(each.simulated),
        "share": each.share,
    }


def _comparison(each: LayerComparison) -> dict[str, Any]:
    return {
        "name": each.name,
        "engine": each.engine,
        "batch": each.batch,
        "ours": None if each.ours is None else _repeats(each.ours),
        "published": None if each.published is None else _repeats(each.published),
        "times_faster": each.times_faster,
        "why_not": each.why_not or None,
    }


def _repeats(repeats: Repeats) -> dict[str, Any]:
    return {
        "median_seconds": repeats.median,
        "fastest_seconds": repeats.fastest,
        "seconds": list(repeats.seconds),
    }


def _compared(ours: float, published: float) -> tuple[str, str, str]:
    return _ms(ours), _ms(published), _short(published / ours)


def _shape(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "1"


def _ms(seconds: float) -> str:
    return _short(1000 * seconds)


def _short(value: float) -> str:
    """Three figures, without exponent."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{value:.2e}".replace("e+0", "e").replace("e+", "e")
