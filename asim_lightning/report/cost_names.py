"""Names of the columns of costs in words, with units."""

from collections.abc import Mapping, Sequence

from asim_lightning.evaluation.axis_settings import setting_of

_UNITS = {
    "energy": "µJ", "all_digital": "µJ", "latency": "ms", "tops_per_watt": "TOPS/W",
    "uj": "µJ", "nj": "nJ", "pj": "pJ", "fj": "fJ", "ms": "ms", "us": "µs", "s": "s", "mm2": "mm²",
}  # fmt: skip
"""Units of columns by their name, or by the part behind its last underscore."""
_ENDS = ("_low", "_high")
ALL_DIGITAL = ("all_digital", "all_digital_uj")
"""Columns of the energy of the same products in a digital macro, µJ an image."""


def unit_of(name: str) -> str:
    """The unit of a column; empty where it has none."""
    base = _base(name)
    return _UNITS.get(base) or _UNITS.get(base.rpartition("_")[2].lower(), "")


def cost_label(name: str) -> str:
    """The name of a column in words, with its unit: of energy_uj "energy (µJ)", of adc_bits "ADC bits"."""
    unit, base = unit_of(name), _base(name)
    if unit in ("", "TOPS/W"):
        return unit or setting_of(base).heading
    words = base if base in _UNITS else base.rpartition("_")[0]
    return f"{words.replace('_', ' ')} ({unit})"


def cost_text(name: str, costs: Mapping[str, float]) -> str:
    """A number with four digits, the ends between which a model knows it, and its unit: "1.234 [0.9, 1.6] µJ".

    Args:
        name: Its column.
        costs: Numbers by column.
    """
    low, high = (costs.get(name + end) for end in _ENDS)
    ends = "" if low is None or high is None else f" [{low:.3g}, {high:.3g}]"
    return f"{costs[name]:.4g}{ends} {unit_of(name)}".rstrip()


def main_costs(names: Sequence[str]) -> list[str]:
    """Columns without those that are ends of another's range, and without what another macro takes."""
    return [
        name for name in names if _base(name) not in ALL_DIGITAL and not (name.endswith(_ENDS) and _base(name) in names)
    ]


def _base(name: str) -> str:
    return next((name.removesuffix(end) for end in _ENDS if name.endswith(end)), name)
