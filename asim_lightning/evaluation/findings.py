"""Problems of a network on its macro that need no simulation: ranges, rows, planes, converters and codes."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from statistics import NormalDist
from typing import Any

import torch
from torch import Tensor

from asim_lightning.circuit import MacroConfig, Transfer, transfer
from asim_lightning.circuit.transfer import Conversion
from asim_lightning.classifier.network import CimModule
from asim_lightning.engine.adc_range import overall, qualities
from asim_lightning.engine.explanation import distinct_adc_bits, exact_rows
from asim_lightning.engine.product import Geometry
from asim_lightning.evaluation.chip_layer import ChipLayer
from asim_lightning.evaluation.layer_inputs import chip_layers, layer_counts, layer_inputs
from asim_lightning.nn import OnMacro
from asim_lightning.nn.count_histograms import LayerCounts, fitted_range
from asim_lightning.nn.inputs import Inputs, some_of
from asim_lightning.surgery import macro_layers

_CLIPPED, _USED, _OUTSIDE = 0.01, 0.25, 0.001
"""Share of clipped counts that is reported; share of the range below which it is unused; counts left out of that."""
_GAIN = 1.0
"""Least gain of CSNR in decibels for which another range is proposed."""
_BLURRED = 0.5
"""Noise in counts above which a macro is coarse."""
_FILLED = 0.5
"""Share of rows in use below which it is reported."""
_FAR, _HARMLESS, _UNLIKELY = 3.0, 0.5, 0.025
"""A converter is normal up to so many standard deviations and LSB; share of normal errors that may lie beyond."""
_NORMAL = NormalDist()
_MOST_BITS = 16
_ENOUGH = 2 * 10**10
"""Conversions that are counted at most, unless one image has more."""


@dataclass(frozen=True)
class Finding:
    """A problem of a network on its macro that costs accuracy or energy.

    Attributes:
        kind: coarse, clipped, unused_range, idle_rows, unused_planes, bad_converters or lost_codes.
        layers: Full names of the layers with the problem; empty: the macro as a whole.
        text: The problem with numbers, and a change that mends it, if there is one.
        numbers: The numbers behind the text; shares are 0..1.
    """

    kind: str
    layers: tuple[str, ...]
    text: str
    numbers: Mapping[str, float]


@torch.no_grad()
def findings(model: CimModule, batches: Iterable[Inputs], images: int) -> list[Finding]:
    """Problems in the counts of the quantised network, the rows of its tiles and the converters of its chip.

    Nothing is simulated. Layers that no image reaches are left out. At most `images` images are counted, and fewer of
    large networks.
    """
    rest = iter(batches)
    first = next(rest)
    layers = macro_layers(model.backbone)
    names, geometries = {layer: name for name, layer in layers.items()}, dict[str, Geometry]()
    conversions = 0  # of an image
    for layer, inputs in layer_inputs(model, some_of(first, slice(1))).items():
        product, x, w = layer.product_on(*inputs)
        found = geometries[names[layer]] = product.geometry(x, w)
        circuit = layer.transfer
        conversions += len(x) * found.positions * len(found.tiles(circuit.macro.rows)) * len(circuit.cycles)
    few = min(images, max(1, _ENOUGH // max(1, conversions)))
    counts, _ = layer_counts(model, layers, chain([first], rest), few, "test")
    chip = dict(zip(geometries, chip_layers(model, some_of(first, slice(1)), model.chip), strict=True))
    return [
        *_coarse(layers, geometries),
        *_ranges(layers, counts),
        *_idle_rows(layers, geometries),
        *_unused_planes(counts),
        *_bad_converters(layers, chip),
        *_lost_codes(counts),
    ]


def _ranges(layers: Mapping[str, OnMacro], counts: Mapping[str, LayerCounts]) -> Iterator[Finding]:
    """Layers whose ADC clips counts, and layers whose ADC merges counts although its range is mostly unused."""
    found: dict[tuple[str, bool], dict[str, tuple[float, float]]] = {}  # share, and gain in dB
    for name, seen in counts.items():
        circuit, converted = seen.circuit, [cycle for cycle in seen.circuit.cycles if cycle.converted]
        if circuit.macro.adc_bits is None or not converted:
            continue
        outside, used = overall(circuit, qualities(circuit, seen.histograms)).clipped, _used_range(seen)
        kind, share = ("clipped", outside) if outside > _CLIPPED else ("unused_range", used)
        if kind == "clipped" or (used < _USED and max(each.counts_a_code for each in converted) > 1):
            gain = math.nan
            with suppress(ValueError):  # no range can be set, such as with `digital_adc`
                best = fitted_range(name, layers[name], seen)
                gain = best.after - best.before  # NaN if counts are all equal
            found.setdefault((kind, gain >= _GAIN), {})[name] = share, gain
    found.pop(("unused_range", False), None)  # no better range is known
    for (kind, is_mended), each in sorted(found.items(), key=lambda item: (item[0][0], not item[0][1])):
        shares, gains = zip(*each.values(), strict=True)
        if kind == "clipped":
            text = f"{_percents(shares)} of the counts of {_named(each)} lie outside the range of the ADC"
        else:
            text = f"99.9 % of the counts of {_named(each)} use only {_percents(shares)} of the range of the ADC, "
            text += "although an LSB is more than a count"
        numbers = {"least": min(shares), "most": max(shares)}
        if not is_mended:
            if all(gain == gain for gain in gains):
                text += ", and no range of as many bits does much better: more `adc_bits` are needed"
        elif min(gains) == math.inf:
            text += ": with a range fitted to each layer (asim calibrate-adc) every count comes back"
        else:
            numbers["csnr_gain"] = min(gains)
            text += f": a range fitted to each layer (asim calibrate-adc) adds at least {min(gains):.2g} dB of CSNR"
        yield Finding(kind, tuple(each), text, numbers)


def _used_range(seen: LayerCounts) -> float:
    """Share of the ADC's range that 99.9 % of the counts use, in the cycle with the largest share."""
    codes, shares = seen.circuit.macro.signed_codes - 1, []
    for cycle, histogram in zip(seen.circuit.cycles, seen.histograms, strict=True):
        if cycle.converted:
            below, above = histogram.shares.cumsum(0), histogram.shares.flip(0).cumsum(0).flip(0)
            inside = histogram.counts[(below > _OUTSIDE / 2) & (above > _OUTSIDE / 2)]
            shares.append(float(inside[-1] - inside[0]) / (cycle.counts_a_code * codes))
    return max(shares)


def _filled(
    layers: Mapping[str, OnMacro], geometries: Mapping[str, Geometry]
) -> tuple[dict[str, int], dict[str, float], float]:
    """Tiles of each layer, share of their rows with weights, and this share in the whole network."""
    rows = {name: layers[name].macro.rows for name in geometries}
    tiles = {name: len(each.tiles(rows[name])) for name, each in geometries.items()}
    used = {name: each.channels * each.elements / (tiles[name] * rows[name]) for name, each in geometries.items()}
    arrays = {name: each.groups * tiles[name] * rows[name] for name, each in geometries.items()}
    return tiles, used, sum(used[name] * arrays[name] for name in arrays) / max(1, sum(arrays.values()))


def _coarse(layers: Mapping[str, OnMacro], geometries: Mapping[str, Geometry]) -> Iterator[Finding]:
    """A macro whose LSB is more than a count, or whose noise is more than half a count, in its largest cycle."""
    steps, noises = list[float](), list[float]()
    for name in geometries:
        circuit = layers[name].transfer
        cycle = max((c for c in circuit.cycles if c.converted), key=lambda c: c.full_scale, default=None)
        if cycle is not None:
            steps.append(cycle.counts_a_code)
            middle = torch.tensor(cycle.full_scale / 2)
            noises.append(float(circuit.column.sigma(middle, cycle)) * cycle.counts_a_code)
    if not steps or (max(steps) <= 1 and max(noises) <= _BLURRED):
        return
    share, rows = _filled(layers, geometries)[2], [layers[name].macro.rows for name in geometries]
    text = f"Weights fill {_percents([share])} of {_span(rows, 'rows', ',.0f')}; an LSB is {_span(steps, 'counts')}, "
    text += f"and noise is {_span(noises, 'counts')}"
    largest = max(each.channels * each.elements for each in geometries.values())
    numbers = {"filled": share, "lsb": max(steps), "noise": max(noises), "rows": max(rows), "largest_kernel": largest}
    yield Finding("coarse", (), text, numbers)


def _idle_rows(layers: Mapping[str, OnMacro], geometries: Mapping[str, Geometry]) -> Iterator[Finding]:
    """Layers that leave most rows of their tiles idle, if the whole network does."""
    rows = {name: layers[name].macro.rows for name in geometries}
    tiles, used, share = _filled(layers, geometries)
    idle = [name for name in geometries if used[name] < _FILLED and share < _FILLED]
    for of_macro in sorted({rows[name] for name in idle}):
        names = [name for name in idle if rows[name] == of_macro]
        own, numbers = [used[name] for name in names], {"network": share}
        text = f"Weights fill {_percents(own)} of the rows of {_named(names)}, {_percents([share])} in all layers"
        most = max(geometries[name].fewest_rows(tiles[name]) for name in names)
        fitting = [_rows_from(layers[name].transfer, most) for name in names]
        if all(fitting):
            numbers["rows"] = more = max(filter(None, fitting))
            text += f": for these `rows` {more} takes as many tiles, with {more / of_macro:.2g} of the full scale"
        yield Finding("idle_rows", tuple(names), text, {**numbers, "least": min(own), "most": max(own)})


def _rows_from(circuit: Transfer, fewest: int) -> int | None:
    """`fewest` rows, or the next number of rows that keeps counts exact; None: the macro takes no other rows."""
    try:
        changed = transfer(circuit.macro.with_fields(rows=fewest), circuit.signed_input, circuit.rows_in_use)
    except ValueError:  # such as a measured column
        return None
    kept, before = ({*each.equal_conversions} == {Conversion.EXACT} for each in (changed, circuit))
    above = exact_rows(changed.macro, circuit.signed_input)[1] if before and not kept else None
    return above if above is not None and above < circuit.macro.rows else fewest


def _unused_planes(counts: Mapping[str, LayerCounts]) -> Iterator[Finding]:
    """Bits of weights and of inputs, without signs, whose cycles have only counts of 0."""
    found: dict[tuple[Transfer, tuple[int, ...], tuple[int, ...]], list[str]] = {}
    for name, seen in counts.items():
        macro, signed = seen.circuit.macro, seen.circuit.signed_input
        pairs = zip(seen.circuit.cycles, seen.histograms, strict=True)
        active = [cycle for cycle, histogram in pairs if bool(histogram.counts.any())]
        weight = tuple(sorted({*range(macro.weight_bits - 1)}.difference(*(each.weight_bits for each in active))))
        inputs = tuple(sorted({*range(macro.input_bits - signed)}.difference(*(each.input_bits for each in active))))
        if weight or inputs:
            found.setdefault((transfer(macro, signed), weight, inputs), []).append(name)
    for (circuit, weight, inputs), names in found.items():
        planes = {"weight bits": weight, "input bits": inputs}
        parts = [f"{kind} {', '.join(map(str, bits))}" for kind, bits in planes.items() if bits]
        cycles, magnitude, fewer = circuit.cycles, circuit.macro.input_bits - circuit.signed_input, len(inputs)
        idle = sum(set(each.weight_bits) <= set(weight) or set(each.input_bits) <= set(inputs) for each in cycles)
        text = f"{idle} of {len(cycles)} cycles of {_named(names)} meet only 0, those of {' and '.join(parts)}"
        if not weight and 0 < fewer < magnitude and inputs[0] == magnitude - fewer:  # the highest ones
            text += f": the input range is {2**fewer} times as large as these inputs need, and `input_bits` "
            text += f"{circuit.macro.input_bits - fewer} with one that fits is as fine"
        numbers = {"weight_bits": len(weight), "input_bits": fewer, "idle_cycles": idle, "cycles": len(cycles)}
        yield Finding("unused_planes", tuple(names), text, numbers)


def _bad_converters(layers: Mapping[str, OnMacro], chip: Mapping[str, ChipLayer]) -> Iterator[Finding]:
    """Converters with larger errors than a normal distribution explains; a shared one counts in each layer."""
    alike: dict[MacroConfig, dict[str, Tensor]] = {}
    for name, each in chip.items():
        if each.converters:
            macro = layers[name].macro
            alike.setdefault(macro, {})[name] = _largest_errors(each, macro)
    for errors in alike.values():
        every = torch.cat([*errors.values()])
        median, far = float(every.median()), max(_FAR, _NORMAL.inv_cdf(1 - _UNLIKELY / len(every)))
        limit = max(_HARMLESS, far * median / _NORMAL.inv_cdf(0.75))
        if names := [name for name, own in errors.items() if bool((own > limit).any())]:
            bad, worst = int((every > limit).sum()), float(every.max())
            text = f"{bad} of {len(every):,} converters, in {_named(names)}, are off by more than {limit:.2g} LSB, and "
            text += f"up to {worst:.2g}, but half of all by at most {median:.2g} LSB: asim chip lists the worst"
            numbers = {"bad": bad, "converters": len(every), "limit": limit, "median": median, "worst": worst}
            yield Finding("bad_converters", tuple(names), text, numbers)


def _largest_errors(layer: ChipLayer, macro: MacroConfig) -> Tensor:
    """Largest error of each converter by offset and gain, and by INL, LSB. # (converters,)"""
    none, top = torch.zeros(layer.converters), macro.top_code or 1
    offset = none if layer.offset is None else layer.offset
    gain = none if layer.gain is None else layer.gain - 1
    ends = [(offset + gain * code).abs() for code in (-top if macro.weight_parallel else 0, top)]
    return torch.maximum(*ends) + (none if (inl := layer.largest_inl) is None else inl)


def _lost_codes(counts: Mapping[str, LayerCounts]) -> Iterator[Finding]:
    """Layers whose ADC has fewer codes than counts, with the nearest rows and bits that give each count a code."""
    found: dict[tuple[Any, ...], dict[str, tuple[float, float]]] = {}
    for name, seen in counts.items():
        circuit = seen.circuit
        kinds = zip(circuit.cycles, circuit.equal_conversions, strict=True)
        steps = [each.counts_a_code for each, kind in kinds if kind is Conversion.LOSSY and each.counts_a_code > 1]
        if steps:
            macro, coarse = circuit.macro, circuit.macro.adc_step is not None
            finest = macro.with_fields(adc_step=1, adc_low=0) if coarse else macro
            bits = distinct_adc_bits(finest, circuit.signed_input)
            rows = None if coarse else exact_rows(finest, circuit.signed_input)[0]
            key = macro.adc_bits, macro.rows, coarse, rows, bits if bits and bits <= _MOST_BITS else None
            if any(key[3:]):
                found.setdefault(key, {})[name] = _shared(circuit, seen), max(steps)
    for (has, on, coarse, rows, bits), layers in found.items():
        changes = [f"`rows` {rows}"] if rows else []
        changes += [f"`adc_bits` {bits}{' with `adc_step` 1' if coarse else ''}"] if bits else []
        shares, lsbs = zip(*layers.values(), strict=True)
        text = f"An LSB of {has} bits on {on} rows is {_span(lsbs, 'counts', '.4g')}, so that counts can share a code "
        text += f"({_percents(shares)} of those of {_named(layers)} do): {' or '.join(changes)} gives each its own"
        numbers = {"least": min(shares), "most": max(shares), "lsb": max(lsbs), "rows": rows or 0, "bits": bits or 0}
        yield Finding("lost_codes", () if len(layers) == len(counts) else tuple(layers), text, numbers)


def _shared(circuit: Transfer, seen: LayerCounts) -> float:
    """Share of counts whose code another occurring count also has, on average over converted cycles."""
    shares = []
    for cycle, histogram in zip(circuit.cycles, seen.histograms, strict=True):
        if cycle.converted:
            level, top = circuit.column.level(histogram.counts.float(), cycle), cycle.top_code or 0
            codes = level.round().clamp(-top if cycle.signed else 0, top)
            _, place, number = codes.unique(return_inverse=True, return_counts=True)
            shares.append(float(histogram.shares[number[place] > 1].sum()))
    return sum(shares) / len(shares)


def _named(names: Iterable[str]) -> str:
    every = list(names)
    return ", ".join(every[:3]) + (f" and {len(every) - 3} more" if len(every) > 3 else "")


def _percents(shares: Sequence[float]) -> str:
    return _span([100 * share for share in shares], "%")


def _span(values: Sequence[float], unit: str, form: str = ".2g") -> str:
    low, high = (f"{each:{'.0f' if each >= 10 and form == '.2g' else form}}" for each in (min(values), max(values)))
    return f"{low} {unit}" if low == high else f"{low} to {high} {unit}"
