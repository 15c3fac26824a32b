"""The commands that look at a converted network: what its plan does to it, and whether engines agree on its layers."""

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from asim_lightning.checks import check_whole
from asim_lightning.circuit import Transfer, explain
from asim_lightning.classifier import CimClassifier
from asim_lightning.cli.prepare import prepare
from asim_lightning.cli.start import Setup
from asim_lightning.cli.writable import check_folder
from asim_lightning.engine import ENGINES, choose, refusals
from asim_lightning.engine.native.library import why_missing
from asim_lightning.evaluation import Condition, under
from asim_lightning.nn import OnMacro
from asim_lightning.nn.verify import Verification
from asim_lightning.nn.verify import verify as verify_layer
from asim_lightning.report.measured_figure import draw_measured
from asim_lightning.surgery import macro_layers


def explain_macros(setup: Setup, plot: str | None = None, layer: str | None = None, images: int = 16) -> None:
    """What the plan does to the network, and the cycles of every macro.

    Args:
        setup: What it works with.
        plot: Folder for a page of what the ADC of a layer sees of some training images, and for the curve of each
            measured column; null: none.
        layer: Full name of that layer; null: the first one on a macro.
        images: Training images that it sees: 1 or more; all where there are fewer.
    """
    if plot is not None:
        from asim_lightning.cli.count_page import chosen_layer, write_page

        check_folder(Path(plot), "`plot`")  # before the work
        check_whole("`images`", images, 1)
        seen = chosen_layer(setup, layer)
    print(setup.model.report)
    kinds: dict[Any, list[str]] = {}
    for each, on_macro in macro_layers(setup.model.backbone).items():
        kinds.setdefault(on_macro.transfer, []).append(each)
    for circuit, names in kinds.items():
        signed = circuit.signed_input
        shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
        print(f"\n{len(names)} layers, {'signed' if signed else 'unsigned'} input: {shown}")
        print(explain(circuit.macro, signed, circuit.rows_in_use))
        print(engines_line(circuit, setup.trainer.strategy.root_device))
        if circuit.macro.static.is_reused:
            print(_places(circuit, names, macro_layers(setup.model.backbone)))
    if plot is not None:
        prepare(setup.trainer, setup.model, setup.data)
        print(f"\nplot     {write_page(setup, seen, Path(plot), images)}")
        drawn = draw_measured((circuit.column for circuit in kinds), Path(plot))
        for path in drawn if setup.trainer.is_global_zero else ():
            print(f"plot     {path}")


def verify(setup: Setup, samples: int = 2) -> None:
    """Compare all engines on the network's own layers and inputs, code by code.

    Args:
        setup: What it works with; the data's first test images are used.
        samples: Images to compare on: 1 or more; all of the first batch where it has fewer.

    Raises:
        SystemExit: With code 1, where a layer's engines differ.
    """
    prepare(setup.trainer, setup.model, setup.data)
    verifications, used = _verify_network(setup.model, setup.data, samples)
    for verification in verifications:
        print(f"{verification}\n")
    good = sum(verification.ok for verification in verifications)
    fewer = f", all of the first batch (--samples {samples})" if used < samples else ""
    print(f"{good} of {len(verifications)} layers agree on {used} test image{'s' if used > 1 else ''}{fewer}")
    if good < len(verifications):
        raise SystemExit(1)


def _verify_network(model: CimClassifier, data: Any, samples: int) -> tuple[list[Verification], int]:
    """Verify every layer that is on a macro, on the inputs that it gets from the first test images.

    Args:
        model: Converted classifier.
        data: Data module; its first test images are used.
        samples: Number of images.

    Returns:
        A verification for each layer, and how many images were used.

    Raises:
        ValueError: No layer is on a macro, or there is no sample.
    """
    layers = macro_layers(model.backbone)
    if not layers:
        raise ValueError("asim verify needs a network with layers on a macro, got one without; set `model.plan`")
    if samples < 1:
        raise ValueError(f"`samples` must be 1 or more, got {samples}")
    images = next(iter(data.test_dataloader()))[0][:samples]
    inputs: dict[nn.Module, tuple[Tensor, ...]] = {}

    def keep(layer: nn.Module, arguments: tuple[Any, ...]) -> None:
        inputs.setdefault(layer, arguments)

    hooks = [layer.register_forward_pre_hook(keep) for layer in layers.values()]
    try:
        with under(model, Condition("quantized")), torch.no_grad():
            model(images.to(model.device))
    finally:
        for hook in hooks:
            hook.remove()
    found = [
        verify_layer(layer, *inputs[layer], max_samples=samples, chip=model.chip)
        for layer in layers.values()
        if layer in inputs
    ]
    return found, len(images)


def engines_line(circuit: Transfer, device: torch.device) -> str:
    """Which engine computes a macro on a device, which others could, and why the rest cannot; a line more where there
    are no C++ kernels."""
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
