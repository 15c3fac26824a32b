"""Names of the axes of a sweep in figures, with their units."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from asim_lightning.circuit.units import quantity
from asim_lightning.evaluation.axis_settings import NOISE_AXES, RULES, rule_of, setting_of
from asim_lightning.evaluation.results import AxisValue, Result, axis_text, is_number, noise_unit, value_words


def label_of(name: str, labels: Mapping[str, str] = {}) -> str:
    """The text of an axis with its unit; of a field in some layers only, rules.PATTERN.FIELD, with the pattern.

    Args:
        name: Name of the axis.
        labels: Other texts than its setting's, by name.
    """
    if name.startswith(RULES):
        pattern, field = rule_of(name)
        what, bracket, unit = label_of(field, labels).partition(" (")
        return f"{what} of {pattern}{bracket}{unit}"
    return labels.get(name, setting_of(name).heading)


def head_of(name: str, labels: Mapping[str, str] = {}) -> str:
    """The text of an axis without its unit."""
    return label_of(name, labels).split(" (")[0]


def legend_text(axes: Mapping[str, AxisValue], labels: Mapping[str, str] = {}) -> str:
    """Values of axes with their units behind the numbers: "random noise 0.1 %, ADC bits 8"."""
    return ", ".join(
        f"{head_of(name, labels)} {value_words(value)}{_unit(name, labels) if is_number(value) else ''}".strip()
        for name, value in axes.items()
    )


def in_one_unit(
    rows: Sequence[Result], axis: str, labels: Mapping[str, str] = {}
) -> tuple[Sequence[Result], Mapping[str, str], bool]:
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
