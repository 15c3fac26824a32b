"""Data of layers on macros for some images: their inputs, the counts of their cycles, and their part of a chip."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from asim_lightning.classifier.batches import calibration_images_of
from asim_lightning.classifier.network import CimModule
from asim_lightning.engine.chips.effects import chip_tensors, converters_of, stuck_bits
from asim_lightning.engine.chips.saved_chip import SavedChip
from asim_lightning.evaluation.chip_layer import ChipLayer
from asim_lightning.evaluation.condition import Condition, under
from asim_lightning.nn import OnMacro
from asim_lightning.nn.count_histograms import LayerCounts, count_histograms
from asim_lightning.nn.inputs import Inputs, batch_size, moved, some_of
from asim_lightning.surgery import macro_layers


def needed_layers(model: CimModule, what: str) -> dict[str, OnMacro]:
    """The layers on macros, by full name; refuses a network without any, because `what` ("asim bench") needs one."""
    layers = macro_layers(model.backbone)
    if not layers:
        raise ValueError(
            f"{what} needs a network with layers on a macro, got one without; set `model.plan`, or call convert_"
        )
    return layers


@torch.no_grad()
def layer_inputs(model: CimModule, images: Inputs) -> dict[OnMacro, tuple[Tensor, ...]]:
    """The arguments of the first call of each called layer on a macro in the quantised network. An expert that a router
    sends no row has an input without rows."""
    found: dict[Any, tuple[Tensor, ...]] = {}

    def keep(layer: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        if arguments[0].numel():
            found.setdefault(layer, arguments)

    layers = macro_layers(model.backbone).values()
    with ExitStack() as hooks, under(model, Condition("quantized")):
        for layer in layers:
            hooks.enter_context(layer.register_forward_pre_hook(keep))
        model(moved(images, model.device))
    found |= {layer: (layer.without_rows,) for layer in layers if layer not in found and layer.without_rows is not None}
    return {layer: found[layer] for layer in layers if layer in found}


def layer_counts(
    model: CimModule, layers: Mapping[str, OnMacro], batches: Iterable[Inputs], most: int, kind: str
) -> tuple[dict[str, LayerCounts], str]:
    """Counts of layers of the quantised network for the first images, and the number of images in words.

    At most `most` images are used, and `kind` says if they are "training" or "test" images.
    """
    used = 0

    def first_images() -> Iterator[Inputs]:
        nonlocal used
        for batch in batches:
            images = moved(some_of(batch, slice(most - used)), model.device)
            used += batch_size(images)
            yield images
            if used >= most:
                return

    with under(model, Condition("quantized")):
        found = count_histograms(model, layers, first_images())
    return found, f"{used} {kind} images" + (f", all that there are (--images {most})" if used < most else "")


def training_counts(
    model: CimModule, layers: Mapping[str, OnMacro], data: Any, most: int
) -> tuple[dict[str, LayerCounts], str]:
    """Like `layer_counts`, for the training images of a data module, which must reach each layer."""
    found, images = layer_counts(model, layers, calibration_images_of(data, most), most, "training")
    missing = [name for name in layers if name not in found]
    if missing:
        raise ValueError(f"no training image reaches the layer {missing[0]}, so its counts are not known")
    return found, images


@torch.no_grad()
def chip_layers(model: CimModule, images: Inputs, chip: int | SavedChip) -> list[ChipLayer]:
    """Each layer on a macro as in a chip; the images only set the shapes in layers."""
    needed_layers(model, "asim chip")
    return [on_chip(layer, inputs, chip) for layer, inputs in layer_inputs(model, images).items()]


def differing_chip(model: CimModule, images: Inputs, chip: int | SavedChip) -> list[ChipLayer]:
    """`chip_layers` for the first image; refuses a network whose chips are all equal."""
    circuits = [layer.transfer for layer in needed_layers(model, "A table of a chip").values()]
    if not any(each.differs_by_chip or each.converters_differ for each in circuits):
        raise ValueError("No chip differs from another: set `static` of the macro, such as {offset: 0.3 lsb}")
    return chip_layers(model, some_of(images, slice(1)), chip)


def on_chip(layer: OnMacro, inputs: tuple[Tensor, ...], which: int | SavedChip) -> ChipLayer:
    """A layer's part of a chip; the inputs of its forward only set the shapes."""
    product, _, w = layer.product_on(*inputs)
    circuit, shape = layer.transfer, product.weight_shape(w)
    chip = layer.chip_of(which)
    found = converters_of(chip, product, circuit, shape)
    place, offset, gain, inl = torch.zeros(0, 4, dtype=torch.int64), None, None, None
    if found is not None:
        # shared macros also have converters of other layers; a converter's place is that of its first column
        used, first = np.unique(found.index, return_index=True)
        place = torch.stack(torch.unravel_index(torch.from_numpy(first), found.index.shape), 1)
        offset, gain = (None if values is None else values[used] for values in (found.offset, found.gain))
        inl = None if found.tables is None or found.curve is None else found.tables[found.curve[used]]
    stuck = stuck_bits(chip, product, circuit, shape)
    zeros, ones = (sum(int((held >> bit & 1).sum()) for bit in range(circuit.macro.weight_bits)) for held in stuck)
    return ChipLayer(
        name=layer.name, part=chip.layer, place=place, offset=offset, gain=gain, inl=inl,
        cells=shape.numel() * circuit.macro.weight_bits, stuck=(zeros, ones),
        cell_percent=circuit.column.cell_sigma, tensors=chip_tensors(chip, product, circuit, shape),
    )  # fmt: skip
