"""Names of the axes of a sweep in figures, with their units."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from asim_lightning.circuit.units import quantity
from asim_lightning.evaluation.results import (
    NOISE_AXES,
    AxisValue,
    PointResult,
    axis_text,
    is_number,
    noise_unit,
    value_words,
)

LABELS: Mapping[str, str] = {
    "random_noise": "random noise (% of full scale)",
    "nonlinear_noise": "nonlinear noise (% of full scale)",
    "adc_bits": "ADC bits",
    "adc_step": "counts an LSB",
    "adc_low": "count of code 0",
    "weight_bits": "weight bits",
    "input_bits": "input bits",
    "encoding_bits": "input bits a cycle",
    "rows": "rows",
    "full_scale_mv": "full scale (mV)",
    "unit_capacitor_ff": "capacitor of a cell (fF)",
    "digital_adc": "digital cycles pass the ADC",
    "column": "column model",
    "column_args": "arguments of the column model",
}
"""Text of an axis, with its unit in parentheses; for other axes, the name with blanks for underscores."""


def label_of(name: str, labels: Mapping[str, str]) -> str:
    """The text of an axis with its unit; of a field in some layers alone, rules.PATTERN.FIELD, with the pattern."""
    if name.startswith("rules."):
        pattern, _, field = name.removeprefix("rules.").rpartition(".")
        what, bracket, unit = label_of(field, labels).partition(" (")
        return f"{what} of {pattern}{bracket}{unit}"
    return labels.get(name, name.replace("_", " "))


def head_of(name: str, labels: Mapping[str, str]) -> str:
    """The text of an axis without its unit."""
    return label_of(name, labels).split(" (")[0]


def legend_text(axes: Mapping[str, AxisValue], labels: Mapping[str, str]) -> str:
    """Values of axes with their units behind the numbers: "random noise 0.1 %, ADC bits 8"."""
    return ", ".join(
        f"{head_of(name, labels)} {value_words(value)}{_unit(name, labels) if is_number(value) else ''}".strip()
        for name, value in axes.items()
    )


def in_one_unit(
    rows: Sequence[PointResult], axis: str, labels: Mapping[str, str]
) -> tuple[Sequence[PointResult], Mapping[str, str], bool]:
    """Rows with the noise along an axis as numbers of one unit where they share one, else as texts with units.

    Returns:
        The rows, the labels with that unit, and whether it is percent of full scale.
    """
    if axis not in NOISE_AXES:
        return rows, labels, False
    shared = noise_unit(row.axes[axis] for row in rows if axis in row.axes)
    if shared == "%":
        return rows, labels, True
    found = []
    for row in rows:
        read = quantity(row.axes.get(axis))
        if read is not None:
            value = read[0] if shared else f"{axis_text(read[0])} {read[1]}"
            row = replace(row, axes={**row.axes, axis: value})
        found.append(row)
    unit = {"lsb": " (LSB)", None: ""}.get(shared, f" ({shared})")
    return found, {**labels, axis: f"{head_of(axis, labels)}{unit}"}, False


def _unit(name: str, labels: Mapping[str, str]) -> str:
    """The unit behind a number: " %" of "random noise (% of full scale)"."""
    inside = label_of(name, labels).partition(" (")[2].rstrip(")")
    return f" {inside.split(' of ')[0]}" if inside else ""
