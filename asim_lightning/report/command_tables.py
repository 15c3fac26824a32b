"""Tables that single commands print: times of inference, and ranges of ADCs."""

import math
from collections.abc import Sequence

from asim_lightning.evaluation.times import PROJECTED, InferenceTime, LayerTime
from asim_lightning.nn.count_histograms import AdcRange
from asim_lightning.report.labels import duration, milliseconds, rate
from asim_lightning.table import Column, Table, short

TIMES_LEGEND = (
    "ratio: time over that of float32; rates and projected times: of the median repeat; conversions: all of the "
    "schedule,\nhowever an engine computes them"
)
_RANGES_LEGEND = (
    "step: counts an LSB; low: count of code 0; CSNR: variance of the counts over mean square error, cycles weighted\n"
    "with 4^shift; clipped: share of counts outside the range after the fit, by diagonal (weight bit + input group), "
    "least\nsignificant first"
)
_NETWORK: list[Column[InferenceTime]] = [
    Column("inference", lambda row: row.inference, side="l"),
    Column("algorithm", lambda row: row.algorithm or "-", side="l"),
    Column("engine", lambda row: row.engine, side="l"),
    Column("ms,\nmedian", lambda row: milliseconds(row.repeats.median)),
    Column("ms,\nfastest", lambda row: milliseconds(row.repeats.fastest)),
    Column("images\n/s", lambda row: short(row.images_per_second)),
    Column("conversions\n/s", lambda row: rate(row.conversions_per_second)),
    Column("ratio,\nmedian", lambda row: short(row.ratio)),
    Column("ratio,\nfastest", lambda row: short(row.fastest_ratio)),
]
_LAYERS: list[Column[LayerTime]] = [
    Column("layer", lambda row: row.name, side="l"),
    Column("kind", lambda row: row.kind, side="l"),
    Column("shape", lambda row: f"{_shape(row.input_shape)} -> {_shape(row.output_shape)}", side="l"),
    Column("algorithm", lambda row: row.algorithm, side="l"),
    Column("engine", lambda row: row.engine, side="l"),
    Column("conversions\n/image", lambda row: f"{row.conversions:,}"),
    Column("ms,\nquantized", lambda row: milliseconds(row.quantized.median)),
    Column("ms,\nsimulated", lambda row: milliseconds(row.simulated.median)),
    Column("conversions\n/s", lambda row: rate(row.conversions_per_second)),
    Column("share of\nnetwork", lambda row: f"{100 * row.share:.1f} %"),
]
_RANGES: list[Column[AdcRange]] = [
    Column("layer", lambda row: row.name, side="l"),
    Column("ADC\nbits", lambda row: row.adc_bits),
    Column("step", lambda row: row.step),
    Column("low", lambda row: row.low),
    Column("CSNR (dB)\nbefore", lambda row: decibels(row.before)),
    Column("after", lambda row: decibels(row.after)),
    Column("clipped\n%", lambda row: _clipped(row.clipped), side="l"),
]


def network_table(times: Sequence[InferenceTime]) -> Table[InferenceTime]:
    """Times of one batch size: one row for each way to compute the network."""

    def projected(images: int) -> Column[InferenceTime]:
        return Column(f"{images:,}\nimages", lambda row: duration(row.projected(images)))

    return Table([*_NETWORK, *map(projected, PROJECTED)], times)


def layer_table(times: Sequence[LayerTime]) -> Table[LayerTime]:
    """Times of layers, one row each, and their sum."""
    quantized, seconds = sum(t.quantized.median for t in times), sum(t.simulated.median for t in times)
    made, share = sum(t.conversions for t in times), 100 * sum(t.share for t in times)
    total = (f"{made:,}", milliseconds(quantized), milliseconds(seconds), rate(made * times[0].batch / seconds))
    return Table(
        _LAYERS, times, last=(f"{len(times)} layer{'s' * (len(times) > 1)}", "", "", "", "", *total, f"{share:.1f} %")
    )


def _shape(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "1"


def range_table(rows: Sequence[AdcRange]) -> Table[AdcRange]:
    """Table of ranges, with a legend."""
    return Table(_RANGES, rows, _RANGES_LEGEND)


def decibels(value: float) -> str:
    """A CSNR; "exact" if nothing is lost."""
    return "exact" if value == math.inf else "-" if value == -math.inf else f"{value:.1f}"


def _clipped(shares: Sequence[float]) -> str:
    if not any(shares):
        return "0"
    return " ".join(
        "0" if not share else "<.01" if share < 5e-5 else f"{100 * share:.2g}".lstrip("0") for share in shares
    )
