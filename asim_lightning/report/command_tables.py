"""Tables that single commands print: times of inference, ranges of ADCs, presets, and fitted column models."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from itertools import zip_longest

from asim_lightning.bench.times import PROJECTED, InferenceTime, LayerTime
from asim_lightning.circuit import schedule
from asim_lightning.circuit.estimate import Estimate
from asim_lightning.circuit.model_fit import ModelFit
from asim_lightning.circuit.presets import preset, preset_names
from asim_lightning.cost.energy_model import EnergyModel
from asim_lightning.cost.technology import Technology
from asim_lightning.nn.count_histograms import AdcRange
from asim_lightning.report.labels import duration, milliseconds, rate
from asim_lightning.table import Table, TableColumn, short, text_table

TIMES_LEGEND = (
    "ratio: time over that of float32; rates and projected times: of the median repeat; conversions: all of the "
    "schedule,\nhowever an engine computes them"
)
_RANGES_LEGEND = (
    "step: counts an LSB; low: count of code 0; CSNR: variance of the counts over mean square error, a cycle\n"
    "counts with the square of its binary weight; clipped: share of counts outside the range after the fit, by bit "
    "position\n(weight bit + input digit), least significant first"
)
_CHIP, _DIFFERS = 30, 56
"""Characters in a line of a cell of the table of presets."""
_PRESETS_LEGEND = """asim explain -c CONFIG --model.plan.preset NAME explains one; a field next to it wins, as in
--model.plan.macro.random_noise "1.16 lsb". Each number has its source in configs/macro_NAME.yaml.
1b-TOPS/W: published operations of one bit by one bit a picojoule, two a product. By model: those of columns, ADCs
and drivers with all rows in use; asim cost adds shift-adds. The model is of charge columns."""
FIT_PARAMETERS = (
    ("alpha", "1/count", ".4g"),
    ("k", "", ".4g"),
    ("offset", "LSB", ".4g"),
    ("gain", "", ".6g"),
    ("random_noise", "%", ".4g"),
    ("nonlinear_noise", "%", ".4g"),
)
"""Parameters of a column model, their units, and their digits."""
_FIT_LEGEND = (
    "in brackets 95 % intervals, by observed information; noise in % of full scale; a smaller AIC predicts better"
)
_NETWORK: list[TableColumn[InferenceTime]] = [
    TableColumn("inference", lambda row: row.inference, side="l"),
    TableColumn("algorithm", lambda row: row.algorithm or "-", side="l"),
    TableColumn("engine", lambda row: row.engine, side="l"),
    TableColumn("ms,\nmedian", lambda row: milliseconds(row.repeats.median)),
    TableColumn("ms,\nfastest", lambda row: milliseconds(row.repeats.fastest)),
    TableColumn("images\n/s", lambda row: short(row.images_per_second)),
    TableColumn("conversions\n/s", lambda row: rate(row.conversions_per_second)),
    TableColumn("ratio,\nmedian", lambda row: short(row.ratio)),
    TableColumn("ratio,\nfastest", lambda row: short(row.fastest_ratio)),
]
_LAYERS: list[TableColumn[LayerTime]] = [
    TableColumn("layer", lambda row: row.name, side="l"),
    TableColumn("kind", lambda row: row.kind, side="l"),
    TableColumn("shape", lambda row: f"{_shape(row.input_shape)} -> {_shape(row.output_shape)}", side="l"),
    TableColumn("algorithm", lambda row: row.algorithm, side="l"),
    TableColumn("engine", lambda row: row.engine, side="l"),
    TableColumn("conversions\n/image", lambda row: f"{row.conversions:,}"),
    TableColumn("ms,\nquantized", lambda row: milliseconds(row.quantized.median)),
    TableColumn("ms,\nsimulated", lambda row: milliseconds(row.simulated.median)),
    TableColumn("conversions\n/s", lambda row: rate(row.conversions_per_second)),
    TableColumn("share of\nnetwork", lambda row: f"{100 * row.share:.1f} %"),
]
_RANGES: list[TableColumn[AdcRange]] = [
    TableColumn("layer", lambda row: row.name, side="l"),
    TableColumn("ADC\nbits", lambda row: row.adc_bits),
    TableColumn("step", lambda row: row.step),
    TableColumn("low", lambda row: row.low),
    TableColumn("CSNR (dB)\nbefore", lambda row: decibels(row.before)),
    TableColumn("after", lambda row: decibels(row.after)),
    TableColumn("clipped\n%", lambda row: _clipped(row.clipped), side="l"),
]


def network_table(times: Sequence[InferenceTime]) -> Table[InferenceTime]:
    """Times of one batch size: one row for each way to compute the network."""

    def projected(images: int) -> TableColumn[InferenceTime]:
        return TableColumn(f"{images:,}\nimages", lambda row: duration(row.projected(images)))

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


def preset_table() -> str:
    """All presets: chip and source, macro, efficiency as published and by the energy model, what differs."""
    heads = ["nm", "rows", "ADC bits", "bits a cycle", "noise", "1b-TOPS/W", "by model"]
    rows: list[Sequence[str]] = [("preset", "chip and source", *heads, "differs")]
    for name in preset_names():
        found = preset(name)
        macro = found.config()
        at_once = f"{macro.input_bits} x {macro.weight_bits}" if macro.weight_parallel else f"{macro.encoding_bits} x 1"
        cycle = schedule(macro, False)[0]
        products = macro.rows * len(cycle.weight_bits) * len(cycle.input_bits)
        modelled = 2e3 * products / EnergyModel(Technology(name)).conversion(macro, cycle).total
        numbers = [str(found.node), str(macro.rows), str(macro.adc_bits), at_once]
        numbers.append(str(found.macro.get("random_noise", "-")))
        numbers.append("-" if found.tops_per_watt is None else f"{found.tops_per_watt:,.0f}")
        numbers.append(f"{modelled:,.0f}" if "charge" in found.cell else "-")  # the model is of no other
        chip = [*textwrap.wrap(found.chip, _CHIP), *textwrap.wrap(found.source, _CHIP)]
        cells = [[name], chip, *([number] for number in numbers), textwrap.wrap(found.differs, _DIFFERS)]
        rows += zip_longest(*cells, fillvalue="")
    return f"{text_table(rows, 1, 'llrrrrrrrl')}\n\n{_PRESETS_LEGEND}"


def all_fits_table(fits: Mapping[int, ModelFit]) -> str:
    """Parameters of one model by converter."""
    (first, *_), rows = fits.values(), list[Sequence[str]]()
    used = [(name, unit, form) for name, unit, form in FIT_PARAMETERS if getattr(first, name) is not None]
    rows.append(("converter", *(name.replace("_", " ") + (f" ({unit})" if unit else "") for name, unit, _ in used)))
    for number, fit in fits.items():
        rows.append((str(number), *(f"{getattr(fit, name).value:{form}}" for name, _, form in used)))
    return text_table(rows, 1, "r" * len(rows[0]))


def fit_table(charge: ModelFit, other: ModelFit, own: float, own_aic: float) -> str:
    """Parameters and quality of two models, with a legend; `own` is the likelihood of each count by itself."""

    def shown(each: Estimate | None, form: str) -> str:
        return "-" if each is None else f"{each.value:{form}} [{each.low:{form}}, {each.high:{form}}]"

    rows: list[Sequence[str]] = [("", charge.model, other.model, "each count by itself")]
    for name, unit, form in FIT_PARAMETERS:
        if getattr(other, name) is None:
            continue
        label = name.replace("_", " ") + (f" ({unit})" if unit else "")
        rows.append((label, *(shown(getattr(fit, name), form) for fit in (charge, other)), "-"))
    rows.append(("log-likelihood", *(f"{each:.1f}" for each in (charge.log_likelihood, other.log_likelihood, own))))
    rows.append(("AIC", *(f"{each:.1f}" for each in (charge.aic, other.aic, own_aic))))
    return f"{text_table(rows, 1, 'llll')}\n\n{_FIT_LEGEND}"
