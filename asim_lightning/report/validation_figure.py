"""The energy model against silicon, as a figure."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from asim_lightning.cost.validation import Comparison, Validation
from asim_lightning.report.draw import new_figure

_DIGITAL, _DARK = "#B8B8B8", "#222222"


def validation_figure(found: Validation) -> Figure:
    """The model against silicon: energy of a column of each chip, components, and the fall with the supply."""
    figure = new_figure(13.0, 5.6)
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
