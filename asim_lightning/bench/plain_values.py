"""Measurements of `asim bench` as plain values, for its JSON file."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from typing import Any

from asim_lightning.bench.images import BenchImages
from asim_lightning.bench.machine import Machine, versions
from asim_lightning.bench.times import PROJECTED, InferenceTime, LayerTime, Repeats
from asim_lightning.classifier import CimClassifier
from asim_lightning.engine import decision
from asim_lightning.surgery import macro_layers


def to_dict(
    model: CimClassifier,
    machine: Machine,
    images: BenchImages,
    times: Sequence[InferenceTime],
    layers: Sequence[LayerTime] = (),
) -> dict[str, Any]:
    """All measurements, and the machine that they were made on, as plain values."""
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": asdict(machine),
        "versions": versions(),
        "network": _network(model, images),
        "images": images.source,
        "macros": _macros(model),
        "inference": [_inference(each) for each in times],
        "layers": [_layer(each) for each in layers],
    }


def _network(model: CimClassifier, images: BenchImages) -> dict[str, Any]:
    backbone = dict(model.hparams["backbone"])
    return {
        **backbone,
        "classes": model.num_classes,
        "image_shape": list(images.shape),
        "layers_on_macro": len(model.report.on_macro),
        "input_range": model.plan.input_range,
    }


def _macros(model: CimClassifier) -> list[dict[str, Any]]:
    groups: dict[Any, list[str]] = {}
    for name, layer in macro_layers(model.backbone).items():
        groups.setdefault(layer.transfer, []).append(name)
    return [
        {
            **asdict(transfer.macro),
            "signed_input": transfer.signed_input,
            "algorithm": decision(transfer)[0],
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


def _repeats(repeats: Repeats) -> dict[str, Any]:
    return {
        "median_seconds": repeats.median,
        "fastest_seconds": repeats.fastest,
        "seconds": list(repeats.seconds),
    }
