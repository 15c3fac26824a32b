"""Recording the conversions of a layer while the simulated network runs."""

import copy
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from asim_lightning.circuit import MacroConfig
from asim_lightning.classifier.network import CimModule
from asim_lightning.engine import Product, SavedChip, Tile, Weights, noise_context
from asim_lightning.engine.chips.cells import GRID, Cells
from asim_lightning.engine.chips.places import Places
from asim_lightning.engine.product import Geometry
from asim_lightning.engine.program import Conversions, Tap
from asim_lightning.evaluation.condition import Condition, under
from asim_lightning.evaluation.layer_inputs import needed_layers, on_chip
from asim_lightning.nn import OnMacro
from asim_lightning.nn.inputs import Inputs, batch_size, moved
from asim_lightning.silicon.layer_vectors import Array, LayerVectors, digest_of
from asim_lightning.surgery import macro_layers


@dataclass(frozen=True)
class Chosen:
    """Which conversions of a layer.

    Attributes:
        layer: Full name of the layer.
        positions: Positions of an image; None: all.
        read: Number of the read: 0..65535.
        chip: Number of the chip: 0..2^32-1; None: the classifier's.
        ideal: Whether noise and static effects of all layers are left out.
    """

    layer: str
    positions: slice | None = None
    read: int = 0
    chip: int | None = None
    ideal: bool = False


class Axes:
    """Shapes of a layer's outputs, and the same values by group and position."""

    def __init__(self, product: Product, x: Tensor, w: Tensor) -> None:
        self.geometry: Geometry = product.geometry(x, w)
        self.batch = len(x)

    def by_group(self, values: Tensor) -> Tensor:
        """# (lead, batch, *outputs) to (lead, batch, groups, positions, outputs)"""
        g, lead = self.geometry, len(values)
        if g.is_image:
            return values.reshape(lead, self.batch, g.groups, g.outputs, g.windows).transpose(-1, -2)
        return values.reshape(lead, self.batch, g.groups, g.windows, g.outputs)

    def as_outputs(self, values: Tensor, shape: torch.Size) -> Tensor:
        """The inverse of `by_group`, in the shape (lead, batch, *outputs)."""
        return (values.transpose(-1, -2) if self.geometry.is_image else values).reshape(shape)

    def inputs(self, x: Tensor, tile: Tile) -> Tensor:
        """Integers on the rows of a tile. # (batch, groups, positions, rows), int32"""
        g = self.geometry
        if not g.is_image:
            return x.reshape(self.batch, g.groups, g.windows, g.channels)[..., tile.channels].int()
        terms = F.unfold(x.float(), g.kernel, g.dilation, g.padding, g.stride)
        terms = terms.view(self.batch, g.groups, g.channels, g.elements, g.windows)
        return terms[:, :, tile.channels, tile.kernel].flatten(2, 3).transpose(-1, -2).int()

    def weights(self, w: Tensor, tile: Tile) -> Tensor:
        """Values of a tile's cells, from values in the shape of the weights. # (groups, outputs, rows)"""
        held = self.geometry.held(w, tile)
        return held.reshape(self.geometry.groups, self.geometry.outputs, held.shape[-1])


class Recorder:
    """A tap that keeps counts and codes of the first call of a layer, at some positions. See `engine.program.Tap`.

    Attributes:
        found: Counts # (batch, groups, positions, outputs) and codes # (votes, batch, ...) by tile and cycle.
    """

    def __init__(self, layer: OnMacro, positions: slice | None) -> None:
        self.layer, self.positions = layer, positions
        self.calls = 0
        self.found: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}

    def called(self, layer: OnMacro, inputs: tuple[Tensor, ...]) -> None:
        """Keep the operands of the first call, before it."""
        self.calls += 1
        if self.calls > 1:
            return
        if layer.by_row:
            raise ValueError(f"`layer` must have rows that belong to images, got `{layer.name}`, an expert of a router")
        self.inputs = inputs
        self.product, self.x, self.w = layer.quantized_operands(*inputs)
        self.axes = Axes(self.product, self.x, self.w)
        count = self.axes.geometry.windows
        chosen = self.positions or slice(0, count)
        self.at = range(chosen.start, chosen.stop)
        if not self.at or self.at[0] < 0 or self.at[-1] >= count:
            given = f"{chosen.start}:{chosen.stop}"
            raise ValueError(f"`positions` must be some of 0:{count} in layer `{layer.name}`, got {given}")
        held = copy.deepcopy(layer)
        self.step, self.ranges = held.hold_ranges(*inputs)

    def __call__(self, made: Conversions) -> Tensor:
        """Keep counts and codes; the codes stay."""
        if self.calls == 1:
            at = slice(self.at.start, self.at.stop)
            kept = [self.axes.by_group(each)[..., at, :].double() for each in (made.count[None], made.codes)]
            self.found[made.tile, made.cycle] = kept[0][0], kept[1]
        return made.codes


def layer_of(model: CimModule, name: str | None) -> OnMacro:
    """A layer on a macro by its full name; refuses other names, and layers in floating point with the reason."""
    layers = needed_layers(model, "A layer's conversions")
    if name is not None and name in layers:
        if (coding := layers[name].macro.weight_coding) != "plain":
            raise ValueError(f"`macro.weight_coding` must be plain for vectors and codes of a layer, got {coding}")
        return layers[name]
    row = next((row for row in model.report if row.name == name), None)
    why = f"layer `{name}` is not on a macro ({row.why_kept})" if row is not None else f"got {name or 'none'!r}"
    raise ValueError(f"`layer` must be a layer on a macro, such as {next(iter(layers))}; {why}")


def chip_name(model: CimModule) -> int | str:
    """Number of a network's chip, or the file that it was read from."""
    return model.chip.path if isinstance(model.chip, SavedChip) else model.chip


@contextmanager
def conditions(model: CimModule, chosen: Chosen) -> Iterator[None]:
    """The simulated network with a read of a chip, or without noise and static effects.

    Raises:
        ValueError: A column has noise that no setting of the macro switches off.
    """
    with under(model, Condition("simulated", trial=chosen.read, chip=0 if chosen.ideal else chosen.chip)):
        for each in macro_layers(model.backbone).values() if chosen.ideal else ():
            each.macro = ideal_macro(each.macro)
            if any(each.transfer.noisy):
                raise ValueError(
                    f"`ideal` must be false with column {each.macro.column} of layer `{each.name}`, which has noise of "
                    "its own, got true"
                )
        yield


def ideal_macro(macro: MacroConfig) -> MacroConfig:
    """The macro without noise and without static effects; placement and shared converters stay."""
    static = replace(macro.static, offset=0.0, gain=0.0, inl=0.0, cell_mismatch=0.0, stuck_at_0=0.0, stuck_at_1=0.0)
    arguments = {name: value for name, value in macro.column_args.items() if name != "cell_sigma"}
    return macro.with_fields(random_noise=0.0, nonlinear_noise=0.0, static=static, column_args=arguments)


@torch.no_grad()
def layer_vectors(
    model: CimModule,
    images: Inputs,
    places: Sequence[int],
    chosen: Chosen,
    seed: int | None = None,
    ids: Sequence[int] | None = None,
) -> LayerVectors:
    """The conversions of the first call of a layer, in the simulated network.

    Args:
        model: The network.
        images: A batch of its inputs.
        places: Place of each of them in the data.
        chosen: The layer, and which of its conversions.
        seed: Seed of the noise; None: the network's.
        ids: Index of each image, which numbers its noise; None: its place.

    Raises:
        ValueError: The layer is not on a macro, the network does not call it, or an image has no such position.
    """
    layer, of_noise = layer_of(model, chosen.layer), model.noise_seed if seed is None else seed
    with ExitStack() as stack:
        stack.enter_context(conditions(model, chosen))
        recorder = Recorder(layer, chosen.positions)
        stack.enter_context(layer.register_forward_pre_hook(recorder.called))
        stack.enter_context(tapped(layer, recorder))
        stack.enter_context(noise_context(of_noise, model.trial, list(places if ids is None else ids), model.chip))
        model(moved(images, model.device))
        check_called(layer, recorder.calls)
        if batch_size(images) != recorder.axes.batch:
            raise ValueError(
                f"layer `{chosen.layer}` must have a row for each image, got {recorder.axes.batch} rows for "
                f"{batch_size(images)} images"
            )
        return _assembled(model, recorder, places, chosen)


def check_called(layer: OnMacro, calls: int) -> None:
    """Refuse a layer that the network does not call."""
    if not calls:
        raise ValueError(f"`layer` must be a layer that the network calls for these inputs, got `{layer.name}`")


@contextmanager
def tapped(layer: OnMacro, tap: Tap) -> Iterator[None]:
    """The layer with a tap."""
    layer.tap = tap
    try:
        yield
    finally:
        layer.tap = None


def _assembled(model: CimModule, recorder: Recorder, places: Sequence[int], chosen: Chosen) -> LayerVectors:
    layer, axes, product, at = recorder.layer, recorder.axes, recorder.product, list(recorder.at)
    circuit, chip = layer.transfer, layer.chip_of(model.chip)
    w, held = Weights(recorder.w).on_chip(chip, product, circuit).integers, None
    if circuit.column.cell_sigma:
        held = Cells(Places(chip, product, circuit, product.weight_shape(w)))
    contents = None if held is None else held.units.float() * GRID  # (weight bits, *weight)
    groups, tiles, arrays = axes.geometry.groups, axes.geometry.tiles(circuit.macro.rows), []
    every = range(len(places))
    for images in [range(each, each + 1) for each in every] if product.batched_weight else [every]:
        own = slice(images.start, images.stop)
        for number, tile in enumerate(tiles):
            inputs = axes.inputs(recorder.x, tile)[own, :, at]
            weights = axes.weights(w[images.start] if product.batched_weight else w, tile).int()
            cells = None if contents is None else torch.stack([axes.weights(bit, tile) for bit in contents], 1)
            gains = None if held is None else _gains(held, number, axes.geometry)
            found = [recorder.found[number, cycle] for cycle in range(len(circuit.cycles))]
            for group in range(groups):
                name = f"tile{number}" + (f"_group{group}" if groups > 1 else "")
                name = f"image{places[images.start]}_{name}" if product.batched_weight else name
                counts = torch.stack([count[own, group].flatten(0, 1) for count, _ in found], 1)
                codes = torch.cat([code[:, own, group].flatten(1, 2).transpose(0, 1) for _, code in found], 1)
                arrays.append(
                    Array(
                        name, number, group, images, weights[group], inputs[:, group].flatten(0, 1), counts, codes,
                        None if cells is None else cells[group],
                        None if gains is None else gains[:, group],
                    )
                )  # fmt: skip
    bias, factor = layer.held_bias, recorder.ranges
    if factor is not None:  # one for each row, or for each output of a row
        factor = factor.expand(*factor.shape[:-1], axes.geometry.outputs)
        factor = axes.by_group(factor[None])[0, :, :, at].transpose(1, 2).flatten(0, 1)
    return LayerVectors(
        layer.name, circuit, tuple(tiles), tuple(places), tuple(at), axes.geometry.windows, model.trial,
        chip_name(model), chosen.ideal, tuple(arrays),
        recorder.step, None if bias is None else bias.detach(), factor,
        on_chip(layer, recorder.inputs, model.chip),
        {"weights": digest_of(recorder.w), "inputs": digest_of(recorder.x)},
    )  # fmt: skip


def _gains(held: Cells, tile: int, geometry: Geometry) -> Tensor:
    """Factors of the counts of a tile's columns. # (weight bits, groups, outputs)"""
    shape = held.places.macro.weight_bits, geometry.groups, geometry.outputs
    if held.gains is None:
        return torch.ones(shape)
    return held.gains[tile].reshape(-1, *shape[1:]).expand(shape)
