"""Figures of a cost: energy by layer and in all, beside the all-digital point; the energy model against silicon."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from asim_lightning.cost.cost_report import CostReport, energy_range
from asim_lightning.cost.cost_table import LABELS, PATTERNS, energy, energy_unit
from asim_lightning.cost.layer_cost import Energy
from asim_lightning.cost.validation import Comparison, Validation

_COLOURS = {
    "array": "#0072B2", "adc": "#D55E00", "drivers": "#E69F00", "shift_add": "#009E73", "digital": "#5B5B5B",
    "writes": "#CC79A7",
}  # fmt: skip
"""Apart for colour-blind readers, too."""
_DIGITAL, _DARK = "#B8B8B8", "#222222"
_NARROW, _WIDEST = 0.22, 24.0


def cost_figure(report: CostReport, title: str) -> Figure:
    """Bars of energy: in all beside the all-digital point, and by layer; each split into its parts.

    Whiskers are the factors within which the model knows analog and digital parts. A tick on a layer's bar is what its
    products would take in a digital macro.

    Args:
        report: The cost.
        title: Headline.
    """
    layers = report.layers
    figure = Figure(figsize=(min(_WIDEST, max(9.0, 5.0 + _NARROW * len(layers))), 6.0), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    whole, single = figure.subplots(1, 2, width_ratios=[1.0, max(2.2, 0.09 * len(layers))])
    unit, size = energy_unit(report.energy.total)
    parts = [part for part, value in report.energy.parts.items() if value]
    _stack(whole, 0, report.energy, parts, size)
    _whisker(whole, [0], [report.energy.total], [report.energy_range], size)
    whole.bar([1], [report.all_digital / size], color=_DIGITAL, edgecolor=_DARK, hatch="//", linewidth=0.6)
    _whisker(whole, [1], [report.all_digital], [report.all_digital_range], size)
    for place, value in enumerate((report.energy.total, report.all_digital)):
        whole.annotate(
            energy(value), (place, value / size), xytext=(6, 4), textcoords="offset points", fontsize=10, color=_DARK
        )
    whole.set_xticks([0, 1], ["as\nconfigured", "all\ndigital"])
    whole.set_xlim(-0.7, 1.9)
    whole.set_ylabel(f"energy an image ({unit})")
    whole.set_title("all layers", fontsize=11)
    places = list(range(len(layers)))
    unit, size = energy_unit(max((layer.energy.total for layer in layers), default=0.0))
    for place, layer in zip(places, layers, strict=True):
        _stack(single, place, layer.energy, parts, size, labelled=place == 0)
    ranges = [energy_range(layer.energy, report.technology) for layer in layers]
    _whisker(single, places, [layer.energy.total for layer in layers], ranges, size)
    digital = [layer.all_digital / size for layer in layers]
    single.hlines(
        digital, [p - 0.45 for p in places], [p + 0.45 for p in places], color=_DARK, linewidth=1.6, label="all digital"
    )
    single.set_xticks(places, [layer.name for layer in layers], rotation=90, fontsize=8 if len(layers) < 40 else 7)
    single.set_xlim(-0.8, len(layers) - 0.2)
    single.set_ylabel(f"energy an image ({unit})")
    t = report.technology
    single.set_title(f"by layer; whiskers: factor {t.factor:g} of analog, {t.digital_factor:g} of digital", fontsize=11)
    figure.legend(*single.get_legend_handles_labels(), loc="outside right upper", frameon=False, fontsize=9)
    for plot in (whole, single):
        plot.grid(axis="y", alpha=0.3)
        plot.set_ylim(bottom=0.0)
        plot.set_axisbelow(True)
    figure.suptitle(title, fontsize=13)
    return figure


def validation_figure(found: Validation) -> Figure:
    """The model against silicon: energy of a column of each chip, components, and the fall with the supply."""
    figure = Figure(figsize=(13.0, 5.6), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    chips, parts, supplies = figure.subplots(1, 3, width_ratios=[1.5, 1.0, 1.0])
    _scatter(chips, found.chips, found.factor)
    ticks = range(len(found.components))
    parts.barh(ticks, [each.ratio for each in found.components], color="#0072B2", height=0.6)
    names = [f"{each.what.removeprefix('Jia 65 nm, ')}\n{each.note}".strip() for each in found.components]
    parts.set_yticks(ticks, names, fontsize=8)
    parts.invert_yaxis()
    parts.axvline(1.0, color=_DARK, linewidth=1)
    for place, each in zip(ticks, found.components, strict=True):
        inside = {"textcoords": "offset points", "ha": "right", "va": "center", "color": "white"}
        parts.annotate(f"{each.ratio:.2f}", (each.ratio, place), xytext=(-4, 0), fontsize=8, **inside)  # type: ignore[arg-type]
    parts.set_xlim(0.0, 1.25)
    parts.set_xlabel("model / measured")
    parts.set_title("Jia 65 nm, measured parts", fontsize=11)
    volts = [float(each.what.split()[-2]) for each in found.supplies]
    measured = [1e-3 * each.reported for each in found.supplies]
    square = [1e-3 * each.modelled for each in found.supplies]
    supplies.fill_between(
        volts, [each / 1.3 for each in square], [each * 1.3 for each in square], color=_DIGITAL, alpha=0.5,
        label="within 30 % of it", linewidth=0,
    )  # fmt: skip
    supplies.plot(volts, square, color=_DARK, linestyle="--", linewidth=1, label="V$^2$ from the highest")
    supplies.plot(volts, measured, color="#D55E00", marker="o", linewidth=0, label="reported")
    model = [1e-3 * each.modelled for each in found.absolute]
    supplies.plot(volts, model, color="#0072B2", linewidth=1.5, label="modelled")
    supplies.set_ylim(bottom=0.0)
    supplies.set_xlabel("supply (V)")
    supplies.set_ylabel("energy of a column (pJ)")
    supplies.set_title("Wang 22 nm", fontsize=11)
    supplies.legend(loc="upper left", frameon=False, fontsize=9)
    for plot in (chips, parts, supplies):
        plot.grid(alpha=0.3)
        plot.set_axisbelow(True)
    figure.suptitle("energy model against published macros", fontsize=13)
    return figure


def _stack(plot: Axes, place: int, found: Energy, parts: Sequence[str], size: float, labelled: bool = False) -> None:
    bottom = 0.0
    for part in parts:
        height = found.parts[part] / size
        label = LABELS[part] if labelled else "_"
        plot.bar(
            [place], [height], bottom=bottom, color=_COLOURS[part], label=label, hatch=3 * PATTERNS[part],
            edgecolor="white", linewidth=0.3,
        )  # fmt: skip
        bottom += height


def _whisker(
    plot: Axes, places: Sequence[int], values: Sequence[float], ranges: Sequence[tuple[float, float]], size: float
) -> None:
    below = [(value - low) / size for value, (low, _) in zip(values, ranges, strict=True)]
    above = [(high - value) / size for value, (_, high) in zip(values, ranges, strict=True)]
    heights = [value / size for value in values]
    plot.errorbar(places, heights, [below, above], fmt="none", ecolor=_DARK, elinewidth=0.9, capsize=2)


def _scatter(plot: Axes, rows: Sequence[Comparison], factor: float) -> None:
    reported, modelled = [1e-3 * each.reported for each in rows], [1e-3 * each.modelled for each in rows]
    ends = [0.5 * min(*reported, *modelled), 2.5 * max(*reported, *modelled)]
    plot.fill_between(
        ends, [e / factor for e in ends], [e * factor for e in ends], color=_DIGITAL, alpha=0.5, linewidth=0,
        label=f"within {factor:g}",
    )  # fmt: skip
    plot.plot(ends, ends, color=_DARK, linewidth=1)
    plot.plot(reported, modelled, color="#0072B2", marker="o", linewidth=0, markersize=5)
    plot.set_xscale("log")
    plot.set_yscale("log")
    plot.set_xlim(*ends)
    plot.set_ylim(*ends)
    ordered = sorted(zip(reported, modelled, [each.what for each in rows], strict=True))
    key = "\n".join(f"{number + 1} {what}" for number, (_, _, what) in enumerate(ordered))
    for number, (x, y, _) in enumerate(ordered, 1):
        plot.annotate(str(number), (x, y), (3, 3), textcoords="offset points", fontsize=7)
    plot.text(0.02, 0.98, key, transform=plot.transAxes, fontsize=7, verticalalignment="top", linespacing=1.25)
    plot.set_xlabel("reported energy of a column (pJ)")
    plot.set_ylabel("modelled (pJ)")
    plot.set_title("charge-redistribution macros", fontsize=11)
    plot.legend(loc="lower right", frameon=False, fontsize=9)
