"""Energy by layer, as a figure of a report."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from asim_lightning.evaluation.results import axis_text
from asim_lightning.evaluation.run_results import RunResults
from asim_lightning.report.accuracy_figure import COLOURS
from asim_lightning.report.axis_labels import LABELS, head_of
from asim_lightning.report.drawing import Drawing, Rows, layout_of

_SHOWN = ("rows", "adc_bits", "encoding_bits")
"""Fields of the macro that the note names."""


def layer_drawing(run: RunResults) -> Drawing | None:
    """Energy by layer, split into its parts; None where it is not known."""
    layers: Sequence[Mapping[str, Any]] = run.network_cost.get("layers", ())
    if not layers:
        return None
    parts = [
        name
        for name in layers[0]
        if name.endswith("_pj") and name not in ("energy_pj", "all_digital_pj") and any(layer[name] for layer in layers)
    ]
    names = [escape(str(layer["layer"])) for layer in layers]
    traces = [
        {
            "type": "bar",
            "orientation": "h",
            "y": names,
            "x": [layer[part] / 1000 for layer in layers],
            "name": part.removesuffix("_pj").replace("_", " "),
            "marker": {"color": COLOURS[index % len(COLOURS)]},
            "hovertext": [
                f"{name}<br>{part.removesuffix('_pj').replace('_', ' ')} {layer[part] / 1000:.4g} nJ of "
                f"{layer['energy_pj'] / 1000:.4g} nJ<br>{layer.get('conversions', 0):,} conversions"
                for name, layer in zip(names, layers, strict=True)
            ],
            "hoverinfo": "text",
        }
        for index, part in enumerate(parts)
    ]
    layout = layout_of({"title": "energy an image (nJ)"}, {"autorange": "reversed", "automargin": True}, len(traces))
    layout["barmode"], layout["height"] = "stack", 160 + 22 * len(layers)
    numbers: Rows = [list(layers[0]), *([layer.get(name) for name in layers[0]] for layer in layers)]
    technology = run.network_cost.get("technology", {})
    node, supply = (technology.get(name, {}).get("value") for name in ("node", "supply"))
    macro = run.commands[-1].macro if run.commands else {}
    words = ", ".join(f"{head_of(name, LABELS)} {axis_text(macro[name])}" for name in _SHOWN if name in macro)
    note = (
        "One image, on the macro that the settings have, whatever the values of axes"
        f"{f': {words}' if words else ''}{f', at {node:g} nm and {supply:g} V' if node and supply else ''}."
    )
    return Drawing("Energy by layer", note, traces, layout, numbers, "layers.csv")
