"""Times of inference as tables for a terminal."""

from collections.abc import Sequence

from asim_lightning.evaluation.times import PROJECTED, InferenceTime, LayerTime
from asim_lightning.report.numbers import duration, milliseconds, rate
from asim_lightning.text_table import short, text_table

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
            milliseconds(each.repeats.median),
            milliseconds(each.repeats.fastest),
            short(each.images_per_second),
            rate(each.conversions_per_second),
            short(each.ratio),
            short(each.fastest_ratio),
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
            milliseconds(each.quantized.median),
            milliseconds(each.simulated.median),
            rate(each.conversions_per_second),
            f"{100 * each.share:.1f} %",
        )
        for each in times
    ]
    quantized, seconds = sum(t.quantized.median for t in times), sum(t.simulated.median for t in times)
    made = sum(t.conversions for t in times)
    total = (
        f"{len(times)} layers", "", "", "", "", f"{made:,}", milliseconds(quantized), milliseconds(seconds),
        rate(made * times[0].batch / seconds), f"{100 * sum(t.share for t in times):.1f} %",
    )  # fmt: skip
    return text_table([*headers, *rows, total], 2, "lllllrrrrr")


def _shape(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "1"
