"""A network's macros as a file of AccelForge: components, the energy of their actions, and a workload."""

import math
import re
from typing import Any

import yaml

from asim_lightning.cost.action_counts import ACTIONS, LayerActions, action_counts
from asim_lightning.cost.cost_report import CostReport
from asim_lightning.cost.layer_cost import LayerCost

_HEAD = """\
# Made by asim cost --export accelforge. Energies in J for one image, areas in m^2 for all instances, 0 if not known.
# AccelForge computes counts by its mapper, so actions_scale brings the counts of asim_layers to its outputs.
# Replace System by your buffers, and leave the components below it. Everything that is reused is inside Macro.
"""
_OUTPUT = "bgpqm"
"""Ranks of an output."""
_LAYER = "asim_layers[min(output.instance)]"
"""The entry of the einsum's layer in the section of variables, found by its output tensor."""
_NODES = """
arch:
  nodes:
  - !Memory
    name: System
    size: inf
    area: 0
    leak_power: 0
    tensors: {keep: input | output | loaded}
    actions:
    - {name: read, energy: 0, throughput: inf}
    - {name: write, energy: 0, throughput: inf}
"""
_TOLL = """\
  - !Toll
    name: %(component)s
    area: %(area)s
    leak_power: 0
    direction: up
    tensors: {keep: output}
    values_per_action: {All: 1}
    actions_scale: "%(layer)s['%(name)s'][0] / %(layer)s['outputs']"
    actions:
    - {name: read, energy: "%(layer)s['%(name)s'][1]", throughput: inf}
"""
_MACRO = f"""\
  - !Memory
    name: Macro
    size: inf
    area: 0
    leak_power: 0
    tensors: {{keep: All}}
    actions:
    - {{name: read, energy: 0, throughput: inf}}
    - {{name: write, energy: 0, throughput: inf}}
  - !Compute
    name: Products
    area: 0
    leak_power: 0
    actions:
    - {{name: compute, energy: 0, throughput: "{_LAYER}['macs_per_second'] or inf"}}

"""


def accelforge_text(report: CostReport) -> str:
    """The YAML file for AccelForge: variables with the counts of each layer, architecture, and workload.

    Layers without an einsum, such as transforms, are in `asim_not_in_workload` with their energy.
    """
    layers, einsums, left_out = dict[str, Any](), list[dict[str, Any]](), dict[str, Any]()
    for number, each in enumerate(action_counts(report)):
        name = f"{re.sub(r'[^0-9A-Za-z_]', '_', each.layer.name) or 'network'}_{number}"
        einsum = _einsum(name, number, each.layer)
        if einsum is None:
            left_out[each.layer.name or "(network)"] = 1e-15 * each.layer.energy.total
            continue
        sizes, written = einsum
        einsums.append(written)
        layers[f"{name}_out"] = _counts(each, sizes, each.layer.seconds_a_cycle(report.technology))
    used = [name for name in ACTIONS if any(each[name][0] for each in layers.values())]
    areas = _areas(report)
    tolls = (
        _TOLL % {"name": name, "layer": _LAYER, "component": ACTIONS[name].component, "area": areas.get(name, 0)}
        for name in used
    )
    notes = "".join(f"# {line}\n" for note in report.notes for line in note.splitlines())
    sections = (
        {"variables": {"asim_layers": layers, "asim_not_in_workload": left_out}},
        {"workload": {"einsums": einsums}},
    )
    variables, workload = (yaml.safe_dump(each, sort_keys=False, width=10_000) for each in sections)
    return f"{_HEAD}{notes}\n{variables}{_NODES}{''.join(tolls)}{_MACRO}{workload}"


def _counts(actions: LayerActions, sizes: dict[str, int], cycle_seconds: float) -> dict[str, Any]:
    """Counts of actions with the energy of each, J, and the rate that gives the layer's time; 0 without time."""
    macs, outputs = actions.layer.done.macs, _values(sizes, _OUTPUT)
    seconds = actions.layer.done.cycles * cycle_seconds
    counts: dict[str, Any] = {
        name: [actions.counts[name], 1e-15 * (energy or 0.0)] for name, energy in actions.energies.items()
    }
    rate = macs / seconds if seconds else 0
    return {"layer": actions.layer.name, "outputs": outputs, "macs": macs, "macs_per_second": rate, **counts}


def _areas(report: CostReport) -> dict[str, float]:
    """Areas of all converters and of all cells by the action that they do, m^2; empty if they are not known."""
    if report.area is None:
        return {}
    converters = 1e-12 * report.converters * float(report.technology.value("adc_area"))
    return {"adc_conversions": converters, "column_activations": 1e-6 * report.area - converters}


def _ranks(layer: LayerCost) -> tuple[dict[str, int], str, tuple[tuple[int, int], tuple[int, int]]] | None:
    """Sizes of the ranks of a layer's einsum, the ranks of its weights, and its (stride, dilation).

    Ranks: b rows of the batch, g groups or heads, m outputs, p and q positions; c, r and t are summed. A layer that was
    not converted, or that was called with several shapes, is a matrix product of its windows. None: no einsum has the
    layer's values and products.
    """
    shape, moved = layer.shapes[0] if layer.shapes else None, layer.traffic
    if moved is None or moved.groups is None:
        return None
    of_weight, steps = "gcrtm", ((1, 1), (1, 1))
    if shape is not None and shape.rows and set(layer.shapes) == {shape}:
        geometry = shape.geometry
        (p, q), (r, t) = geometry.output_size, geometry.kernel
        sizes = {"b": len(layer.shapes) * shape.rows, "g": geometry.groups, "p": p, "q": q, "m": shape.columns}
        sizes |= {"c": geometry.channels, "r": r, "t": t}
        of_weight, steps = "b" * shape.is_written + of_weight, (geometry.stride, geometry.dilation)
    elif moved.outputs and layer.done.macs:
        groups, summed = moved.groups, layer.done.macs // moved.outputs
        columns = max(1, moved.weights // (groups * summed))
        sizes = {"p": moved.outputs // (groups * columns), "g": groups, "m": columns, "c": summed}
    else:
        return None
    found = _values(sizes, of_weight), _values(sizes, _OUTPUT), _values(sizes, "".join(sizes))
    return (sizes, of_weight, steps) if found == (moved.weights, moved.outputs, layer.done.macs) else None


def _values(sizes: dict[str, int], ranks: str) -> int:
    """Number of values of a tensor with these ranks."""
    return math.prod(sizes.get(rank, 1) for rank in ranks)


def _einsum(name: str, number: int, layer: LayerCost) -> tuple[dict[str, int], dict[str, Any]] | None:
    """Sizes of an einsum's ranks, and the einsum; None for a layer that no einsum describes."""
    ranked = _ranks(layer)
    if ranked is None:
        return None
    sizes, of_weight, steps = ranked
    found = {rank: size for rank, size in sizes.items() if size > 1 or rank in "mc"}

    def projected(ranks: str) -> dict[str, str]:
        return {rank.upper(): f"{rank}{number}" for rank in ranks if rank in found}

    inputs = projected("bgc")
    for axis, side, kernel, stride, dilation in zip("pq", "HW", "rt", *steps, strict=True):
        terms = [f"{axis}{number} * {stride}"] * (axis in found)
        terms += [f"{kernel}{number} * {dilation}"] * (kernel in found)
        if terms:
            inputs[side] = " + ".join(terms)
    tensors = [
        {"name": f"{name}_in", "projection": inputs, "bits_per_value": layer.bits[1]},
        {"name": f"{name}_w", "projection": projected(of_weight), "bits_per_value": layer.bits[0]},
        {"name": f"{name}_out", "projection": projected(_OUTPUT), "output": True, "bits_per_value": layer.bits[1]},
    ]
    names = {"input": f"{name}_in", "weight": f"{name}_w", "output": f"{name}_out"}
    is_loaded = layer.macro is None or any(each.is_written for each in layer.shapes)
    return found, {
        "name": name,
        "iteration_space_shape": [f"0 <= {rank}{number} < {size}" for rank, size in found.items()],
        "tensor_accesses": tensors,
        "renames": {**names, "loaded": f"{name}_w" if is_loaded else "Nothing"},
    }
