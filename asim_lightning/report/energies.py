"""Pictures of energies: by layer, for a report and for `asim cost`, and of the model against silicon."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from asim_lightning.cost.cost_report import CostReport
from asim_lightning.cost.cost_table import Layer, by_kind, energy, energy_unit, layer_table
from asim_lightning.cost.layer_cost import PARTS
from asim_lightning.cost.validation import Validation
from asim_lightning.evaluation.axis_settings import CORNER
from asim_lightning.evaluation.results import AxisValue, is_number
from asim_lightning.evaluation.run import Run, are_among
from asim_lightning.evaluation.target import Target
from asim_lightning.evaluation.worst_corner import dearest_corner
from asim_lightning.report.labels import legend_text
from asim_lightning.report.picture import BLACK, GREY, Axis, Mark, Picture, Series
from asim_lightning.report.verdict import choices, point_words
from asim_lightning.table import Table


def layers_table(run: Run, target: Target) -> Table[Layer] | None:
    """Costs of each layer at one point, with a note that says which; None if they are not known.

    It is the point of the verdict: the cheapest that keeps the target. If no point is known to keep it, they are the
    layers of all points if these share them, else the layers of the configured macro.
    """
    layers, axes = run.network_cost.get("layers", ()), dict[str, AxisValue]()
    whose = "on the macro that the settings have, whatever the values of axes"
    if len(run.designs) == 1:
        layers, axes = run.designs[0]["layers"], run.designs[0]["axes"]
        whose = f"on the macro of all points{', ' * bool(axes)}{legend_text(axes)}"
    elif run.designs and not run.yields:
        kept = [dearest_corner(each.best) for each in choices(run.decided(target)) if each.best is not None]
        if found := [each["layers"] for each in run.designs if kept and are_among(each["axes"], kept[-1].axes)]:
            layers, axes = found[0], dict(kept[-1].axes)
            whose = f"at the cheapest point that keeps {target}, {point_words(run, kept[-1])}"
        else:
            whose += f", as no point is known to keep {target}"
    if not layers:
        return None
    known = run.network_cost.get("technology", {})
    axes = {**run.corners.get(str(axes.get(CORNER)), {}), **axes}
    node, supply = (axes.get(f"technology.{name}", known.get(name, {}).get("value")) for name in ("node", "supply"))
    at = f", at {node:g} nm and {supply:g} V" if is_number(node) and is_number(supply) else ""
    return replace(layer_table(layers), title="Layers, one image", file="layers.csv", note=f"One image, {whose}{at}.")


def cost_pictures(report: CostReport) -> tuple[Picture, Picture]:
    """Energy of all layers together, and of each layer."""
    found = report.as_json()
    together = {**found["total"], "layer": f"as configured, {energy(report.energy.total)}"}
    whole = energy_picture([together], found["technology"], f"All layers, {report.technology}")
    unnamed = [replace(each, name="") for each in whole.series]  # the picture by layer has the same legend
    return replace(whole, series=unnamed), energy_picture(found["layers"], found["technology"], "By layer")


def energy_picture(layers: Sequence[Layer], technology: Mapping[str, Any], title: str) -> Picture:
    """A bar for each layer, or for each kind of many layers, split into its parts, and its products' energy in a
    digital macro. If the technology is known, as in cost.json, bars show the factor of both."""
    layers = by_kind(layers)
    unit, femtojoules = energy_unit(1e3 * max(layer["energy_pj"] for layer in layers))
    unit, places = unit.replace("u", "µ"), range(len(layers))

    def energies(part: str) -> list[float]:
        return [layer.get(f"{part}_pj", 0.0) / (1e-3 * femtojoules) for layer in layers]

    total, digital, all_digital = map(energies, ("energy", "digital", "all_digital"))
    series = []
    for style, (part, known) in enumerate(PARTS.items()):
        if any(x := energies(part)):
            texts = [
                f"{layer['layer']}\n{known.label} {value:.4g} {unit} of {whole:.4g} {unit}\n"
                f"{layer.get('conversions', 0):,} conversions"
                for layer, value, whole in zip(layers, x, total, strict=True)
            ]
            series.append(Series(known.label, x, places, form="bar", style=style, texts=texts))
    factor, of_digital, own = (technology.get(name, {}).get("value") for name in ("factor", "digital_factor", "adc_pj"))
    if factor and of_digital:
        exact = [0.0] * len(total) if own is None else energies("adc")  # an energy of the user's has no factor
        low, high = (
            [each + (whole - part - each) * analog + part * others
             for whole, part, each in zip(total, digital, exact, strict=True)]
            for analog, others in ((1 / factor, 1 / of_digital), (factor, of_digital))
        )  # fmt: skip
        name = f"typical error of the model: a factor of {factor:g} of analog, {of_digital:g} of digital parts"
        series.append(Series(name, total, places, left=low, right=high, colour=GREY, marker="none"))
    names = [str(layer["layer"]) for layer in layers]
    if all("all_digital_pj" in layer for layer in layers):
        texts = [f"{name}\nin a digital macro {x:.4g} {unit}" for name, x in zip(names, all_digital, strict=True)]
        series.append(Series("in a digital macro", all_digital, places, colour=BLACK, marker="star", texts=texts))
    return Picture(title, Axis(f"energy an image ({unit})"), Axis("", "names", names), series)


def validation_pictures(found: Validation) -> list[Picture]:
    """Energy of a column of each chip, its components, and its dependence on the supply."""
    chips = sorted((1e-3 * each.reported, 1e-3 * each.modelled, each.what) for each in found.chips)
    reported, modelled = [each[0] for each in chips], [each[1] for each in chips]
    ends = [0.5 * min(*reported, *modelled), 2.5 * max(*reported, *modelled)]
    line: dict[str, Any] = {"form": "line", "marker": "none"}
    factors = (("equal", 1.0, 0), (f"within {found.factor:g}", found.factor, 1), ("", 1 / found.factor, 1))
    bounds = [
        Series(name, ends, [factor * end for end in ends], colour=GREY, dashes=dashes, **line)
        for name, factor, dashes in factors
    ]
    scatter = Picture(
        "charge-redistribution macros",
        Axis("reported energy of a column (pJ)", "log"),
        Axis("modelled (pJ)", "log"),
        [*bounds, Series("", reported, modelled)],
        labels=[(x, y, str(number)) for number, (x, y, _) in enumerate(chips, 1)],
        note=", ".join(f"{number} {what}" for number, (*_, what) in enumerate(chips, 1)),
    )
    names = [f"{each.what.removeprefix('Jia 65 nm, ')}\n{each.note}".strip() for each in found.components]
    ratios = [each.ratio for each in found.components]
    parts = Picture(
        "Jia 65 nm, measured parts",
        Axis("model / measured", ends=(0.0, 1.25)),
        Axis("", "names", names),
        [Series("", ratios, range(len(ratios)), form="bar")],
        [Mark("x", 1.0, dashes=0, colour=BLACK)],
        labels=[(ratio, place, f"{ratio:.2f}") for place, ratio in enumerate(ratios)],
    )
    volts = [float(each.what.split()[-2]) for each in found.supplies]
    square = [1e-3 * each.modelled for each in found.supplies]
    low, high = [each / 1.3 for each in square], [each * 1.3 for each in square]
    supplies = Picture(
        "Wang 22 nm",
        Axis("supply (V)"),
        Axis("energy of a column (pJ)"),
        [
            Series("V² from the highest, within 1.3", volts, square, low, high, colour=GREY, **line),
            Series("reported", volts, [1e-3 * each.reported for each in found.supplies], style=1),
            Series("modelled", volts, [1e-3 * each.modelled for each in found.absolute], **line),
        ],
    )
    return [scatter, parts, supplies]
