"""`asim explain`: what a plan does to a network, the cycles of every macro, and pictures of what an ADC sees."""

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import torch

from asim_lightning.checks import check_whole
from asim_lightning.circuit import Transfer, explain
from asim_lightning.cli.start import Drawing, Setup, prepare
from asim_lightning.engine import ENGINES, choose, refusals
from asim_lightning.engine.native.library import why_missing
from asim_lightning.evaluation.layer_inputs import needed_layers, training_counts
from asim_lightning.nn import OnMacro
from asim_lightning.surgery import macro_layers


@dataclass(frozen=True)
class ExplainOptions(Drawing):
    """What is drawn."""

    plot: str | None = None
    """Folder for a page of what the ADC of a layer sees of some training images, and for the curve of each measured
    column; null: none."""
    layer: str | None = None
    """Full name of that layer; null: the first one on a macro."""
    images: int = 16
    """Training images that it sees: 1 or more; all if there are fewer."""


def explain_macros(setup: Setup, options: ExplainOptions = ExplainOptions()) -> None:
    """What the plan does to the network, and the cycles of every macro."""
    if options.plot is not None:
        check_whole("`images`", options.images, 1)
        chosen = _chosen_layer(setup, options.layer)
    print(setup.model.report)
    layers = macro_layers(setup.model.backbone)
    kinds: dict[Transfer, list[str]] = {}
    for name, layer in layers.items():
        kinds.setdefault(layer.transfer, []).append(name)
    for circuit, names in kinds.items():
        sign = "signed" if circuit.signed_input else "unsigned"
        shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
        print(f"\n{len(names)} layers, {sign} input: {shown}")
        print(explain(circuit.macro, circuit.signed_input, circuit.rows_in_use))
        print(engines_line(circuit, setup.trainer.strategy.root_device))
        if circuit.macro.static.is_reused:
            print(_places(circuit, names, layers))
    if options.plot is not None:
        _draw(setup, chosen, Path(options.plot), options, list(kinds))


def _chosen_layer(setup: Setup, name: str | None) -> str:
    """Full name of the layer that is asked for; of none the first one on a macro."""
    names = list(needed_layers(setup.model, "`plot`"))
    if name is not None and name not in names:
        near = get_close_matches(name, names, n=3, cutoff=0.3) or names[:3]
        raise ValueError(
            f"`layer` must be the full name of a layer on a macro, nearest: {', '.join(near)}; got {name!r}"
        )
    return name or names[0]


def _draw(setup: Setup, name: str, folder: Path, options: ExplainOptions, circuits: list[Transfer]) -> None:
    """Write the page of a layer, and the curve of each measured column."""
    from asim_lightning.report.count_figure import count_page, plot_counts
    from asim_lightning.report.measured_figure import draw_measured

    prepare(setup.trainer, setup.model, setup.data)
    layers = {name: macro_layers(setup.model.backbone)[name]}
    counts, seen = training_counts(setup.model, layers, setup.data, options.images)
    page = count_page(name, counts[name], seen)
    print(f"\nplot     {plot_counts(page, folder / f'{name}.{options.format}')}")
    for path in draw_measured((circuit.column for circuit in circuits), folder, options.format):
        setup.say(f"plot     {path}")


def engines_line(circuit: Transfer, device: torch.device) -> str:
    """Which engine computes a macro on a device, which others could, and why the rest cannot; without C++ kernels also
    why there are none."""
    chosen, refused = choose(circuit, device), refusals(circuit, device)
    missing = why_missing() if device.type == "cpu" else None
    able = ", ".join(name for name in ENGINES if name != chosen and name not in refused)
    others = "; ".join(f"{name}: {why}" for name, why in refused.items() if why != missing)
    parts = [f"engine on {device.type}: {chosen}", able and f"also {able}", others and f"not {others}"]
    text = textwrap.fill("; ".join(part for part in parts if part), 120, subsequent_indent="    ")
    return f"{text}\nC++ kernels: none, so torch computes, many times slower. {missing}" if missing else text


def _places(circuit: Transfer, names: list[str], layers: Mapping[str, OnMacro]) -> str:
    """Which of the macros that layers share hold their tiles."""
    count, shown = circuit.macro.static.macros or 1, names[:6]
    first = ", ".join(f"{name} from macro {layers[name].first_tile % count}" for name in shown)
    more = f" and {len(names) - 6} more layers" if len(names) > 6 else ""
    text = (
        f"placement: the tiles of all layers are given to the {count} macros in turn, layer after layer, tile after "
        f"tile, groups of a tile one after the other; output and weight bit to column (output * weight_bits + bit) mod "
        f"{circuit.macro.static.columns}; {first}{more}"
    )
    return textwrap.fill(text, 120, subsequent_indent="    ")
