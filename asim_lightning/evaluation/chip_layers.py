"""What a chip gives each layer of a network: its converters' errors, its stuck cells and the spread of its cells."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from asim_lightning.classifier import CimClassifier
from asim_lightning.engine.chip import Chip, converters_of, stuck_bits
from asim_lightning.evaluation.condition import Condition, under
from asim_lightning.nn import OnMacro
from asim_lightning.surgery import macro_layers


@dataclass(frozen=True, eq=False)
class ChipLayer:
    """A layer's part of a chip.

    Attributes:
        name: Full name of the layer.
        columns: Columns that it takes, over all tiles.
        place: Tile, group or head, output and weight bit of the first column of each converter. # (converters, 4)
        offset: Offset of each converter, LSB; None: none has one. # (converters,)
        gain: Gain of each converter; None: all are 1. # (converters,)
        inl: INL of each converter by nibbles of the code, LSB; None: none has any. # (converters, nibbles, 16)
        cells: Cells that hold its weights.
        stuck_at_0: Bits of each weight that are stuck at 0, int32. # (*weight)
        stuck_at_1: Bits of each weight that are stuck at 1, int32. # (*weight)
        cell_percent: Standard deviation of its cells, percent.
    """

    name: str
    columns: int
    place: Tensor
    offset: Tensor | None
    gain: Tensor | None
    inl: Tensor | None
    cells: int
    stuck_at_0: Tensor
    stuck_at_1: Tensor
    cell_percent: float

    @property
    def converters(self) -> int:
        """Number of converters."""
        return len(self.place)

    @property
    def largest_inl(self) -> Tensor | None:
        """Largest magnitude of each converter's INL over all codes, LSB. # (converters,)"""
        if self.inl is None:
            return None
        nibbles = self.inl.shape[1]
        most = torch.zeros(len(self.inl))
        for code in range(16 ** min(nibbles, 2)):  # what lies above two nibbles is added as it is at its largest
            at = sum((self.inl[:, n, code >> 4 * n & 15] for n in range(min(nibbles, 2))), torch.zeros(len(self.inl)))
            most = torch.maximum(most, at.abs())
        return most + sum((self.inl[:, n].abs().amax(1) for n in range(2, nibbles)), torch.zeros(len(self.inl)))

    def stuck(self) -> tuple[int, int]:
        """Number of cells that are stuck at 0, and at 1."""
        zeros, ones = (
            sum(int((mask >> bit & 1).sum()) for bit in range(16)) for mask in (self.stuck_at_0, self.stuck_at_1)
        )
        return zeros, ones


@torch.no_grad()
def chip_layers(model: CimClassifier, images: Tensor, number: int) -> list[ChipLayer]:
    """The layers on a macro that an image meets, as a chip has them.

    Args:
        model: Converted classifier.
        images: Images, for the shapes that layers meet. # (batch, channels, height, width)
        number: Number of the chip.

    Raises:
        ValueError: No layer is on a macro.
    """
    layers = macro_layers(model.backbone)
    if not layers:
        raise ValueError("asim chip needs a network with layers on a macro, got one without; set `model.plan`")
    inputs: dict[nn.Module, tuple[Tensor, ...]] = {}

    def keep(layer: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        inputs.setdefault(layer, arguments)

    hooks = [layer.register_forward_pre_hook(keep) for layer in layers.values()]
    try:
        with under(model, Condition("quantized")):
            model(images.to(model.device))
    finally:
        for hook in hooks:
            hook.remove()
    return [_on_chip(layer, inputs[layer], number) for layer in layers.values() if layer in inputs]


def _on_chip(layer: OnMacro, inputs: tuple[Tensor, ...], number: int) -> ChipLayer:
    product, _, w = layer.quantized_operands(*inputs)
    circuit, shape = layer.transfer, w.shape[1:] if product.batched_weight else w.shape
    chip = Chip(number, layer.name)
    found = converters_of(chip, product, circuit, shape)
    if found is None:
        columns, place = 0, torch.zeros(0, 4, dtype=torch.int64)
    else:
        columns, count = found.index.numel(), int(found.index.max()) + 1
        first = torch.full((count,), columns).scatter_reduce(0, found.index.flatten(), torch.arange(columns), "amin")
        place = torch.stack(torch.unravel_index(first, found.index.shape), 1)
    zeros, ones = (torch.zeros(shape, dtype=torch.int32) for _ in range(2))
    if circuit.macro.static.has_stuck_cells:
        zeros, ones = stuck_bits(chip, circuit, shape)
    return ChipLayer(
        name=layer.name, columns=columns, place=place,
        offset=None if found is None else found.offset,
        gain=None if found is None else found.gain,
        inl=None if found is None else found.tables,
        cells=shape.numel() * circuit.macro.weight_bits, stuck_at_0=zeros, stuck_at_1=ones,
        cell_percent=circuit.column.cell_sigma,
    )  # fmt: skip
