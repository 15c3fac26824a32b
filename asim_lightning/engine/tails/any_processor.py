"""Wrong conversions of converters that differ, in plain torch on a CPU."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from asim_lightning.engine.chips.converters import INL_PARTS, Converters, OutputConverters
from asim_lightning.engine.events.layout import Geometry
from asim_lightning.engine.integer import digits
from asim_lightning.engine.noise_source import Noise
from asim_lightning.engine.tails.kinds import TAIL_STEPS, Group, TailCycles, tails
from asim_lightning.engine.tails.tail_layout import TailLayout
from asim_lightning.engine.tails.tail_stream import candidates


def errors_of(
    cycles: TailCycles, layout: TailLayout, x: Tensor, w: Tensor, converters: Converters, inl: Tensor | None, key: int,
    noise: Noise,
) -> Tensor:  # fmt: skip
    """Sums of the errors of codes, in units of ``scale / divisor`` of an output.

    Args:
        cycles: The macro's cycles.
        layout: Layout of a row of the batch.
        x: Integers. # (batch, *inputs)
        w: Integers. # (*weight), or (batch, *weight)
        converters: Errors of the converters.
        inl: Bounds of their INL (`inl_bounds`); None: they have none.
        key: Key of the layer's tails.
        noise: Noise source.

    Returns:
        int64. # (batch, *outputs), flattened but for the batch
    """
    g = layout.geometry
    columns = layout.columns
    w = w.int().reshape(-1, columns, g.channels, g.kernel[0] * g.kernel[1])  # (matrices, columns, channels, elements)
    errors = torch.zeros(len(x), g.macros, g.macro_pixels, columns, dtype=torch.int64)
    for row, sample in enumerate(noise.sample_ids.tolist()):
        windows = _windows(g, x[row].int())  # (macros, pixels, channels, elements)
        for macro in range(g.macros):
            matrix = w[row * g.macros * bool(g.heads) + macro]
            for number in range(layout.blocks):
                pixels = slice(number * layout.block_pixels, (number + 1) * layout.block_pixels)
                block = int(noise.offsets[row]) * layout.blocks + number
                part = _Block(cycles, layout, windows[macro, pixels], matrix, macro, converters, inl)
                part.add((noise.seed, key), sample, block, noise.trial, errors[row, macro, pixels])
    return errors.transpose(-1, -2).flatten(1) if g.outputs_outermost else errors.flatten(1)


def _windows(g: Geometry, x: Tensor) -> Tensor:
    """Inputs that each pixel meets. # (macros, pixels, channels, elements)"""
    if not g.outputs_outermost:
        return x.reshape(g.macros, -1, g.channels, 1)
    padded = F.pad(x, (g.padding[1], g.padding[1], g.padding[0], g.padding[0]))
    spans = [g.dilation[axis] * (g.kernel[axis] - 1) + 1 for axis in (0, 1)]
    found = padded.unfold(1, spans[0], g.stride[0]).unfold(2, spans[1], g.stride[1])
    found = found[..., :: g.dilation[0], :: g.dilation[1]].flatten(3)  # (channels of all groups, down, right, elements)
    return found.unflatten(0, (g.groups, g.channels)).flatten(2, 3).transpose(1, 2)


@dataclass(frozen=True, eq=False)
class _Block:
    """A block of pixels of a group or head."""

    cycles: TailCycles
    layout: TailLayout
    x: Tensor  # (pixels, channels, elements)
    w: Tensor  # (columns, channels, elements)
    macro: int
    converters: Converters
    inl: Tensor | None

    def add(self, key: tuple[int, int], sample: int, block: int, trial: int, errors: Tensor) -> None:
        """Add the errors of wrong codes to `errors`, in place. # (pixels, columns)"""
        bits, columns = self.converters.index.shape[3], len(self.w)
        for number, tile in enumerate(self.layout.tiles):
            channels = slice(tile.channel_low, tile.channel_high)
            elements = slice(tile.element_low, tile.element_high)
            x, w = (each[:, channels, elements].flatten(1) for each in (self.x, self.w))
            for group in self.cycles.groups:
                plane = digits(w, (group.weight_bit,), False)
                counts = self._counts(group, x, plane)  # (pixels, cycles, columns)
                converter = self.converters.index[number, self.macro, :, group.weight_bit]
                rates = self._rates(group, x, plane.sum(1), converter)
                first = (group.kind * len(self.layout.tiles) + number) * self.converters.index.shape[1] + self.macro
                places = (first * bits + group.weight_bit) * columns + torch.arange(columns)
                end = len(x) * len(group.cycles)
                found = candidates(key, sample, block, trial, places, rates, end)
                self._convert(group, counts, converter, *found, errors)

    def _counts(self, group: Group, x: Tensor, plane: Tensor) -> Tensor:
        cycles = [self.cycles.transfer.cycles[number] for number in group.cycles]
        return torch.stack([digits(x, cycle.input_bits, False) @ plane.T for cycle in cycles], 1)

    def _rates(self, group: Group, x: Tensor, ones: Tensor, converter: Tensor) -> tuple[Tensor, Tensor]:
        """How often conversions are candidates, and the part of it above, float64. # (columns,) each"""
        kind, c, slack = self.cycles.kinds[group.kind], self.converters, torch.tensor(self.cycles.slack)
        inputs = [self.cycles.transfer.cycles[number].input_bits for number in group.cycles]
        most = max(float(digits(x, bits, False).sum(1).max()) for bits in inputs)
        count = (ones * max(2.0 ** len(bits) - 1 for bits in inputs)).clamp_max(most)
        gain = torch.ones(len(ones)) if c.gain is None else c.gain.float()[converter]
        offset = torch.zeros(len(ones)) if c.offset is None else c.offset.float()[converter]
        low, high, codes = torch.tensor([kind.low, kind.high, kind.codes])
        slope, a, b = (gain - 1.0) * (count * codes), gain * low, gain * high
        above = 0.5 - slack - (slope.clamp_min(0.0) + torch.maximum(a, b) + offset)
        below = 0.5 - slack + (slope.clamp_max(0.0) + torch.minimum(a, b) + offset)
        if self.inl is not None and c.curve is not None:
            part = min(INL_PARTS - 1, int(most * kind.codes * INL_PARTS / (self.cycles.top + 1)))
            above = above + self.inl[0, part, c.curve[converter]]
            below = below - self.inl[1, part, c.curve[converter]]
        if not kind.sigma:
            always = ((above < 0) | (below < 0)).double()
            return always, always
        table, scale = tails(), torch.tensor(float(TAIL_STEPS)) / torch.tensor(kind.sigma)
        up, down = (table[(each * scale).clamp(0.0, len(table) - 1.0).int()] for each in (above, below))
        return up + down, up

    def _convert(
        self, group: Group, counts: Tensor, converter: Tensor, which: Tensor, where: Tensor, normal: Tensor,
        errors: Tensor,
    ) -> None:  # fmt: skip
        """Make conversions `where` of the converters `which`, and add what is wrong of them. # (candidates,) each"""
        transfer, top, c = self.cycles.transfer, self.cycles.top, self.converters
        cycle = transfer.cycles[group.cycles[0]]
        pixel, number = where // len(group.cycles), where % len(group.cycles)
        count, own = counts[pixel, number, which], converter[which]
        level = transfer.column.level(count, cycle)
        inl = None if c.tables is None or c.curve is None else (c.curve[own], c.tables.float())
        gain, offset = (None if each is None else each.float()[own] for each in (c.gain, c.offset))
        adc = OutputConverters(gain, offset, inl)
        value = adc.level(level)
        if self.cycles.kinds[group.kind].sigma:
            value = value + transfer.column.sigma(count, cycle) * normal
        code = adc.moved(value.round().clamp(0, top), value, 0, top) - level.round().clamp(0, top)
        weights = [transfer.code_weight(transfer.cycles[n], None if transfer.noisy[n] else 1) for n in group.cycles]
        amount = code.long() * torch.tensor(weights)[number]
        errors.index_put_((pixel, which), amount, accumulate=True)
