"""The cost of a network as text tables, and as a CSV file."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from asim_lightning.cost.layer_cost import LayerCost, tops_per_watt
from asim_lightning.cost.technology import Technology
from asim_lightning.cost.validation import Comparison, Validation
from asim_lightning.surgery.conversion_report import describe
from asim_lightning.text_table import csv_text, short, text_table

if TYPE_CHECKING:
    from asim_lightning.cost.cost_report import CostReport

_ENERGIES = (("mJ", 1e12), ("uJ", 1e9), ("nJ", 1e6), ("pJ", 1e3), ("fJ", 1.0))
_TIMES = (("s", 1.0), ("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9))
_COUNTS = (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3), ("", 1.0))
PARTS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "array": ("cells and lines of the columns", ("row_capacitance",)),
    "adc": ("converters", ("adc_bit", "adc_noise")),
    "drivers": ("drivers of several input bits", ("driver", "columns")),
    "shift_add": ("sums over weight bits, accumulators", ("full_adder", "flip_flop")),
    "digital": ("digital cycles and layers", ("digital_mac",)),
    "writes": ("written cells", ("cell_write",)),
}
"""Parts of an energy: what each is, and the coefficients that decide it."""
LABELS = {
    "array": "array", "adc": "ADC", "drivers": "drivers", "shift_add": "shift-add", "digital": "digital",
    "writes": "writes",
}  # fmt: skip
"""Parts of an energy as people read them."""


def cost_text(report: "CostReport") -> str:
    """All of a cost: technology, layers, parts of the energy, and totals."""
    parts = (technology_line(report.technology), layer_table(report), part_table(report), totals_text(report))
    return "\n\n".join(parts)


def layer_table(report: "CostReport") -> str:
    """A row for each layer, and one for all: what is done for one image, its energy and its time.

    Columns of what no layer does are left out, and macros, where all are the same.
    """
    unit, size = _smaller_unit(report.energy.total)
    header = [
        ("", "", "", "", "conver-", "array", "digital", "shift-", "cells", "rows in", "energy", "share", "if digital",
         "", "", ""),
        ("layer", "kind", "on", "MACs", "sions", "reads", "cycles", "adds", "written", "use, %", unit, "%", unit,
         "time", "TOPS/W", "why on no macro"),
    ]  # fmt: skip
    macros = {layer.macro for layer in report.layers} - {None}
    rows = [_layer_row(layer, report, size, len(macros) > 1) for layer in report.layers]
    done = report.done
    rows.append(
        (
            f"{len(report.layers)} layers", "", "", count(done.macs), count(done.conversions), count(done.array_reads),
            count(done.digital_cycles), count(done.shift_adds), count(done.cells_written),
            f"{100 * report.rows_in_use:.0f}", short(report.energy.total / size), "100.0",
            short(report.all_digital / size), time(report.latency), _efficiency(report.tops_per_watt), "",
        )
    )  # fmt: skip
    sides = "lllrrrrrrrrrrrrl"
    kept = [place for place in range(len(sides)) if any(row[place] not in ("-", "") for row in rows)]
    table = [[row[place] for place in kept] for row in (*header, *rows)]
    text = text_table(table, 2, "".join(sides[place] for place in kept))
    return text if len(macros) != 1 else f"macro: {describe(next(iter(macros)))}\n{text}"


def part_table(report: "CostReport") -> str:
    """A row for each part of the energy: its share, and the coefficients that decide it with their sources."""
    unit, size = _smaller_unit(report.energy.total)
    rows: list[Sequence[str]] = [("part", unit, "%", "of", "decided by", "from")]
    for part, value in report.energy.parts.items():
        if not value and part in ("drivers", "digital", "writes"):
            continue
        what, names = PARTS[part]
        share = 100 * value / report.energy.total if report.energy.total else 0.0
        first = [LABELS[part], short(value / size), f"{share:.1f}", what]
        t = report.technology
        if part == "array" and t.value("unit_capacitor") is not None:
            names = ("unit_capacitor", "parasitics")
        for name in names:
            rows.append((*first, f"{name} {t.value(name):g}", t.source(name)))
            first = [""] * 4
    return text_table(rows, 1, "lrrlll")


def totals_text(report: "CostReport") -> str:
    """Totals in lines: energy with its range, the all-digital point, time, efficiency, area."""
    t = report.technology
    lines = [
        f"energy    {energy(report.energy.total)} an image, {_range(report.energy_range)} within the model's factor "
        f"({t.factor:g} of analog parts: {t.source('factor')}; {t.digital_factor:g} of digital ones: "
        f"{t.source('digital_factor')})",
        f"digital   {energy(report.all_digital)} if all products were computed in a digital macro "
        f"({_range(report.all_digital_range)}), {t.digital_mac:g} fJ a product of bits at 28 nm and 0.9 V: "
        f"{t.source('digital_mac')}",
    ]
    if report.verdict:
        lines.insert(2, f"verdict   {report.verdict}")
    if (each := report.bit_mac_energy) is not None:
        lines.append(
            f"a product {each[0]:.2f} fJ for one bit by one bit as used, {each[1]:.2f} fJ if every row held a weight, "
            f"{each[2]:.2f} fJ in a digital macro (layers on macros)"
        )
    if report.tops is not None and report.tops_per_watt is not None:
        peak = report.peak_tops_per_watt
        lines.append(
            f"time      {time(report.latency)} from image to answer, {time(report.interval)} from image to image where "
            f"all layers work at once; {report.tops:.3g} TOPS one after another; {t.value('cycle_ns'):g} ns a "
            f"conversion: {t.source('cycle_ns')}"
        )
        lines.append(
            f"TOPS/W    {_efficiency(report.tops_per_watt)} utilised, {_efficiency(peak)} at peak: if every row of "
            "the layers on macros held a weight"
        )
    if (published := report.published_bit_tops_per_watt) is not None:
        model = _efficiency(report.peak_bit_tops_per_watt)
        lines.append(
            f"1b-TOPS/W {model} at peak by the model, {short(published)} published of {t.preset} (operations of one "
            "bit by one bit, two a product)"
        )
    done = report.done
    lines.append(
        f"cells     {count(done.cells)} hold weights of {count(done.all_cells)} in columns in use, "
        f"{count(done.converters)} converters"
    )
    if report.area is not None:
        lines[-1] += f", {short(report.area)} mm^2 of both ({t.source('cell_area')}; {t.source('adc_area')})"
    return "\n".join([*lines, *(f"note      {note}" for note in report.notes)])


def technology_line(technology: Technology) -> str:
    """Node, supply and cell with their sources, in a line."""
    t = technology
    cell = f"{t.cell_capacitance:.3g} fF a row"
    return (
        f"technology {t.preset}: {t} (node: {t.source('node')}; supply: {t.source('supply')}), {cell}, "
        f"charging {t.charging}, model {t.energy_model}"
    )


def cost_csv(report: "CostReport") -> str:
    """A row for each layer with every number, as `CostReport.rows` names them."""
    rows: list[dict[str, Any]] = report.rows()
    return csv_text([list(rows[0]) if rows else ["layer"], *(list(row.values()) for row in rows)], "\n")


def validation_text(found: Validation) -> str:
    """The model against silicon, in tables."""
    parts = [
        _comparisons("column", found.chips, True),
        f"{found.within(1.5)} of {len(found.chips)} within 1.5, {found.within(2.0)} within 2, geometric mean "
        f"{found.bias:.2f}, typical factor {found.typical_factor:.2f} (on the rows that it is fitted to; one paper "
        "left out at a time: 1.47)",
        _comparisons("component", found.components),
        _comparisons("V^2 of the supply", found.supplies),
        _comparisons("model at the supply", found.absolute),
        "CR-CIM 65 nm (818 1b-TOPS/W, supply not published) would match at "
        + ", ".join(f"{volts:.2f} V by {what}" for what, volts in found.matching.items()),
    ]
    return "\n\n".join(parts)


def _comparisons(name: str, rows: Sequence[Comparison], efficiency: bool = False) -> str:
    header = (name, "paper", "1b-TOPS/W", "reported, pJ", "model, pJ", "model/reported", "note")
    cells = []
    for each in rows:
        chip = each.chip
        known = (chip.paper, f"{chip.tops_per_watt:g}") if chip else ("", "")
        pair = (f"{1e-3 * each.reported:.2f}", f"{1e-3 * each.modelled:.2f}", f"{each.ratio:.2f}", each.note)
        cells.append((each.what, *known, *pair))
    if efficiency:
        return text_table([header, *cells], 1, "llrrrrl")
    return text_table([(row[0], *row[3:]) for row in (header, *cells)], 1, "lrrrl")


def energy_unit(femtojoules: float) -> tuple[str, float]:
    """The unit in which an energy has one to three digits before the point, and its size in fJ."""
    return next((each for each in _ENERGIES if femtojoules >= each[1]), _ENERGIES[-1])


def _smaller_unit(femtojoules: float) -> tuple[str, float]:
    """A unit in which parts of an energy have digits."""
    found = energy_unit(femtojoules)
    smaller = _ENERGIES.index(found) + 1
    return found if femtojoules >= 100 * found[1] or smaller == len(_ENERGIES) else _ENERGIES[smaller]


def energy(femtojoules: float) -> str:
    """An energy with three digits and its unit, as in "541 uJ"."""
    unit, size = energy_unit(femtojoules)
    return f"{short(femtojoules / size)} {unit}"


def time(seconds: float) -> str:
    """A time with three digits and its unit, as in "1.25 ms"; a dash for none."""
    if not seconds:
        return "-"
    unit, size = next((each for each in _TIMES if seconds >= each[1]), _TIMES[-1])
    return f"{short(seconds / size)} {unit}"


def count(number: int) -> str:
    """A number with three digits and k, M, G or T; a dash for none."""
    if not number:
        return "-"
    letter, size = next(each for each in _COUNTS if number >= each[1])
    return f"{short(number / size)} {letter}" if letter else str(number)


def _layer_row(layer: LayerCost, report: "CostReport", size: float, several: bool) -> Sequence[str]:
    done, total = layer.done, layer.energy.total
    on = f"digital W{layer.bits[0]}A{layer.bits[1]}"
    if layer.macro is not None:
        on = describe(layer.macro) if several else "macro"
    return (
        layer.name, layer.kind, on, count(done.macs), count(done.conversions), count(done.array_reads),
        count(done.digital_cycles), count(done.shift_adds), count(done.cells_written),
        f"{100 * done.rows_in_use:.0f}" if layer.macro else "-", short(total / size),
        f"{100 * total / report.energy.total:.1f}" if report.energy.total else "-", short(layer.all_digital / size),
        time(done.cycles * report.technology.cycle_seconds), _efficiency(tops_per_watt(done.macs, total)),
        layer.why_digital,
    )  # fmt: skip


def _range(ends: tuple[float, float]) -> str:
    return f"{energy(ends[0])} to {energy(ends[1])}"


def _efficiency(value: float | None) -> str:
    return "-" if value is None else short(value)
