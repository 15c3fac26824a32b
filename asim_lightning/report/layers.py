"""Energy by layer as a picture, and whose layers a report shows."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from asim_lightning.cost.cost_table import LABELS as PARTS
from asim_lightning.evaluation.results import AxisValue, axis_text, is_number
from asim_lightning.evaluation.run import Run
from asim_lightning.evaluation.target import Target
from asim_lightning.report.axis_labels import head_of, legend_text
from asim_lightning.report.choices import choices, target_words
from asim_lightning.report.picture import Axis, Picture, Rows, Series
from asim_lightning.report.verdict import point_words

Layers: TypeAlias = Sequence[Mapping[str, Any]]
"""What each layer takes for one image, as in cost.json."""
_SHOWN = ("rows", "adc_bits", "encoding_bits")
"""Fields of the macro that the note names."""


def layers_shown(run: Run, target: Target) -> tuple[Layers, str]:
    """The layers that a report shows, and in words whose they are.

    They are those of the point that the verdict names, the cheapest that keeps the target. Where no point is known to
    keep it, they are those of all points if these share them, else those of the macro that the settings have.

    Args:
        run: The run.
        target: The accuracy to keep.

    Raises:
        ValueError: The run lacks what the target is a share of.
    """
    if len(run.designs) == 1:
        (design,) = run.designs
        axes = legend_text(design.axes)
        return design.layers, _words(run, f"on the macro of all points{f', {axes}' if axes else ''}", design.axes)
    best = None
    if run.designs and not run.yields and run.points:
        best = next((each.best for each in reversed(choices(run, target)) if each.best is not None), None)
    found = [] if best is None else [each for each in run.designs if each.is_of(best)]
    if best is not None and found:
        whose = f"at the cheapest point that keeps {target_words(target)}, {point_words(run, best)}"
        return found[0].layers, _words(run, whose, best.axes)
    why = f", as no point is known to keep {target_words(target)}" if run.designs and not run.yields else ""
    whose = f"on the macro that the settings have, whatever the values of axes{why}"
    return run.network_cost.get("layers", ()), _words(run, whose, {})


def layers_picture(run: Run, target: Target) -> Picture | None:
    """Energy by layer, split into its parts; None if it is not known.

    Args:
        run: The run.
        target: The accuracy to keep, which decides whose layers they are.

    Raises:
        ValueError: The run lacks what the target is a share of.
    """
    layers, note = layers_shown(run, target)
    if not layers:
        return None
    parts = [
        name
        for name in layers[0]
        if name.endswith("_pj") and name not in ("energy_pj", "all_digital_pj") and any(layer[name] for layer in layers)
    ]
    series = [
        Series(
            _name(part),
            [layer[part] / 1000 for layer in layers],
            range(len(layers)),
            form="bar",
            style=style,
            texts=[
                f"{layer['layer']}\n{_name(part)} {layer[part] / 1000:.4g} nJ of "
                f"{layer['energy_pj'] / 1000:.4g} nJ\n{layer.get('conversions', 0):,} conversions"
                for layer in layers
            ],
        )
        for style, part in enumerate(parts)
    ]
    names = [str(layer["layer"]) for layer in layers]
    x, y = Axis("energy an image (nJ)"), Axis("", "names", names)
    return Picture("Energy by layer", x, y, series, note=note, numbers=layer_numbers(layers), file="layers.csv")


def layer_numbers(layers: Layers) -> Rows:
    """All that is known of layers, and the share of the energy that each takes, 0..1; the head first.

    Args:
        layers: One or more.
    """
    total = sum(layer["energy_pj"] for layer in layers)
    rows: Rows = [[*layers[0], "energy_share"]]
    for layer in layers:
        rows.append([*(layer.get(name, "") for name in layers[0]), layer["energy_pj"] / total if total else ""])
    return rows


def _name(part: str) -> str:
    name = part.removesuffix("_pj")
    return PARTS.get(name, name.replace("_", " "))


def _words(run: Run, whose: str, axes: Mapping[str, AxisValue]) -> str:
    """Whose layers are shown, with what else of the macro and the technology matters most."""
    macro = run.commands[-1].macro if run.commands else {}
    fields = [name for name in _SHOWN if name in macro and name not in axes]  # those are in the words
    words = ", ".join(f"{head_of(name)} {axis_text(macro[name])}" for name in fields)
    technology = run.network_cost.get("technology", {})
    node, supply = (
        axes.get(f"technology.{name}", technology.get(name, {}).get("value")) for name in ("node", "supply")
    )
    at = f", at {node:g} nm and {supply:g} V" if is_number(node) and is_number(supply) else ""
    return f"One image, {whose}{f'; {words}' if words else ''}{at}."
