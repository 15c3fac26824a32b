"""`asim explain`, `asim macros` and `asim chip`: cycles of macros, published macros, and a chip in each layer."""

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save

from asim_lightning.checks import check_choice, check_whole
from asim_lightning.circuit import Transfer
from asim_lightning.cli.options import Drawing
from asim_lightning.cli.parser import AsimCLI
from asim_lightning.cli.weights import prepare
from asim_lightning.engine import ENGINES, SavedChip, choose, refusals
from asim_lightning.engine.explanation import explain
from asim_lightning.engine.native.library import why_missing
from asim_lightning.evaluation.layer_inputs import differing_chip, needed_layers, training_counts
from asim_lightning.nn import OnMacro
from asim_lightning.report.chip_report import chip_figure, chip_table
from asim_lightning.report.command_tables import preset_table
from asim_lightning.report.count_figure import count_figure
from asim_lightning.report.draw import save_figure
from asim_lightning.report.measured_figure import draw_curves, draw_measured
from asim_lightning.surgery import macro_layers
from asim_lightning.table import plural
from asim_lightning.whole_file import write_whole


@dataclass(frozen=True)
class ExplainOptions(Drawing):
    """What to draw."""

    plot: str | None = None
    """Folder for a page of the counts at the ADC of a layer, for some training images, for the curve of each measured
    column, and for curves of each column of yours or that depends on driven rows; null: none."""
    layer: str | None = None
    """Full name of that layer; null: the first one on a macro."""
    images: int = 16
    """Training images for its counts: 1 or more; all if there are fewer."""


def explain_macros(cli: AsimCLI, options: ExplainOptions) -> None:
    """Print the effect of the plan on the network, and the cycles of every macro."""
    if options.plot is not None:
        check_whole("`images`", options.images, 1)
        known = list(needed_layers(cli.model, "`plot`"))
        chosen = known[0] if options.layer is None else options.layer
        check_choice("`layer`", chosen, known)
    print(cli.model.report)
    layers = macro_layers(cli.model.backbone)
    circuits: dict[Transfer, list[str]] = {}
    for name, layer in layers.items():
        circuits.setdefault(layer.transfer, []).append(name)
    for circuit, names in circuits.items():
        sign = "signed" if circuit.signed_input else "unsigned"
        shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
        print(f"\n{plural(len(names), 'layer')}, {sign} input: {shown}")
        print(explain(circuit.macro, circuit.signed_input, circuit.rows_in_use))
        print(engines_line(circuit, cli.trainer.strategy.root_device))
        if circuit.macro.static.is_reused:
            print(_places(circuit, names, layers))
    if options.plot is not None:
        prepare(cli.trainer, cli.model, cli.datamodule)
        counts, seen = training_counts(cli.model, {chosen: layers[chosen]}, cli.datamodule, options.images)
        folder = Path(options.plot)
        path = save_figure(
            count_figure(chosen, counts[chosen], seen, options.width), options.paper.path(folder, chosen)
        )
        print(f"\nplot     {path}")
        for path in draw_measured((circuit.column for circuit in circuits), folder, options.paper):
            cli.say(f"plot     {path}")
        for path in draw_curves(circuits, folder, options.paper):
            cli.say(f"plot     {path}")


def engines_line(circuit: Transfer, device: torch.device) -> str:
    """The engine of a macro on a device, other possible engines, and why there are no others or no C++ kernels."""
    chosen, refused = choose(circuit, device), refusals(circuit, device)
    missing = why_missing() if device.type == "cpu" else None
    able = ", ".join(name for name in ENGINES if name != chosen and name not in refused)
    others = "; ".join(f"{name}: {why}" for name, why in refused.items() if why != missing)
    parts = [f"engine on {device.type}: {chosen}", able and f"also {able}", others and f"not {others}"]
    text = textwrap.fill("; ".join(part for part in parts if part), 120, subsequent_indent="    ")
    return f"{text}\nC++ kernels: none, so torch computes, many times slower. {missing}" if missing else text


def _places(circuit: Transfer, names: list[str], layers: Mapping[str, OnMacro]) -> str:
    """Which shared macros hold the tiles of layers."""
    count, shown = circuit.macro.static.macros or 1, names[:6]
    first = ", ".join(f"{name} from macro {layers[name].first_tile % count}" for name in shown)
    more = f" and {len(names) - 6} more layers" if len(names) > 6 else ""
    text = (
        f"placement: the tiles of all layers are given to the {count} macros in turn, layer after layer, tile after "
        f"tile, groups of a tile one after the other; output and weight bit to column (output * weight_bits + bit) mod "
        f"{circuit.macro.static.columns}; {first}{more}"
    )
    return textwrap.fill(text, 120, subsequent_indent="    ")


def macros() -> None:
    """Print all presets: chip and source, macro, efficiency as published and by the energy model, and what differs."""
    print(preset_table())


@dataclass(frozen=True)
class ChipOptions(Drawing):
    """Which chip to show."""

    chip: int | None = None
    """Number of the chip: 0..4294967295; null: the model's chip."""


def chip(cli: AsimCLI, options: ChipOptions) -> None:
    """Print the part of a chip in each layer: converters, stuck cells and cells, as a table, a picture and a file.

    The data's first test image sets the shapes in layers.
    """
    model = cli.model
    if options.chip is not None and isinstance(model.chip, SavedChip):
        raise ValueError(f"`chip` must be left out with `model.chip_file`, which is one chip, got {options.chip}")
    shown = model.chip if options.chip is None else options.chip
    if not isinstance(shown, SavedChip):
        check_whole("`chip`", shown, 0, 2**32 - 1)
    prepare(cli.trainer, model, cli.datamodule)
    layers = differing_chip(model, next(iter(cli.datamodule.test_dataloader()))[0], shown)
    print(f"{chip_table(layers)}\n")
    tensors = {f"{layer.part}/{kind}": values for layer in layers for kind, values in layer.tensors.items()}
    number = shown.digest if isinstance(shown, SavedChip) else str(shown)
    folder = cli.run_folder / f"chip-{number}"
    if tensors:  # empty if only a column or a table of INL differs by chip
        content = save(tensors, {"chip": number})
        write_whole(folder / "chip.safetensors", lambda file: file.write(content))
        print(f"numbers  {folder / 'chip.safetensors'}")
    title = f"chip {number}: {sum(layer.converters for layer in layers):,} converters"
    figure = chip_figure(layers, title, options.width)
    if figure is not None:
        print(f"picture  {save_figure(figure, options.paper.path(folder, 'chip'))}")
