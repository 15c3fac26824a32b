"""Wrong conversions in plain torch, on any device that has float64."""

from functools import lru_cache

import torch
from torch import Tensor

from asim_lightning.engine.events.layout import Geometry, Layout
from asim_lightning.engine.events.rates import Rates
from asim_lightning.engine.events.stream import candidates, gap_factor
from asim_lightning.engine.noise_source import Noise

CPU_ELEMENTS = 2**20
"""Draws, and rows of candidates, held at a time on a CPU."""
DEVICE_ELEMENTS = 2**24
"""Draws, and rows of candidates, held at a time on an accelerator."""


def with_errors(total: Tensor, rates: Rates, layout: Layout, x: Tensor, w: Tensor, key: int, noise: Noise) -> Tensor:
    """The exact outputs, plus the errors of the wrong conversions.

    Args:
        total: Exact outputs in counts, integers of any type. # (batch, *outputs)
        rates: Rates of the macro.
        layout: Layout of a row of the batch.
        x: Integers. # (batch, *inputs)
        w: Integers. # (*weight), or (batch, *weight) where the product says so
        key: Key of the layer's events.
        noise: Noise source.

    Returns:
        float64. # (batch, *outputs)
    """
    batch, device = len(x), x.device
    x, w = x.to(torch.int32).flatten(), w.to(torch.int32).flatten()
    errors = torch.zeros(batch * layout.positions, dtype=torch.int64, device=device)
    elements = CPU_ELEMENTS if device.type == "cpu" else DEVICE_ELEMENTS
    step = max(1, elements // max(layout.draws, default=1))
    tables = _tables(rates, layout, device)
    for low in range(0, batch * layout.blocks, step):
        unit = torch.arange(low, min(low + step, batch * layout.blocks), device=device)
        row, block = unit // layout.blocks, unit % layout.blocks
        first = block * layout.block_outputs
        outputs = (layout.positions - first).clamp(max=layout.block_outputs)
        numbers = noise.offsets[row] * layout.blocks + block
        for kind, draws in enumerate(layout.draws):
            per_output = len(layout.tiles) * len(rates.kinds[kind].cycles)
            factor, seeds = gap_factor(rates.kinds[kind].rate), (noise.seed, key)
            ids = noise.sample_ids[row]
            found = candidates(seeds, ids, numbers, noise.trial, kind, draws, factor, outputs * per_output)
            unit_number, place, chance = found
            output = first[unit_number] + place // per_output
            events = row[unit_number], output, place % per_output, chance
            few = max(1, elements // tables.tile_rows)
            for part in zip(*(column.split(few) for column in events), strict=True):
                _add(errors, tables, kind, x, w, *part)
    total = total.to(torch.float64)
    changed = (total.flatten() * rates.divisor + errors * rates.scale) / rates.divisor
    return torch.where(errors != 0, changed, total.flatten()).view(total.shape)


@lru_cache(maxsize=256)
def _tables(rates: Rates, layout: Layout, device: torch.device) -> "_Tables":
    return _Tables(rates, layout, device)


class _Tables:
    """Tables of rates and a layout on a device."""

    def __init__(self, rates: Rates, layout: Layout, device: torch.device) -> None:
        def integers(values: list[int]) -> Tensor:
            return torch.tensor(values, dtype=torch.int64, device=device)

        self.rates, self.layout = rates, layout
        cycles = rates.cycles
        self.cycles = [integers([*kind.cycles]) for kind in rates.kinds]
        self.errors = [kind.errors.to(device) for kind in rates.kinds]
        self.shares = [kind.shares.to(device) for kind in rates.kinds]
        self.weights = integers([*rates.weights])
        self.weight_bit = integers([cycle.weight_bits[0] for cycle in cycles])
        self.input_bit = integers([cycle.input_bits[0] for cycle in cycles])
        self.input_mask = integers([2 ** len(cycle.input_bits) - 1 for cycle in cycles])
        self.channel, self.element, self.used = (table.to(device) for table in _tile_rows(layout))
        self.tile_rows = self.used.shape[1]


def _tile_rows(layout: Layout) -> tuple[Tensor, Tensor, Tensor]:
    """Channel and kernel element of every row of every tile, and whether the tile has that row. # (tiles, rows) each"""
    rows = []
    for tile in layout.tiles:
        channels = torch.arange(tile.channel_low, tile.channel_high)
        rows.append(torch.cartesian_prod(channels, torch.arange(tile.element_low, tile.element_high)))
    pad = torch.nn.utils.rnn.pad_sequence
    padded = pad(rows, batch_first=True)  # (tiles, rows, 2)
    return padded[..., 0], padded[..., 1], pad([torch.ones(len(r), dtype=torch.bool) for r in rows], batch_first=True)


def _add(
    errors: Tensor, tables: _Tables, kind: int, x: Tensor, w: Tensor, row: Tensor, output: Tensor, place: Tensor,
    chance: Tensor,
) -> None:  # fmt: skip
    """Add the errors of candidates to `errors`, in place; all but the first five are (candidates,)."""
    cycles = tables.cycles[kind]
    tile, cycle = place // len(cycles), cycles[place % len(cycles)]
    count = _counts(tables, x, w, row, output, tile, cycle)
    shares = tables.shares[kind][count]
    which = (chance[:, None] >= shares).sum(1)
    amount = tables.errors[kind][which] * tables.weights[cycle]
    errors.index_add_(0, row * tables.layout.positions + output, amount)


def _counts(tables: _Tables, x: Tensor, w: Tensor, row: Tensor, output: Tensor, tile: Tensor, cycle: Tensor) -> Tensor:
    """Count of each conversion, from the inputs and weights of its tile's rows. # (candidates,)"""
    g = tables.layout.geometry
    channel, pixel = _channel_and_pixel(g, output)
    rows, elements, used = tables.channel[tile], tables.element[tile], tables.used[tile]  # (candidates, rows)
    down = (pixel // g.out_width * g.stride[0] - g.padding[0])[:, None] + elements // g.kernel[1] * g.dilation[0]
    right = (pixel % g.out_width * g.stride[1] - g.padding[1])[:, None] + elements % g.kernel[1] * g.dilation[1]
    inside = used & (down >= 0) & (down < g.height) & (right >= 0) & (right < g.width)
    from_x = _input_places(g, row, channel, rows, down * g.width + right).where(inside, 0)
    matrix = row * g.heads + pixel // g.head_rows if g.heads else torch.zeros_like(row)
    per_output = g.channels * g.kernel[0] * g.kernel[1]
    from_w = (matrix * g.outputs + channel)[:, None] * per_output + rows * (g.kernel[0] * g.kernel[1]) + elements
    x_digits = (x[from_x] >> tables.input_bit[cycle][:, None]) & tables.input_mask[cycle][:, None]
    w_digits = (w[from_w] >> tables.weight_bit[cycle][:, None]) & 1
    return (x_digits * w_digits * inside).sum(1)


def _channel_and_pixel(g: Geometry, output: Tensor) -> tuple[Tensor, Tensor]:
    """Output channel and pixel of outputs of a row."""
    outer, inner = output // g.inner, output % g.inner
    return (outer, inner) if g.outputs_outermost else (inner, outer)


def _input_places(g: Geometry, row: Tensor, channel: Tensor, rows: Tensor, pixels: Tensor) -> Tensor:
    """Indices into the flattened input for some channels (of the output channel's group) and pixels."""
    sample = row[:, None] * (g.groups * g.channels * g.height * g.width)
    if not g.outputs_outermost:
        return sample + pixels * g.channels + rows
    group = (channel // g.group_outputs)[:, None]
    return sample + (group * g.channels + rows) * (g.height * g.width) + pixels
