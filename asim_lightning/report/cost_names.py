"""Names of the columns of costs in words, with units."""


def cost_text(name: str, value: float) -> str:
    """A number with four digits and its unit: of energy_uj "1.234 uJ"."""
    unit = unit_of(name)
    return f"{value:.4g}{f' {unit}' if unit else ''}"


_UNITS = {"uj": "µJ", "nj": "nJ", "pj": "pJ", "fj": "fJ", "ms": "ms", "us": "µs", "s": "s", "mm2": "mm²"}


def unit_of(name: str) -> str:
    """The unit that ends the name of a column."""
    return "TOPS/W" if name.endswith("tops_per_watt") else _UNITS.get(name.rpartition("_")[2].lower(), "")


def cost_label(name: str) -> str:
    """The name of a column in words, with its unit: "energy (µJ)"."""
    unit = unit_of(name)
    if unit == "TOPS/W":
        return name.removesuffix("tops_per_watt").replace("_", " ") + "TOPS/W"
    head = name.rpartition("_")[0] if unit else name
    return head.replace("_", " ") + (f" ({unit})" if unit else "")
