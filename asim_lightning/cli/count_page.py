"""`asim explain --plot`: the page of what the ADC of a layer sees."""

from difflib import get_close_matches
from pathlib import Path

from asim_lightning.cli.adc_calibration import layer_counts
from asim_lightning.cli.start import Setup
from asim_lightning.engine.adc_range import overall, qualities
from asim_lightning.nn.count_histograms import LayerCounts
from asim_lightning.report.count_figure import CountPage, CycleCounts, plot_counts
from asim_lightning.report.range_table import decibels
from asim_lightning.surgery import macro_layers


def chosen_layer(setup: Setup, name: str | None) -> str:
    """Full name of the layer that is asked for; the first one on a macro where none is.

    Raises:
        ValueError: No layer is on a macro, or none has that name.
    """
    names = list(macro_layers(setup.model.backbone))
    if not names:
        raise ValueError("`plot` needs a network with layers on a macro, got one without; set `model.plan`")
    if name is not None and name not in names:
        near = get_close_matches(name, names, n=3, cutoff=0.3) or names[:3]
        raise ValueError(
            f"`layer` must be the full name of a layer on a macro, nearest: {', '.join(near)}; got {name!r}"
        )
    return name or names[0]


def write_page(setup: Setup, name: str, folder: Path, images: int) -> Path:
    """Write the page of a layer as a PNG named after it.

    Args:
        setup: What the command works with; the data is read.
        name: Full name of the layer.
        folder: Folder of the file.
        images: Training images; all where there are fewer.
    """
    layer = macro_layers(setup.model.backbone)[name]
    counts, seen = layer_counts(setup.model, {name: layer}, setup.data, images)
    folder.mkdir(parents=True, exist_ok=True)
    return plot_counts(_page(name, counts[name], seen), folder / f"{name}.png")


def _page(name: str, counts: LayerCounts, images: str) -> CountPage:
    circuit, macro = counts.circuit, counts.circuit.macro
    histograms = counts.histograms
    found = qualities(circuit, histograms)
    cycles = []
    for cycle, histogram, quality in zip(circuit.cycles, histograms, found, strict=True):
        has_codes = cycle.converted and cycle.top_code is not None
        low, high = -(cycle.top_code or 0) if cycle.signed else 0, cycle.top_code or 0
        cycles.append(
            CycleCounts(
                f"x{_bits(cycle.input_bits)} w{_bits(cycle.weight_bits)}",
                histogram.counts.numpy(),
                histogram.shares.numpy(),
                cycle.adc_low + cycle.counts_a_code * low if has_codes else None,
                cycle.adc_low + cycle.counts_a_code * high if has_codes else None,
                cycle.counts_a_code,
                quality.clipped,
                quality.wrong,
                quality.csnr,
            )
        )
    together = overall(circuit, found)
    converter = "an ideal converter" if macro.adc_bits is None else f"a {macro.adc_bits}-bit ADC over its full scale"
    if macro.adc_step is not None:
        converter = f"a {macro.adc_bits}-bit ADC from count {macro.adc_low} on, an LSB is {macro.adc_step}"
    text = (
        f"W{macro.weight_bits}A{macro.input_bits}, {macro.rows} rows, {converter}; random noise "
        f"{_noise(macro.random_noise)}, nonlinear noise {_noise(macro.nonlinear_noise)}. {images}, "
        f"{counts.conversions:,} counts in each cycle. All cycles, weighted with 4^shift: CSNR "
        f"{decibels(together.csnr)}{'' if decibels(together.csnr) == 'exact' else ' dB'}; on average "
        f"{100 * together.clipped:.2g} % of the counts are clipped, and P(wrong code) is {together.wrong:.1e}."
    )
    return CountPage(f"What the ADC of {name} sees", text, cycles, counts.rows, macro.rows)


def _noise(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g} %"


def _bits(bits: tuple[int, ...]) -> str:
    return str(bits[0]) if len(bits) == 1 else f"{bits[0]}-{bits[-1]}"
