"""What a chip gives each layer of a network."""

import torch
from torch import Tensor

from asim_lightning.classifier.network import CimModule
from asim_lightning.engine.chips.effects import chip_tensors, converters_of, stuck_bits
from asim_lightning.engine.chips.saved_chip import SavedChip
from asim_lightning.evaluation.chip_layer import ChipLayer
from asim_lightning.evaluation.layer_inputs import layer_inputs, needed_layers
from asim_lightning.nn import OnMacro


@torch.no_grad()
def chip_layers(model: CimModule, images: Tensor, chip: int | SavedChip) -> list[ChipLayer]:
    """The layers on a macro that an image meets, as a chip has them; images only say which shapes layers meet.

    Raises:
        ValueError: No layer is on a macro.
    """
    needed_layers(model, "asim chip")
    return [_on_chip(layer, inputs, chip) for layer, inputs in layer_inputs(model, images).items()]


def _on_chip(layer: OnMacro, inputs: tuple[Tensor, ...], which: int | SavedChip) -> ChipLayer:
    product, _, w = layer.quantized_operands(*inputs)
    circuit, shape = layer.transfer, product.weight_shape(w)
    chip = layer.chip_of(which)
    found = converters_of(chip, product, circuit, shape)
    place, offset, gain, inl = torch.zeros(0, 4, dtype=torch.int64), None, None, None
    if found is not None:
        used, index = found.index.unique(return_inverse=True)  # of macros that layers share some are another layer's
        place = _first_places(index)
        offset, gain = (None if values is None else values[used] for values in (found.offset, found.gain))
        inl = None if found.tables is None or found.curve is None else found.tables[found.curve[used]]
    stuck = stuck_bits(chip, product, circuit, shape)
    zeros, ones = (sum(int((held >> bit & 1).sum()) for bit in range(circuit.macro.weight_bits)) for held in stuck)
    return ChipLayer(
        name=layer.name, part=chip.layer, place=place, offset=offset, gain=gain, inl=inl,
        cells=shape.numel() * circuit.macro.weight_bits, stuck=(zeros, ones),
        cell_percent=circuit.column.cell_sigma, tensors=chip_tensors(chip, product, circuit, shape),
    )  # fmt: skip


def _first_places(index: Tensor) -> Tensor:
    """Tile, group or head, output and weight bit of the first column of each converter, int64. # (converters, 4)"""
    columns, count = index.numel(), int(index.max()) + 1
    every = torch.arange(columns, device="cpu")
    first = torch.full((count,), columns, device="cpu").scatter_reduce(0, index.flatten(), every, "amin")
    return torch.stack(torch.unravel_index(first, index.shape), 1)
