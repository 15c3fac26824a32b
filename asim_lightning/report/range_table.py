"""ADC ranges of layers as a text table."""

import math
from collections.abc import Sequence

from asim_lightning.nn.count_histograms import AdcRange
from asim_lightning.text_table import text_table

_LEGEND = (
    "step: counts an LSB; low: count of code 0; CSNR: variance of the counts over mean square error, cycles weighted\n"
    "with 4^shift; clipped: share of counts outside the range after the fit, by diagonal (weight bit + input group), "
    "least\nsignificant first"
)


def range_table(rows: Sequence[AdcRange]) -> str:
    """Aligned table of ranges, with a legend; the text ends without a line break."""
    header = [["", "ADC", "", "", "CSNR (dB)", "", "clipped"], ["layer", "bits", "step", "low", "before", "after", "%"]]
    cells = [
        [
            row.name, str(row.adc_bits), str(row.step), str(row.low), decibels(row.before), decibels(row.after),
            _clipped(row.clipped),
        ]
        for row in rows
    ]  # fmt: skip
    return f"{text_table([*header, *cells], 2, 'lrrrrrl')}\n{_LEGEND}"


def decibels(value: float) -> str:
    """A CSNR; "exact" where nothing is lost."""
    return "exact" if value == math.inf else "-" if value == -math.inf else f"{value:.1f}"


def _clipped(shares: Sequence[float]) -> str:
    if not any(shares):
        return "0"
    return " ".join(
        "0" if not share else "<.01" if share < 5e-5 else f"{100 * share:.2g}".lstrip("0") for share in shares
    )
