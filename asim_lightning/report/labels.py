"""Words for figures and tables: labels of axes and costs with their units, counts, times and rates."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from asim_lightning.circuit.fields import Setting
from asim_lightning.circuit.macro import MacroConfig
from asim_lightning.circuit.units import quantity
from asim_lightning.circuit.voltage import NOISE_AXES
from asim_lightning.evaluation.axis_settings import RULES, rule_of, setting_of
from asim_lightning.evaluation.results import AxisValue, Result, axis_text, is_number, noise_unit, value_words
from asim_lightning.table import short

COSTS = {
    "energy_uj": Setting("energy", "µJ"), "adcs": Setting("ADCs"), "area_mm2": Setting("area", "mm²"),
    "latency_ms": Setting("latency", "ms"), "yield": Setting("yield"), "tops_per_watt": Setting("TOPS/W"),
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

    def in_unit(row: Result) -> Result:
        if (read := quantity(row.axes.get(axis))) is None:
            return row
        return replace(row, axes={**row.axes, axis: read[0] if shared else f"{axis_text(read[0])} {read[1]}"})

    unit = {"lsb": " (LSB)", None: ""}.get(shared, f" ({shared})")
    return list(map(in_unit, rows)), f"{head_of(axis)}{unit}"


def cost_number(name: str, value: float, digits: int = 4) -> str:
    """A cost with some digits; a number of ADCs with all."""
    return f"{value:,.0f}" if name == "adcs" else f"{value:.{digits}g}"


def cost_text(name: str, costs: Mapping[str, float]) -> str:
    """A number with four digits, its low and high, and its unit: "1.234 [0.9, 1.6] µJ"."""
    low, high = (costs.get(f"{name}_{end}") for end in ("low", "high"))
    ends = "" if low is None or high is None else f" [{low:.3g}, {high:.3g}]"
    return f"{cost_number(name, costs[name])}{ends} {COSTS[name].unit}".rstrip()


def duration(seconds: float, digits: int = 1) -> str:
    """A time, such as "850 ms", "42.0 s", "5.3 min", "2.1 h" or "3.5 days"; `digits` decimals for s and min."""
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    for unit, size, limit in (("s", 1, 120), ("min", 60, 7200)):
        if seconds < limit:
            return f"{seconds / size:.{digits}f} {unit}"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:,.1f} days"


def milliseconds(seconds: float) -> str:
    """A time in milliseconds with three digits, without its unit."""
    return short(1000 * seconds)


def rate(value: float | None) -> str:
    """A number with three digits and an exponent, as in 2.74e8; a dash for None."""
    return "-" if value is None else f"{value:.2e}".replace("e+0", "e").replace("e+", "e")
