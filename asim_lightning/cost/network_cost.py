"""The cost of a converted network for one image, from its products, and a note on its accuracy."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from asim_lightning.circuit import MacroConfig, Transfer
from asim_lightning.circuit.transfer import Conversion
from asim_lightning.circuit.wrong_codes import expected_error
from asim_lightning.cost.cost_report import CostReport
from asim_lightning.cost.energy_model import ActiveCells, EnergyModel, energy_model
from asim_lightning.cost.layer_cost import (
    Energy,
    LayerCost,
    digital_cost,
    macro_cost,
    output_energy,
    transform_cost,
    write_energy,
)
from asim_lightning.cost.product_shape import ProductShape, Traffic, WeightLoads, product_shape, weight_loads
from asim_lightning.cost.technology import Technology
from asim_lightning.nn import OnMacro, QuantizedLayer
from asim_lightning.nn.calibration import kept_fidelities
from asim_lightning.nn.count_histograms import LayerCounts
from asim_lightning.nn.hadamard import Hadamard
from asim_lightning.nn.inputs import Inputs, moved, some_of, tensors_of
from asim_lightning.surgery import ConversionReport, ReportRow, macro_layers, report_of, set_fidelity_
from asim_lightning.surgery.conversion_report import NOT_COUNTED, TRANSFORM, describe
from asim_lightning.surgery.flow import Outside
from asim_lightning.surgery.probe import Probe, kept_example, on_example, probe

_FITTED_NODES = (16.0, 65.0)
_MANY_WRONG = 0.01
"""Share of wrong codes from which a note says so."""


@dataclass(frozen=True)
class NetworkShape:
    """The products of a network for one image."""

    products: Mapping[str, tuple[ProductShape, ...]]
    """Products of layers on macros, one for each call, by full name in the order in which the layers first ran."""
    macs: Mapping[str, int]
    """Multiplications of modules on no macro, by full name in that order."""
    additions: Mapping[str, int] = field(default_factory=dict)
    """Additions of transforms, by full name in that order."""
    values: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Values of all tensors that each layer takes and gives, by full name."""
    uncounted: Collection[str] = ()
    """Operators that may multiply, nobody knows how often."""
    outside: Outside | None = None
    """Multiplications that no layer has."""


def network_shape(model: nn.Module, example: Inputs | None = None) -> NetworkShape:
    """Run a converted network once, in float, and record the shapes of its products.

    Args:
        model: Converted network.
        example: Inputs; default: the example of the conversion. # (1, ...) each
    """
    if example is None and kept_example(model) is None:
        raise ValueError(
            "`example` must be an input of the network, because the cost depends on its size, got None; pass one, or "
            "convert the whole network with convert_"
        )
    found: dict[str, list[ProductShape]] = {}
    additions: Counter[str] = Counter()
    values: dict[str, tuple[int, int]] = {}

    def count(name: str, transform: Any, inputs: tuple[Any, ...]) -> None:
        additions[name] += transform.additions(inputs[0])

    def note(name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        taken, given = (sum(each.numel() for each in tensors_of(x)) for x in (inputs, output))
        before = values.get(name, (0, 0))
        values[name] = before[0] + taken, before[1] + given

    def keep(name: str, layer: Any, inputs: tuple[Any, ...]) -> None:
        tensors = [each for each in inputs if isinstance(each, Tensor)]
        found.setdefault(name, []).append(product_shape(layer, *tensors))

    def run(inputs: Inputs) -> Probe:
        found.clear()
        additions.clear()
        values.clear()
        device = next((each.device for each in model.parameters()), torch.device("cpu"))
        return probe(model, {}, moved(some_of(inputs, slice(1)), device))

    layers = macro_layers(model)
    with ExitStack() as hooks, kept_fidelities(model):
        for name, layer in layers.items():
            hooks.enter_context(layer.register_forward_pre_hook(partial(keep, name)))
        for name, module in model.named_modules():
            if name in layers or isinstance(getattr(module, "weight", None), Tensor):
                hooks.enter_context(module.register_forward_hook(partial(note, name)))
            if isinstance(module, Hadamard):
                hooks.enter_context(module.register_forward_pre_hook(partial(count, name)))
        set_fidelity_(model, "float")
        seen = on_example(model, example, run)
    for name, layer in layers.items():  # experts that a router sends no row have arrays, too
        if (no_rows := layer.without_rows) is not None:
            found[name] = [each for each in found.get(name, ()) if each.rows] or [product_shape(layer, no_rows)]
    macs = {name: count for name, count in seen.others.items() if name not in layers}
    for owner, products in seen.products.items():
        macs[owner] = macs.get(owner, 0) + sum(made.macs for made in products)
    shapes_of = {name: tuple(shapes) for name, shapes in found.items()}
    return NetworkShape(shapes_of, macs, dict(additions), values, sorted(set(seen.uncounted.values())), seen.outside)


def cost(
    model: nn.Module,
    technology: Technology = Technology(),
    example: Inputs | None = None,
    *,
    report: ConversionReport | None = None,
    shape: NetworkShape | None = None,
    counts: Mapping[str, LayerCounts] | None = None,
    digital: Collection[str] = (),
) -> CostReport:
    """Conversions, energy and time of a converted network for one image.

    Every layer on a macro counts as simulated, whatever its fidelity is. Weights stay in place: each tile of each
    matrix is a separate array.

    Args:
        model: Converted network.
        technology: Technology of energy, time and area.
        example: Inputs; default: the example of the conversion. # (1, ...) each
        report: The network's conversion, with kinds and reasons of layers; None: the one of `convert_`.
        shape: The result of `network_shape`, if it is known.
        counts: Counts of layers for some images, by full name, if ``technology.charging`` needs them.
        digital: Layers on a macro to compute in digital integers instead, by full name.

    Raises:
        ValueError: The network does not run, its input size is not known, a name is not a layer on a macro, or counts
            are missing.
    """
    layers, seen = macro_layers(model), shape or network_shape(model, example)
    for name in digital:
        if name not in layers:
            raise ValueError(f"`digital` of cost must name layers on a macro, got {name!r}")
    rows = {row.name: row for row in (report_of(model) if report is None else report)}
    energies, found = energy_model(technology), list[LayerCost]()
    for name, macs in seen.macs.items():
        found.append(_kept(name, model.get_submodule(name), macs, rows.get(name or "(network)"), energies))
    for name, additions in seen.additions.items():
        row = rows.get(name, ReportRow(name, TRANSFORM, "-", "-", None, None, "-", ""))
        found.append(transform_cost(name, row.kind, additions, row.why_kept, energies))
    outputs: dict[Transfer, Energy] = {}  # of the last layer, if counts of images decide it
    for name, shapes in seen.products.items():
        layer, kind = layers[name], rows[name].kind if name in rows else type(layers[name]).__name__
        if name in digital:
            macs = sum(each.macs for each in shapes)
            bits = layer.macro.weight_bits, layer.macro.input_bits
            found.append(digital_cost(name, kind, macs, bits, "computed by integers", energies))
        else:
            circuit, is_idle = layer.transfer, not any(each.rows for each in shapes)
            active = None if is_idle else _active(name, layer, technology, counts)
            if active is not None or circuit not in outputs:
                outputs[circuit] = output_energy(circuit, energies, active)
            found.append(macro_cost(name, kind, circuit, shapes, energies, outputs[circuit]))
    # in the order of the conversion, else of the network
    names = dict.fromkeys([*rows, *(name for name, _ in model.named_modules())])
    order = {name: place for place, name in enumerate(names)}
    moving = [
        replace(each, traffic=_traffic(each, model, seen), shapes=seen.products.get(each.name, ())) for each in found
    ]
    ordered = tuple(sorted(moving, key=lambda layer: order.get(layer.name, len(order))))
    on_macro = [layers[name] for name in seen.products if name not in digital]
    reloads = weight_loads(layers, {name: shapes for name, shapes in seen.products.items() if name not in digital})
    notes = _notes(ordered, on_macro, energies, reloads)
    notes += [NOT_COUNTED.format(", ".join(seen.uncounted))] if seen.uncounted else []
    notes += [seen.outside.text(sum(each.done.macs for each in ordered))] if seen.outside else []
    return CostReport(ordered, technology, tuple(notes), reloads, seen.outside)


def _kept(name: str, module: nn.Module, macs: int, row: ReportRow | None, model: EnergyModel) -> LayerCost:
    """Cost of a layer on no macro."""
    bits = (model.technology.float_bits,) * 2
    if isinstance(module, QuantizedLayer):
        bits = module.weight_bits, module.input_bits
    kind = type(module).__name__ if row is None or row.kind == "-" else row.kind
    return digital_cost(name or "(network)", kind, macs, bits, "not converted" if row is None else row.why_kept, model)


def _traffic(layer: LayerCost, model: nn.Module, seen: NetworkShape) -> Traffic | None:
    """Values that a layer takes and gives; None for a transform, or products that are not of a layer with weights."""
    shapes = seen.products.get(layer.name, ())
    if not shapes and layer.name not in seen.values:
        return None
    module = model.get_submodule(layer.name)
    weight = getattr(module, "weight", None)
    inputs, outputs = seen.values.get(layer.name, (0, 0))  # no rows reach an idle expert
    if isinstance(weight, Tensor):
        weights, given = weight.numel(), 0
    else:  # an input of each call; a parameter of another module is stored once
        of_calls = [each.weights for each in shapes]
        given = sum(of_calls)
        weights = given if any(each.is_written for each in shapes) else max(of_calls, default=0)
    on_rows = sum(each.row_inputs for each in shapes) if layer.macro is not None else 0
    groups = None if getattr(module, "transposed", False) else getattr(module, "groups", 1)
    return Traffic(inputs - given, outputs, weights, on_rows, groups)


def _active(
    name: str, layer: OnMacro, technology: Technology, counts: Mapping[str, LayerCounts] | None
) -> list[ActiveCells] | None:
    """Active cells in each cycle of a layer; None if the technology does not need them."""
    if technology.charging == "fixed":
        return None
    cycles = layer.transfer.cycles
    if any(len(cycle.input_bits) > 1 or len(cycle.weight_bits) > 1 for cycle in cycles):
        raise ValueError(
            f"`technology.charging` must be fixed for `{name}`, because its cycles take several bits, whose "
            f"charge does not follow from counts, got {technology.charging!r}"
        )
    if counts is None or name not in counts:
        raise ValueError(
            f"`technology.charging` {technology.charging} needs the counts of `{name}` for some images; "
            "`counts` of cost and `images` of asim cost give them"
        )
    if counts[name].circuit.cycles != cycles:
        raise ValueError(f"`counts` of `{name}` must be of its macro, got counts of another schedule")
    return [
        ActiveCells(*(float((seen.numbers * seen.counts**power).sum()) / float(seen.numbers.sum()) for power in (1, 2)))
        for seen in counts[name].histograms
    ]


def _notes(
    layers: Sequence[LayerCost], on_macro: Sequence[OnMacro], model: EnergyModel, reloads: WeightLoads
) -> list[str]:
    """Notes on assumptions and omissions."""
    macros, routed = [layer.macro for layer in on_macro], sum(layer.without_rows is not None for layer in on_macro)
    t, kept = model.technology, sum(layer.macro is None for layer in layers if not layer.done.additions)
    written = sum(layer.done.cells_written for layer in layers)
    priced = "priced" if t.cell_write else "counted and not priced (`technology.cell_write`)"
    by_user = f" ({1e-6 * reloads.cells * write_energy(model):.3g} nJ by your `cell_write`)"
    added = sum(layer.done.additions for layer in layers)
    notes = {
        f"{kept} {'layers are' if kept > 1 else 'layer is'} not on a macro: priced as digital products of their bits "
        f"({t.float_bits} x {t.float_bits} if float); time, memory and movement of data are left out": kept,
        f"{added:,} digital additions transform inputs of layers on macros: priced as {t.float_bits} full adders each":
            added,
        f"{written:,} cells are written for each image, {priced}; other weights stay in their cells": written,
        f"rows of {routed} layers belong to no single sample, such as rows that a router sends to experts: counted are "
        "those of one input, your `example`, else random numbers or the first tokens of the conversion": routed,
        "the capacitance of a row is fitted as a fixed charge, lines and all: of true counts it is a lower bound":
            t.charging != "fixed",
        f"weights are reloaded into shared macros (placement reuse): {reloads.loads:,} loads, {reloads.cells:,} bits "
        "in all, an image, or a batch that each layer computes as a whole; their energy"
        f"{'' if t.cell_write is None else by_user} is not in the totals, because no source prices a write; nor is "
        "the time of writing, or of waiting for each other": any(macro.static.is_reused for macro in macros),
        **dict.fromkeys(doubts(macros, t), True),
        "left out: softmax, norms, activations, pooling, memory and movement of data between layers": True,
    }  # fmt: skip
    return [note for note, holds in notes.items() if holds]


def doubts(macros: Collection[MacroConfig], technology: Technology) -> list[str]:
    """Notes on prices of macros outside the range that the energy model is fitted to."""
    low, high = _FITTED_NODES
    other_columns = any(macro.column not in ("charge", "droop", "measured") for macro in macros)
    notes = {
        f"a conversion in the ADC takes {technology.adc_pj or 0:g} pJ (`adc_pj`), whatever its bits, range and supply":
            technology.adc_pj is not None,
        "an ideal ADC is priced as one with bits for every count of a cycle":
            any(macro.adc_bits is None for macro in macros),
        "the energy model is fitted to charge redistribution: for other columns no model is better than 3.7 times":
            other_columns and type(energy_model(technology)) is EnergyModel,
        f"{technology.nanometres:g} nm is outside the nodes that the energy model is fitted to, {low:g} to {high:g} nm":
            not low <= technology.nanometres <= high,
    }  # fmt: skip
    return [note for note, holds in notes.items() if holds]


def accuracy_note(circuits: Iterable[Transfer]) -> str:
    """A note that a macro loses codes or makes many wrong ones, about the worst circuit; empty if none does."""
    lossy: dict[Transfer, int] = {}
    wrong: dict[Transfer, float] = {}
    for each in dict.fromkeys(circuits):
        lossy[each] = sum(kind is Conversion.LOSSY for kind in each.equal_conversions)
        # an ideal converter has no codes; if codes are lost anyway, a wrong neighbour is no worse
        wrong[each] = 0.0 if each.macro.adc_bits is None or lossy[each] else expected_error(each)
    if not lossy:
        return ""
    worst, noisy = max(lossy, key=lambda each: lossy[each] / len(each.cycles)), max(wrong, key=wrong.__getitem__)
    own = [each for each in lossy if each.column.converters_differ]
    said = []
    if lossy[worst]:
        said.append(f"{lossy[worst]} of {len(worst.cycles)} cycles lose codes at {describe(worst.macro)}")
    if wrong[noisy] >= _MANY_WRONG:
        share = f"{100 * wrong[noisy]:.2g} % of the codes of a cycle"
        said.append(f"up to about {share} are wrong by noise and spreads at {describe(noisy.macro)}")
    if own:
        said.append(f"wrong codes by the column's own converters are not estimated at {describe(own[0].macro)}")
    if not said:
        return ""
    return f"accuracy is not in this table: {', and '.join(said)}; asim explain says where, asim sweep what it costs"
