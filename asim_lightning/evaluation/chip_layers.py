"""What a chip gives each layer of a network."""

from dataclasses import replace

import torch
from torch import Tensor

from asim_lightning.classifier import CimClassifier
from asim_lightning.engine.chip import converters_of, held_stuck_bits, places_of
from asim_lightning.engine.chip_tensors import chip_tensors
from asim_lightning.engine.saved_chip import SavedChip
from asim_lightning.evaluation.chip_layer import ChipLayer
from asim_lightning.evaluation.layer_inputs import layer_inputs, needed_layers
from asim_lightning.nn import OnMacro


@torch.no_grad()
def chip_layers(model: CimClassifier, images: Tensor, chip: int | SavedChip) -> list[ChipLayer]:
    """The layers on a macro that an image meets, as a chip has them.

    Args:
        model: Converted classifier.
        images: Images, for the shapes that layers meet. # (batch, channels, height, width)
        chip: Number of the chip, or one from a file.

    Raises:
        ValueError: No layer is on a macro.
    """
    needed_layers(model, "asim chip")
    return [_on_chip(layer, inputs, chip) for layer, inputs in layer_inputs(model, images).items()]


def _on_chip(layer: OnMacro, inputs: tuple[Tensor, ...], which: int | SavedChip) -> ChipLayer:
    product, _, w = layer.quantized_operands(*inputs)
    circuit, shape = layer.transfer, w.shape[1:] if product.batched_weight else w.shape
    chip = replace(layer.chip_of(which), product=product)
    found = converters_of(chip, product, circuit, shape)
    columns, used, place = 0, torch.zeros(0, dtype=torch.int64), torch.zeros(0, 4, dtype=torch.int64)
    if found is not None:
        columns = found.index.numel()
        used, index = found.index.unique(return_inverse=True)  # of macros that layers share some are another layer's
        place = places_of(index)
    zeros, ones = (torch.zeros(shape, dtype=torch.int32) for _ in range(2))
    if circuit.macro.static.has_stuck_cells:
        zeros, ones = held_stuck_bits(chip, circuit, shape)
    return ChipLayer(
        name=layer.name, part=chip.layer, columns=columns, place=place,
        offset=None if found is None or found.offset is None else found.offset[used],
        gain=None if found is None or found.gain is None else found.gain[used],
        inl=None if found is None or found.tables is None or found.curve is None else found.tables[found.curve[used]],
        cells=shape.numel() * circuit.macro.weight_bits, stuck_at_0=zeros, stuck_at_1=ones,
        cell_percent=circuit.column.cell_sigma, tensors=chip_tensors(chip, product, circuit, shape),
    )  # fmt: skip
