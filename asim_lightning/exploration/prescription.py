"""Possible changes of a layer's macro, their price, and the cheapest sets of changes for each loss."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from asim_lightning.circuit import MacroConfig, Transfer, transfer
from asim_lightning.circuit.voltage import IN_VOLTS, at_voltage_of
from asim_lightning.evaluation.attribution import Fields
from asim_lightning.evaluation.axis_settings import RULES
from asim_lightning.evaluation.loss_map import LossMap
from asim_lightning.exploration.axes import flat
from asim_lightning.exploration.methods import Point
from asim_lightning.exploration.plan_study import Candidate
from asim_lightning.exploration.point_costs import CostFigures
from asim_lightning.nn import OnMacro
from asim_lightning.surgery.families import pattern_of
from asim_lightning.surgery.plan import kinds_of

Digital: TypeAlias = Literal["all", "half", "none"]
_STEPS = 2000
"""Energy steps of the search for cheapest changes."""
TRIM = "static.trim"
_MORE_BITS, _SHARES_OF_ROWS, _TRIM_STEP = 6, (1, 0.75, 0.5, 0.375, 0.25, 0.125), "0.5 lsb"
"""For the macro of all layers: how many ADC resolutions and which shares of rows to try, and the step of a new trim."""
_MORE_POSITION_BITS, _FEWEST_BITS = 3, 4
"""How many ADC resolutions to try with digital positions, and the fewest bits of weights and inputs."""


@dataclass(frozen=True)
class Prices:
    """Prices of plans: energy of an image in uJ, or percent of the products of bits on macros that are digital."""

    figures: CostFigures
    least: str = "energy"
    """energy or digital, as in `DoctorSettings.least`."""

    def at(self, point: Point) -> float:
        """The price at a point."""
        return self.figures.at(point).get("energy_uj" if self.least == "energy" else "digital_percent", 0.0)

    def by_layer(self, point: Point) -> dict[str, float]:
        """The price of each layer at a point, by its full name; layers on no macro have no digital share."""
        layers = self.figures.report(point).layers
        if self.least == "energy":
            return {each.name: 1e-9 * each.energy.total for each in layers}
        products = sum(each.done.macs * each.bits[0] * each.bits[1] for each in layers if each.macro is not None)
        return {each.name: 100.0 * each.done.digital_bit_macs / (products or 1) for each in layers}


def changes_of(layer: OnMacro, ranges: Sequence[Fields] = ()) -> list[Fields]:
    """Changes of one layer's macro that may be worth their cost, without more digital positions.

    `ranges` are ADC ranges that fit the layer's counts.
    """
    macro, found = layer.macro, list[Fields]()
    positions = layer.transfer.bit_positions
    if any(layer.transfer.noisy):
        levels = sorted({positions // 2 or 1, positions})
        found += [{"vote_levels": level, "votes": votes} for level in levels for votes in (3, 5)]
    if macro.adc_bits is not None and macro.adc_step is None:
        found += [{"adc_bits": macro.adc_bits + more} for more in (1, 2, 3)]
    return [each for each in [*found, *ranges] if _takes(layer, each)]


def changes_of_macro(base: MacroConfig, prices: Prices, trims: bool = False) -> list[Candidate]:
    """Changes of ADC bits, rows and encoding of all layers, the cheapest first; with `trims`, each with a new trim.

    The strength of each is its ADC bits, rows and encoding: more bits and fewer rows never lose answers.
    """
    trim: Point = {TRIM: "both", "static.trim_step": _TRIM_STEP} if trims else {}
    return _priced(base, prices, ((axes | trim, strength) for axes, strength in _conversions(base, _MORE_BITS)))


def changes_of_positions(base: MacroConfig, prices: Prices) -> list[Candidate]:
    """Digital positions of all layers alike, with ADC bits and encodings, the cheapest first.

    At most half of the cycles are digital: else a digital macro is the better idea. If plans should have few digital
    products, nothing else changes.
    The strength of each is its ADC bits, encoding, and how little the most significant analog cycle counts.
    """
    found, own = [], {"adc_bits": base.adc_bits, "rows": base.rows, "encoding_bits": base.encoding_bits}
    for axes, strength in _conversions(base, _MORE_POSITION_BITS, rows=(base.rows,)):
        if prices.least == "digital" and axes != own:
            continue
        with suppress(ValueError):
            circuit = transfer(base.with_fields(**axes), False)
            for levels in range(base.digital_levels + 1, 0 if base.weight_parallel else circuit.bit_positions):
                axes_here = {**axes, "digital_levels": levels, "digital_adc": False}
                changed = transfer(base.with_fields(**axes_here), False)
                if _is_half_analog(changed):
                    most = max(2.0**each.shift for each in changed.cycles if each.analog)
                    found.append((axes_here, (*strength, -most)))
    return _priced(base, prices, found)


def changes_of_bits(base: MacroConfig, prices: Prices) -> list[Candidate]:
    """Fewer bits of weights and inputs of all layers alike, with ADC bits, rows and encodings, the cheapest first.

    The network stays as it is trained. The strength of each is its bits, ADC bits, rows and encoding. One conversion of
    all bits has finer steps with fewer bits, so plans of other bits are not compared then.
    """
    found = list[tuple[Point, tuple[float, ...]]]()
    for fewer in range(1, min(base.weight_bits, base.input_bits) - _FEWEST_BITS + 1):
        bits: Point = {"weight_bits": base.weight_bits - fewer, "input_bits": base.input_bits - fewer}
        order = (-fewer, fewer) if base.weight_parallel else (-fewer,)
        found += [({**bits, **axes}, (*strength, *order)) for axes, strength in _conversions(base, _MORE_BITS)]
    return _priced(base, prices, found)


def _conversions(
    base: MacroConfig, more_bits: int, rows: Sequence[int] | None = None
) -> Iterator[tuple[Point, tuple[float, ...]]]:
    """Combinations of ADC bits, rows and encoding, each with its strength."""
    bits: list[Any] = [base.adc_bits]
    if base.adc_bits is not None and base.adc_step is None:
        bits = [each for each in range(base.adc_bits, base.adc_bits + more_bits) if each <= 16]
    every = rows or list(dict.fromkeys(max(1, round(base.rows * share)) for share in _SHARES_OF_ROWS))
    encodings = sorted({1, max(1, base.encoding_bits // 2), base.encoding_bits, 2 * base.encoding_bits})
    for adc_bits, row, encoding in product(bits, every, encodings):
        yield {"adc_bits": adc_bits, "rows": row, "encoding_bits": encoding}, (adc_bits or 0, -row, -encoding)


def _priced(base: MacroConfig, prices: Prices, points: Iterable[tuple[Point, tuple[float, ...]]]) -> list[Candidate]:
    """Candidates of some points, without fields that are the macro's own; the cheapest first."""
    own, found = flat(asdict(base)), list[Candidate]()
    for axes, strength in points:
        changed = {name: value for name, value in axes.items() if value != own[name]}
        with suppress(ValueError):  # a layer, or a rule, does not allow it
            found.append(Candidate(changed, prices.at(changed), strength))
    return sorted(found, key=lambda each: each.price)


def _on_own_rows(layer: OnMacro, fields: Fields) -> Fields:
    """Fields of a digital layer on the rows that it uses, because all rows would be priced; other fields unchanged."""
    macro = layer.macro
    if fields.get("digital_levels") != layer.transfer.bit_positions:
        return fields
    own = {**fields, "rows": min(macro.rows, layer.rows_in_use or macro.rows)}
    return own if _takes(layer, own) else fields


def _at_own_voltage(layer: OnMacro, fields: Fields) -> Fields:
    """Fields with an ADC range, with the layer's own noise in volts: the map may be of less noise, or of another macro.
    Other fields unchanged."""
    if "adc_step" not in fields:
        return fields
    ranged = {name: value for name, value in fields.items() if name not in IN_VOLTS}
    return ranged | at_voltage_of(layer.macro.with_fields(**ranged), layer.macro, layer.signed_input)


def _takes(layer: OnMacro, fields: Fields) -> bool:
    try:
        layer.check_assignment(layer.assignment.ruled_by(fields))
    except ValueError:
        return False
    return True


def prescriptions(
    layers: Mapping[str, OnMacro],
    found: LossMap,
    prices: Prices,
    digital: Digital = "all",
    by_kind: bool = False,
) -> list[Candidate]:
    """The cheapest changes of layers for lower and lower loss: a multiple-choice knapsack by dynamic programming.

    Each layer has one of its changes or stays as it is. `digital` says how many more digital positions a layer may
    have: all, half (at most half of its cycles are digital), or none. With `by_kind`, layers whose names differ only in
    numbers change alike. Energies are rounded up to 1/2000 of the dearest choice. The strength of a plan is the
    remaining share of the loss, negated. The gap compares with the least energy of fractions of changes. The cheapest
    plan comes first.
    """
    groups = list(kinds_of(found.layers).values()) if by_kind else [[name] for name in found.layers]
    choices, losses = dict[str, list[Fields]](), list[NDArray[Any]]()
    for names in groups:
        options = [_options(layers[name], name, found, digital, prices) for name in names]
        common = [fields for fields, _ in options[0] if all(any(fields == f for f, _ in each) for each in options[1:])]
        shares = [[next(share for f, share in each if f == fields) for fields in common] for each in options]
        for name in names:
            choices[name] = [_on_own_rows(layers[name], _at_own_voltage(layers[name], fields)) for fields in common]
        losses.append(np.sum(shares, axis=0).clip(min=0.0))  # below 0 is chance, and the search would prefer it
    of_layers, rest = _prices(prices, choices)
    by_name = dict(zip(choices, of_layers, strict=True))
    costs = [np.sum([by_name[name] for name in names], axis=0) for names in groups]
    made = list[Candidate]()
    for picks in _fronts(costs, losses):
        price = rest + sum(float(each[pick]) for each, pick in zip(costs, picks, strict=True))
        share = sum(float(each[pick]) for each, pick in zip(losses, picks, strict=True))
        chosen = {name: choices[name][pick] for names, pick in zip(groups, picks, strict=True) for name in names}
        point = _point(chosen)
        gap = max(0.0, price / ((rest + _least(costs, losses, share)) or 1.0) - 1.0)
        made.append(Candidate(point, price, (-share,), gap))
    kept = list[Candidate]()
    for each in sorted(made, key=lambda each: each.price):  # rounding may change the order
        if not kept or each.strength > kept[-1].strength:
            kept.append(each)
    return kept


def _options(layer: OnMacro, name: str, found: LossMap, digital: Digital, prices: Prices) -> list[tuple[Fields, float]]:
    """The changes of a layer, none among them, each with the layer's remaining share of the loss."""
    of_positions = prices.least == "digital"
    changes = [
        (each.fields, each.share)
        for each in found.changes
        if each.layer == name and not (of_positions and "digital_levels" not in each.fields)
    ]
    every = [(dict[str, Any](), found.by_layer[name]), *changes]
    return [each for each in every if _is_among(layer, each[0], digital)]


def _is_among(layer: OnMacro, fields: Fields, digital: Digital) -> bool:
    """Whether a change has no more digital positions than `prescriptions` may give."""
    if "digital_levels" not in fields or digital == "all":
        return True
    return digital == "half" and _is_half_analog(transfer(layer.macro.with_fields(**fields), layer.signed_input))


def _is_half_analog(circuit: Transfer) -> bool:
    return 2 * sum(each.analog for each in circuit.cycles) >= len(circuit.cycles)


def _point(changes: Mapping[str, Fields]) -> Point:
    """Changed fields of some layers, by the names of axes."""
    each = ((pattern_of(name), fields) for name, fields in changes.items())
    return {f"{RULES}{pattern}.{field}": value for pattern, fields in each for field, value in fields.items()}


def _prices(prices: Prices, choices: Mapping[str, Sequence[Fields]]) -> tuple[list[NDArray[Any]], float]:
    """The price of each choice of each layer, and the price of all other layers."""
    priced = list[dict[str, float]]()  # with the first choice of each layer, with the second, and so on
    for number in range(max(map(len, choices.values()))):
        point = _point({name: fields[min(number, len(fields) - 1)] for name, fields in choices.items()})
        priced.append(prices.by_layer(point))
    rest = sum(price for name, price in priced[-1].items() if name not in choices)
    # a layer that is not called has no price
    return [np.array([each.get(name, 0.0) for each in priced[: len(some)]]) for name, some in choices.items()], rest


def _fronts(costs: Sequence[NDArray[Any]], losses: Sequence[NDArray[Any]]) -> list[list[int]]:
    """The choice of each layer with the least loss for each energy, the cheapest first."""
    least, most = sum(float(each.min()) for each in costs), sum(float(each.max()) for each in costs)
    step = (most - least) / _STEPS or 1.0
    places = _STEPS + len(costs) + 1  # room for all dearest choices, each rounded up
    best = np.zeros(places)  # least loss of the layers so far, for each energy above the least
    picked = []
    for cost_of, loss_of in zip(costs, losses, strict=True):
        steps = np.ceil((cost_of - cost_of.min()) / step - 1e-9).astype(int)
        after = np.full((len(steps), places), np.inf)
        for choice, up in enumerate(steps):
            after[choice, up:] = best[: places - up] + loss_of[choice]
        choices, best = after.argmin(axis=0), after.min(axis=0)
        picked.append((choices, steps[choices]))
    found = []
    for place in np.flatnonzero(np.diff(best, prepend=np.inf) < 0):
        picks, left = [], int(place)
        for choices, up in reversed(picked):
            picks.append(int(choices[left]))
            left -= int(up[left])
        found.append(picks[::-1])
    return found


def _least(costs: Sequence[NDArray[Any]], losses: Sequence[NDArray[Any]], share: float) -> float:
    """The least energy that may leave a loss, if each layer may mix its choices.

    By Lagrange: the largest over prices p of ``sum_l min_c (cost + p loss) - p share``.
    """
    pairs = list(zip(costs, losses, strict=True))
    slopes = [((c[:, None] - c) / np.where(x == x[:, None], np.inf, x - x[:, None])).ravel() for c, x in pairs]
    prices = np.unique(np.concatenate(slopes).clip(0.0))
    bounds = sum((c + prices[:, None] * x).min(axis=1) for c, x in pairs) - prices * share
    return float(bounds.max())
