"""Wrong conversions one by one, against a slow simulator in plain Python, and what they do not depend on."""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from asim_lightning.circuit import Conversion, MacroConfig, Transfer, transfer
from asim_lightning.engine import Conv2dProduct, Noise, Product, rare, sums_of
from asim_lightning.engine.noise import layer_key
from asim_lightning.engine.rare.layout import layout
from asim_lightning.engine.rare.rates import rates
from tests import oracle
from tests.engine.products import exact_sums
from tests.engine.test_noise_stream import plain_philox
from tests.engine.test_reference import Operands

FINE = [  # rows, encoding, ADC bits, all exact
    *[(255, 1, 8), (85, 1, 8), (15, 1, 4), (7, 1, 3), (3, 1, 8), (1, 1, 4)],
    *[(341, 2, 10), (273, 4, 12), (21, 2, 6), (9, 3, 6)],
]


def noise_of(batch: int, seed: int = 1, **fields: Any) -> Noise:
    ids, offsets = torch.arange(batch) * 3 + seed % 7, torch.zeros(batch, dtype=torch.int64)
    return replace(Noise(seed, "layer", call=0, trial=2, chip=0, sample_ids=ids, offsets=offsets), **fields)


@st.composite
def macros(draw: st.DrawFn) -> tuple[MacroConfig, bool]:
    """A macro that the events engine computes, and whether its input is signed."""
    signed = draw(st.booleans())
    rows, encoding, adc_bits = draw(st.sampled_from(FINE))
    input_bits = draw(st.sampled_from([b for b in (2, 3, 4, 8, 9, 12) if b >= encoding + signed]))
    rule = draw(st.sampled_from(["mode", "median", "mean"]))
    step = draw(st.sampled_from([None, None, 1]))
    macro = MacroConfig(
        weight_bits=draw(st.sampled_from([2, 4, 8, 11])),
        input_bits=input_bits,
        rows=rows,
        adc_bits=adc_bits,
        adc_step=step,
        encoding_bits=encoding,
        weight_coding=draw(st.sampled_from(["plain", "flip"])),
        digital_levels=draw(st.integers(0, 3)),
        digital_adc=draw(st.booleans()) and step is None,
        vote_levels=draw(st.integers(0, 4)),
        votes=3,
        vote=rule,
        random_noise=f"{draw(st.sampled_from([0.1, 0.2, 0.35]))} lsb",
        nonlinear_noise=draw(st.sampled_from([0.0, 0.1])),
    )
    # remainder groups are exact where the full scale divides too
    kinds = transfer(macro, signed).conversions
    return macro if all(k is Conversion.EXACT for k in kinds) else macro.with_fields(
        input_bits=encoding + signed
    ), signed


def operands(kind: str, macro: MacroConfig, signed: bool, seed: int) -> tuple[Product, torch.Tensor, torch.Tensor]:
    found = Operands(macro, signed, kind, seed)
    return found.product, torch.from_numpy(found.x).float(), torch.from_numpy(found.w).float()


def uniform(a: int, b: int) -> float:
    return ((a >> 6) * 2**26 + (b >> 6) + 0.5) / 2**52


def places(noise: Noise, row: int, number: int, kind: int, rate: float, end: int) -> Iterator[tuple[int, float]]:
    """Candidates of a block, and what chooses their errors."""
    place, draw = -1, 0
    while True:
        counter = int(noise.sample_ids[row]), number, kind << 24 | draw, noise.trial << 16
        a, b, c, d = plain_philox(counter, (noise.seed, layer_key("layer/events", noise.call)), rounds=7)
        place += 1 + math.floor(math.log(uniform(a, b)) / math.log1p(-rate))
        if place >= end:
            return
        yield place, uniform(c, d)
        draw += 1


def counts(product: Product, macro: MacroConfig, signed: bool, x: Any, w: Any) -> Any:
    """All counts as oracle.product forms them, plus 1, negative in columns of complements. # (tiles, cycles, batch,
    *outputs)"""
    cycles = list(oracle.conversions(macro, signed))

    def of_cycle(cycle: oracle.Conversion, flat: Any, weights: Any) -> Any:
        held, is_complement = oracle.held_bits(macro, cycle.w_digit(weights))
        return (cycle.x_digit(flat) @ held.swapaxes(-1, -2) + 1) * np.where(is_complement, -1, 1)[..., None, :]

    def of_tile(flat: Any, weights: Any, tile: list[int]) -> Any:
        return [of_cycle(cycle, flat[..., tile], weights[..., tile]) for cycle in cycles]

    if not isinstance(product, Conv2dProduct):
        tiles = oracle.linear_tiles(w.shape[-1], macro.rows)
        return np.array([of_tile(x, w, tile) for tile in tiles])
    channels, kernel = w.shape[1], w.shape[2:]
    tiles = oracle.conv_tiles(channels, kernel[0] * kernel[1], macro.rows)
    groups = []
    for g, weights in enumerate(w.reshape(product.groups, len(w) // product.groups, -1)):
        part = x[:, g * channels : (g + 1) * channels]
        flat, out = oracle.patches(part, kernel, product.stride, product.padding, product.dilation)
        found = np.array([of_tile(flat, weights, tile) for tile in tiles])  # (tiles, cycles, batch, pixels, outputs)
        groups.append(found.swapaxes(-1, -2).reshape(*found.shape[:3], -1, *out))
    return np.concatenate(groups, axis=3)


def slowly(product: Product, circuit: Transfer, x: torch.Tensor, w: torch.Tensor, noise: Noise) -> Any:
    """Outputs with events, one candidate after the other."""
    found, macro = rates(circuit, False), circuit.macro
    shape = w.shape[1:] if product.batched_weight else w.shape
    cut = layout(found, product, x.shape[1:], shape)
    every = counts(product, macro, circuit.signed_input, x.long().numpy(), w.long().numpy())
    every = every.reshape(*every.shape[:3], -1)
    sums = np.zeros((len(x), cut.geometry.positions), dtype=np.int64)
    most = max(c.votes for c in circuit.cycles) if macro.vote == "mean" else 1
    for row in range(len(x)):
        for block in range(cut.blocks):
            first = block * cut.block_outputs
            outputs = min(cut.block_outputs, cut.geometry.positions - first)
            for k, kind in enumerate(found.kinds):
                size = len(every) * len(kind.cycles)
                number = int(noise.offsets[row]) * cut.blocks + block
                for place, chance in places(noise, row, number, k, kind.rate, outputs * size):
                    output, rest = first + place // size, place % size
                    cycle = circuit.cycles[kind.cycles[rest % len(kind.cycles)]]
                    count = every[rest // len(kind.cycles), kind.cycles[rest % len(kind.cycles)], row, output]
                    which = int((kind.shares[abs(int(count)) - 1] <= chance).sum())
                    votes = most // cycle.votes if macro.vote == "mean" else 1
                    span = 2 ** len(cycle.input_bits) - 1 if macro.adc_step is None else 1
                    weight = (cycle.sign if count > 0 else -cycle.sign) * 2**cycle.shift * span * votes
                    sums[row, output] += int(kind.errors[which]) * weight
    exact = exact_sums(product, x, w, macro.input_bits, macro.weight_bits, circuit.signed_input)
    total = exact.double().numpy().reshape(sums.shape)
    scale = macro.rows if macro.adc_step is None else 1
    return np.where(sums, (total * circuit.divisor + sums * scale) / circuit.divisor, total)


@settings(max_examples=40)
@given(macros(), st.sampled_from(["conv2d", "linear", "matmul"]), st.integers(0, 10**6))
def test_every_event_is_the_slow_simulators(case: tuple[MacroConfig, bool], kind: str, seed: int) -> None:
    macro, signed = case
    circuit = transfer(macro, signed)
    assume(rare.refuses(circuit) is None)  # not every cycle is digital
    product, x, w = operands(kind, macro, signed, seed)
    noise = noise_of(2, seed)
    found = sums_of(rare, product, circuit, x, w, noise)
    expected = slowly(product, circuit, x, w, noise)
    assert np.array_equal(found.numpy().reshape(expected.shape), expected)
