"""Wrong conversions in plain torch, on any device that has float64."""

from functools import lru_cache

import torch
from torch import Tensor

from asim_lightning.engine.noise_source import Noise
from asim_lightning.engine.rare.layout import Layout
from asim_lightning.engine.rare.margins import Apart
from asim_lightning.engine.rare.rates import Rates
from asim_lightning.engine.rare.stream import (
    Blocks,
    Runs,
    all_of,
    candidates,
    candidates_apart,
    gap_factor,
    normal_above,
)
from asim_lightning.engine.stored_weights import StoredBits

CPU_ELEMENTS = 2**20
"""Most draws, and most rows of candidates, in memory on a CPU."""
DEVICE_ELEMENTS = 2**24
"""Most draws, and most rows of candidates, in memory on an accelerator."""


def with_errors(
    total: Tensor, rates: Rates, layout: Layout, x: Tensor, stored: StoredBits, key: int, noise: Noise,
    apart: Apart | None = None,
) -> Tensor:  # fmt: skip
    """The exact outputs, plus the errors of the wrong conversions.

    Args:
        total: Exact outputs in counts, integers of any type. # (batch, *outputs)
        x: Integers. # (batch, *inputs)
        stored: Bits of the weights.
        key: Key of the layer's events.
        apart: Converters that differ; None if all are equal.

    Returns:
        float64. # (batch, *outputs)
    """
    batch, device = len(x), x.device
    x, w = x.to(torch.int32).flatten(), stored.weights.integers.to(torch.int32).flatten()
    flips = None if stored.flips is None else stored.flips.view(-1, len(layout.tiles))
    errors = torch.zeros(batch * layout.geometry.positions, dtype=torch.int64, device=device)
    elements = CPU_ELEMENTS if device.type == "cpu" else DEVICE_ELEMENTS
    tables = _tables(rates, layout, device)
    of_block = layout.block_outputs * tables.converters if apart else max(layout.draws, default=1)
    step = max(1, elements // of_block)
    for low in range(0, batch * layout.blocks, step):
        unit = torch.arange(low, min(low + step, batch * layout.blocks), device=device)
        row, block = unit // layout.blocks, unit % layout.blocks
        blocks = Blocks(
            (noise.seed, key), noise.trial, noise.sample_ids[row], noise.offsets[row] * layout.blocks + block
        )
        for kind in range(len(rates.kinds)):
            found = _found(tables, kind, blocks, block * layout.block_outputs, apart)
            chosen = row[found[0]], *found[1:]
            few = max(1, elements // tables.tile_rows)
            for part in zip(*(column.split(few) for column in chosen), strict=True):
                _add(errors, tables, kind, (x, w, flips), apart, *part)
    total = total.to(torch.float64)
    scale, divisor = rates.transfer.scale, rates.transfer.divisor
    changed = (total.flatten() * divisor + errors * scale) / divisor
    return torch.where(errors != 0, changed, total.flatten()).view(total.shape)


def _found(
    tables: "_Tables", kind: int, blocks: Blocks, first: Tensor, apart: Apart | None
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Candidates of blocks: block, output, tile, cycle, and second uniform. # (candidates,) each"""
    layout, own = tables.layout, tables.rates.kinds[kind]
    number = (layout.geometry.positions - first).clamp(max=layout.block_outputs)  # outputs of each block
    if apart is None or own.margins is None:
        per_output, per_tile = len(layout.tiles) * len(own.cycles), len(own.cycles)
        found = candidates(blocks, kind, layout.draws[kind], gap_factor(own.rate), number * per_output)
        block, place, chance = found
        rest = place % per_output
        cycle = tables.cycles[kind][rest % per_tile]
        return block, first[block] + place // per_output, rest // per_tile, cycle, chance
    bits, number_of = len(own.margins.of_bits), torch.tensor(own.margins.of_bits, device=first.device)
    run, lengths = _runs(layout, first, number)
    hazards = apart.rates.hazards[kind].to(first.device)
    runs = Runs(hazards, number_of.repeat(len(layout.tiles)), _column(layout, run), lengths)
    draws = candidates_apart(blocks, kind, runs) if own.margins.sigma else all_of(runs)
    block, which_run, which, turn, chance = draws
    bit, output = which % bits, run[block, which_run] + turn // number_of[which % bits]
    cycle = tables.cycles[kind][(number_of.cumsum(0) - number_of)[bit] + turn % number_of[bit]]
    return block, output, which // bits, cycle, chance


def _runs(layout: Layout, first: Tensor, number: Tensor) -> tuple[Tensor, Tensor]:
    """First output and outputs of each run of one column in blocks. # (blocks, runs of a block) each"""
    inner = layout.inner if layout.geometry.is_image else 1
    most = min(layout.block_outputs, (layout.block_outputs - 2) // inner + 2)
    column = (first // inner)[:, None] + torch.arange(most, device=first.device)
    low, end = torch.maximum(first[:, None], column * inner), (first + number)[:, None]
    lengths = (torch.minimum(end, (column + 1) * inner) - low).clamp_min(0)
    return low.clamp(max=layout.geometry.positions - 1), lengths


class _Tables:
    """Tables of rates and a layout on a device."""

    def __init__(self, rates: Rates, layout: Layout, device: torch.device) -> None:
        def integers(values: list[int]) -> Tensor:
            return torch.tensor(values, dtype=torch.int64, device=device)

        self.rates, self.layout = rates, layout
        cycles = rates.transfer.cycles
        self.cycles = [integers([*kind.cycles]) for kind in rates.kinds]
        self.errors = [kind.errors.to(device) for kind in rates.kinds]
        self.shares = [kind.shares.to(device) for kind in rates.kinds]
        self.weights = integers([*rates.weights])
        self.weight_bit = integers([cycle.weight_bits[0] for cycle in cycles])
        self.input_bit = integers([cycle.input_bits[0] for cycle in cycles])
        self.input_mask = integers([2 ** len(cycle.input_bits) - 1 for cycle in cycles])
        self.channel, self.element, self.used = (table.to(device) for table in _tile_rows(layout))
        self.tile_rows = self.used.shape[1]
        self.converters = len(layout.tiles) * rates.transfer.macro.weight_bits


_tables = lru_cache(maxsize=256)(_Tables)


def _tile_rows(layout: Layout) -> tuple[Tensor, Tensor, Tensor]:
    """Channel and kernel element of every row of every tile, and whether the row exists. # (tiles, rows) each"""
    rows = []
    for tile in layout.tiles:
        ranges = (torch.arange(part.start, part.stop) for part in (tile.channels, tile.kernel))
        rows.append(torch.cartesian_prod(*ranges))
    pad = torch.nn.utils.rnn.pad_sequence
    padded = pad(rows, batch_first=True)  # (tiles, rows, 2)
    return padded[..., 0], padded[..., 1], pad([torch.ones(len(r), dtype=torch.bool) for r in rows], batch_first=True)


def _add(
    errors: Tensor, tables: _Tables, kind: int, operands: tuple[Tensor, Tensor, Tensor | None], apart: Apart | None,
    row: Tensor, output: Tensor, tile: Tensor, cycle: Tensor, chance: Tensor,
) -> None:  # fmt: skip
    """Add the errors of candidates to `errors`, in place; arguments from `row` on are (candidates,)."""
    x, w, flips = operands
    count = _counts(tables, x, w, row, output, tile, cycle)
    if apart is None:
        which = (chance[:, None] >= tables.shares[kind][count]).sum(1)
        error = tables.errors[kind][which]
    else:
        error = _converted(tables, kind, apart, output, tile, cycle, count, chance)
    if flips is not None:
        own = flips[_column_of_operand(tables.layout, row, output), tile]
        error = torch.where(own >> tables.weight_bit[cycle] & 1 > 0, -error, error)
    errors.index_add_(0, row * tables.layout.geometry.positions + output, error * tables.weights[cycle])


def _converted(
    tables: _Tables, kind: int, apart: Apart, output: Tensor, tile: Tensor,
    cycle: Tensor, count: Tensor, chance: Tensor,
) -> Tensor:  # fmt: skip
    """Errors of candidates' codes, each converted like any other conversion. # (candidates,)"""
    transfer, column, bit = tables.rates.transfer, _column(tables.layout, output), tables.weight_bit[cycle]
    alike, top = transfer.cycles[tables.rates.kinds[kind].cycles[0]], transfer.macro.top_code or 1
    place = column, tile * transfer.macro.weight_bits + bit
    adc = apart.converters.at(apart.converters.index.flatten(1, 2).to(column.device)[tile, column, bit])
    level = transfer.column.level(count.float(), alike)
    value = adc.level(level)
    if transfer.noisy[tables.rates.kinds[kind].cycles[0]]:
        rate, above = apart.rates.rates[kind, ..., :2].to(column.device)[place].double().unbind(-1)
        part = chance * rate
        normal = normal_above(torch.where(part < above, part, part - above))
        value = value + transfer.column.sigma(count.float(), alike) * torch.where(part < above, normal, -normal).float()
    code = adc.moved(value.round().clamp(0, top), value, 0, top) - level.round().clamp(0, top)
    return code.long()


def _column(layout: Layout, output: Tensor) -> Tensor:
    """Number of each output's column among the columns of all groups or heads."""
    channel, pixel = _channel_and_pixel(layout, output)
    return channel + pixel // layout.geometry.windows * layout.outputs if layout.heads else channel


def _counts(tables: _Tables, x: Tensor, w: Tensor, row: Tensor, output: Tensor, tile: Tensor, cycle: Tensor) -> Tensor:
    """Count of each conversion, from the inputs and weights of its tile's rows. # (candidates,)"""
    layout, g = tables.layout, tables.layout.geometry
    channel, pixel = _channel_and_pixel(layout, output)
    rows, elements, used = tables.channel[tile], tables.element[tile], tables.used[tile]  # (candidates, rows)
    width, out_width = g.size[1], g.output_size[1]
    down = (pixel // out_width * g.stride[0] - g.padding[0])[:, None] + elements // g.kernel[1] * g.dilation[0]
    right = (pixel % out_width * g.stride[1] - g.padding[1])[:, None] + elements % g.kernel[1] * g.dilation[1]
    inside = used & (down >= 0) & (down < layout.height) & (right >= 0) & (right < width)
    from_x = _input_places(layout, row, channel, rows, down * width + right).where(inside, 0)
    from_w = _column_of_operand(layout, row, output)[:, None] * (g.channels * g.elements) + rows * g.elements + elements
    x_digits = (x[from_x] >> tables.input_bit[cycle][:, None]) & tables.input_mask[cycle][:, None]
    w_digits = (w[from_w] >> tables.weight_bit[cycle][:, None]) & 1
    return (x_digits * w_digits * inside).sum(1)


def _column_of_operand(layout: Layout, row: Tensor, output: Tensor) -> Tensor:
    """Number of each output's column among the columns of all samples and heads. # (candidates,)"""
    channel, pixel = _channel_and_pixel(layout, output)
    matrix = row * layout.heads + pixel // layout.geometry.windows if layout.heads else torch.zeros_like(row)
    return matrix * layout.outputs + channel


def _channel_and_pixel(layout: Layout, output: Tensor) -> tuple[Tensor, Tensor]:
    outer, inner = output // layout.inner, output % layout.inner
    return (outer, inner) if layout.geometry.is_image else (inner, outer)


def _input_places(layout: Layout, row: Tensor, channel: Tensor, rows: Tensor, pixels: Tensor) -> Tensor:
    """Indices into the flattened input of some channels (in the output channel's group) and pixels."""
    g, area = layout.geometry, layout.height * layout.geometry.size[1]
    sample = row[:, None] * (layout.groups * g.channels * area)
    if not g.is_image:
        return sample + pixels * g.channels + rows
    group = (channel // g.outputs)[:, None]
    return sample + (group * g.channels + rows) * area + pixels
