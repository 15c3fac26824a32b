"""Counts of a network's actions, layer by layer, and the energy of each, for models of the rest of a system."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from asim_lightning.cost.cost_report import CostReport
from asim_lightning.cost.layer_cost import LayerCost
from asim_lightning.table import Rows


@dataclass(frozen=True)
class Action:
    """An action of a component: its count for one image, and its part of a layer's energy."""

    component: str
    count: Callable[[LayerCost], int]
    energy: Callable[[LayerCost], float]
    """Energy of all these actions of a layer, fJ."""


def _off_macro(layer: LayerCost) -> bool:
    return layer.macro is None and not layer.done.additions


ACTIONS: Mapping[str, Action] = {
    "adc_conversions": Action("ADC", lambda each: each.done.conversions, lambda each: each.energy.adc),
    "column_activations": Action("Columns", lambda each: each.done.conversions, lambda each: each.energy.array),
    "array_reads": Action("RowDrivers", lambda each: each.done.array_reads, lambda each: each.energy.drivers),
    "shift_adds": Action(
        "ShiftAdder", lambda each: each.done.shift_adds, lambda each: each.energy.shift_add - each.complements
    ),
    "complement_sums": Action("ComplementAdder", lambda each: each.done.complement_sums, lambda each: each.complements),
    "digital_cycles": Action(
        "DigitalCycle",
        lambda each: each.done.digital_cycles,
        lambda each: each.energy.digital if each.macro is not None else 0.0,
    ),
    "digital_macs": Action(
        "DigitalMAC",
        lambda each: each.done.macs if _off_macro(each) else 0,
        lambda each: each.energy.digital if _off_macro(each) else 0.0,
    ),
    "transform_additions": Action(
        "TransformAdder",
        lambda each: each.done.additions,
        lambda each: each.energy.digital if each.done.additions else 0.0,
    ),
    "cell_writes": Action("CellWrite", lambda each: each.done.cells_written, lambda each: each.energy.writes),
}
"""The actions that have an energy, by the name of their count."""


@dataclass(frozen=True)
class LayerActions:
    """The actions of a layer for one image."""

    layer: LayerCost
    counts: Mapping[str, int]
    energies: Mapping[str, float | None]
    """Mean energy of each action, fJ; None if the layer has no such action, or if the action has no price."""

    @property
    def other(self) -> float:
        """Energy of the layer that no action carries, fJ; 0 for sums that only round differently."""
        left = self.layer.energy.total - sum(
            self.counts[name] * energy for name, energy in self.energies.items() if energy is not None
        )
        return left if abs(left) > 1e-9 * self.layer.energy.total else 0.0


def action_counts(report: CostReport) -> list[LayerActions]:
    """The actions of each layer, in the order of the report."""
    found = []
    for layer in report.layers:
        counts = {name: action.count(layer) for name, action in ACTIONS.items()}
        energies = {
            name: action.energy(layer) / counts[name] if counts[name] else None for name, action in ACTIONS.items()
        }
        if not report.technology.cell_write:
            energies["cell_writes"] = None
        found.append(LayerActions(layer, counts, energies))
    return found


def action_rows(report: CostReport) -> Rows:
    """Cells of actions.csv, the head first: a row a layer, and rows without counts for all that no action carries.

    There is no row for all layers, so that the sum of a column is its total.
    """
    rows = [row for each in action_counts(report) for row in _rows_of(each)]
    rows += [{"layer": "(note)", "note": note} for note in report.notes]
    last = ("energy_fj", "note")  # a layer may lack the columns before them
    names = [*dict.fromkeys(name for row in rows for name in row if name not in last), *last]
    return [[*names], *([row.get(name) for name in names] for row in rows)]


def _rows_of(actions: LayerActions) -> Iterator[dict[str, Any]]:
    layer = actions.layer
    row: dict[str, Any] = {
        "layer": layer.name or "(network)",
        "kind": layer.kind,
        "on_macro": layer.macro is not None,
        "weight_bits": layer.bits[0],
        "input_bits": layer.bits[1],
    }
    for name, count in actions.counts.items():
        row |= {name: count, f"{name}_fj_each": actions.energies[name]}
    yield {**row, **_traffic(layer), "energy_fj": layer.energy.total - actions.other, "note": layer.why_digital}
    if actions.other:
        parts = ", ".join(name for name, energy in layer.energy.parts.items() if energy)
        why = f"energy without a count of actions; the layer has {parts} energy"
        yield {"layer": f"(other) {layer.name}", "energy_fj": actions.other, "note": why}


def _traffic(layer: LayerCost) -> dict[str, int]:
    """Bytes that a layer takes and gives for one image, and what is written once for all images."""
    moved, (weight_bits, input_bits) = layer.traffic, layer.bits
    is_written = layer.done.cells_written > 0
    found: dict[str, int] = {
        "cells_written_once": 0 if is_written else layer.done.cells,
        "complement_bits": layer.done.complement_bits,
    }
    if moved is None:
        return found
    weight_bytes = _bytes(moved.weights, weight_bits)
    return found | {
        "weight_bytes_once": 0 if is_written else weight_bytes,
        "written_operand_bytes": weight_bytes if is_written else 0,
        "input_bytes": _bytes(moved.inputs, input_bits),
        "row_input_bytes": _bytes(moved.row_inputs, input_bits),
        "output_values": moved.outputs,
        "output_bytes": _bytes(moved.outputs, input_bits),
    }


def _bytes(values: int, bits: int) -> int:
    """Whole bytes of packed values."""
    return -(-values * bits // 8)
