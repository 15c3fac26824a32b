"""Labels of axes and costs with their units, for figures and tables."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from asim_lightning.circuit.fields import Setting
from asim_lightning.circuit.macro import MacroConfig
from asim_lightning.circuit.units import quantity
from asim_lightning.evaluation.axis_settings import NOISE_AXES, RULES, rule_of, setting_of
from asim_lightning.evaluation.results import AxisValue, Result, axis_text, is_number, noise_unit, value_words

COSTS = {
    "energy_uj": Setting("energy", "µJ"), "latency_ms": Setting("latency", "ms"), "yield": Setting("yield"),
    "tops_per_watt": Setting("TOPS/W"),
}  # fmt: skip
"""Figures of a point in pictures and tables; next to them are their ends, and the costs of a digital macro."""
_NAMED = ("weight_bits", "input_bits", "rows", "adc_bits")


def label_of(name: str) -> str:
    """The label of an axis or cost with its unit; for a field in some layers, rules.PATTERN.FIELD, with the pattern."""
    if name.startswith(RULES):
        pattern, field = rule_of(name)
        what, bracket, unit = label_of(field).partition(" (")
        return f"{what} of {pattern}{bracket}{unit}"
    return COSTS.get(name, setting_of(name)).heading


def head_of(name: str) -> str:
    """The label of an axis or cost without its unit."""
    return label_of(name).split(" (")[0]


def legend_text(axes: Mapping[str, AxisValue]) -> str:
    """Values of axes with their units after the numbers: "random noise 0.1 %, ADC bits 8"."""
    return ", ".join(f"{head_of(name)} {quantity_of(name, value)}".strip() for name, value in axes.items())


def quantity_of(name: str, value: AxisValue) -> str:
    """A value of an axis with its unit after the number: "0.1 %"."""
    return value_text(label_of(name), value)


def value_text(label: str, value: AxisValue) -> str:
    """A value with the unit of a label."""
    inside = label.partition(" (")[2].rstrip(")").split(" of ")[0]
    return f"{value_words(value)} {inside}" if inside and is_number(value) else value_words(value)


def accuracy_text(row: Result) -> str:
    """The mean outcome of a point with its interval: "91.75 % [88.75, 94.75]"."""
    return f"{row.measure.quantity(row.accuracy)} {row.measure.interval(row.low, row.high)}"


def macro_words(macro: Mapping[str, Any], given: Mapping[str, AxisValue] = {}, varied: Collection[str] = ()) -> str:
    """A macro in a few words: "W8A8, 255 rows, 8-bit ADC", and each other field that is not at its default.

    Values of `given` axes replace its fields; `varied` axes are left out.
    """
    usual, fields = _flat(asdict(MacroConfig())), _flat({**macro, **given})
    left_out = {*varied, *_NAMED, *(name for name in fields if name.startswith("static.") and "static" in varied)}
    bits = "".join(
        f"{letter}{fields[name]}" for letter, name in (("W", "weight_bits"), ("A", "input_bits")) if name not in varied
    )
    rows = "" if "rows" in varied else f"{fields['rows']} rows"
    adc = "" if "adc_bits" in varied else "ideal ADC" if fields["adc_bits"] is None else f"{fields['adc_bits']}-bit ADC"
    others = {
        name: value for name, value in fields.items() if name not in left_out and (name, value) not in usual.items()
    }
    if "column" in others:
        others["column"] = str(others["column"]).rpartition(".")[2]  # the class name of an import path
    return ", ".join(part for part in (bits, rows, adc, legend_text(others)) if part)


def _flat(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a macro, with its static effects as fields static.EFFECT."""
    found: dict[str, Any] = {}
    for name, value in fields.items():
        found |= {f"static.{key}": each for key, each in value.items()} if name == "static" else {name: value}
    return found


def in_one_unit(rows: Sequence[Result], axis: str) -> tuple[Sequence[Result], str]:
    """Rows with the noise along an axis as numbers if all share a unit, else as texts with units; and the label of the
    axis with that unit."""
    shared = noise_unit(row.axes[axis] for row in rows if axis in row.axes) if axis in NOISE_AXES else "%"
    if shared == "%":
        return rows, label_of(axis)
    found = []
    for row in rows:
        read = quantity(row.axes.get(axis))
        if read is not None:
            value = read[0] if shared else f"{axis_text(read[0])} {read[1]}"
            row = replace(row, axes={**row.axes, axis: value})
        found.append(row)
    unit = {"lsb": " (LSB)", None: ""}.get(shared, f" ({shared})")
    return found, f"{head_of(axis)}{unit}"


def cost_text(name: str, costs: Mapping[str, float]) -> str:
    """A number with four digits, its low and high, and its unit: "1.234 [0.9, 1.6] µJ"."""
    low, high = (costs.get(f"{name}_{end}") for end in ("low", "high"))
    ends = "" if low is None or high is None else f" [{low:.3g}, {high:.3g}]"
    return f"{costs[name]:.4g}{ends} {COSTS[name].unit}".rstrip()
