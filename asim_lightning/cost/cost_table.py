"""The cost of a network as tables."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeAlias

from asim_lightning.cost.layer_cost import PARTS, tops_per_watt
from asim_lightning.cost.technology import WIDE_FACTOR, Technology
from asim_lightning.cost.validation import Comparison, Validation
from asim_lightning.surgery.plan import are_many, kinds_of
from asim_lightning.table import Table, TableColumn, plain, short

if TYPE_CHECKING:
    from asim_lightning.cost.cost_report import CostReport

_ENERGIES = (("mJ", 1e12), ("uJ", 1e9), ("nJ", 1e6), ("pJ", 1e3), ("fJ", 1.0))
_TIMES = (("s", 1.0), ("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9))
_COUNTED = {
    "macs": "MACs", "conversions": "conversions", "array_reads": "array\nreads", "digital_cycles": "digital\ncycles",
    "shift_adds": "shift-\nadds", "complement_sums": "comple-\nments", "additions": "addi-\ntions",
    "cells_written": "cells\nwritten",
}  # fmt: skip
_COUNTS = (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3), ("", 1.0))


Layer: TypeAlias = Mapping[str, Any]
"""Costs of a layer for one image, as in `CostReport.rows` and cost.json."""


def cost_text(report: "CostReport") -> str:
    """All tables of a cost: technology, layers, parts of the energy, and totals."""
    t, layers = report.technology, [layer_table(by_kind(report.rows()))] if report.layers else []
    technology = (
        f"technology {t.preset}: {t} (node: {t.source('node')}; supply: {t.source('supply')}), "
        f"{t.cell_capacitance:.3g} fF a row, charging {t.charging}, model {t.energy_model}"
    )
    return "\n\n".join(map(str, [technology, *layers, part_table(report), totals_text(report)]))


def layer_table(layers: Sequence[Layer]) -> Table[Layer]:
    """A row for each layer, and one for all: operations, energy and time for one image.

    Columns that are 0 for all layers, and the macro if all layers have the same, are only in the CSV.
    """
    total = _sum(layers)
    unit, size = _smaller_unit(1e3 * total["energy_pj"])
    picojoules, whole = 1e-3 * size, total["energy_pj"]
    macros = {layer.get("macro", "") for layer in layers if layer["on_macro"]}

    def on(layer: Layer) -> str:
        if not layer["on_macro"]:
            return f"digital W{layer['weight_bits']}A{layer['input_bits']}"
        return str(layer["macro"]) if len(macros) > 1 else "macro"

    def share(layer: Layer) -> str:
        return f"{100 * layer['energy_pj'] / whole:.1f}" if whole else "-"

    columns = [
        TableColumn[Layer]("layer", lambda layer: layer["layer"], side="l"),
        TableColumn("kind", lambda layer: layer["kind"], side="l"),
        TableColumn("on", lambda layer: on(layer) if layer is not total else "", side="l"),
        *(TableColumn[Layer](head, lambda layer, name=name: count(layer[name])) for name, head in _COUNTED.items()),  # type: ignore[misc]
        TableColumn("rows in\nuse, %", lambda layer: f"{100 * layer['rows_in_use']:.0f}" if layer["on_macro"] else "-"),
        TableColumn(f"energy\n{unit}", lambda layer: short(layer["energy_pj"] / picojoules)),
        TableColumn("share\n%", share),
        TableColumn(f"if digital\n{unit}", lambda layer: short(layer["all_digital_pj"] / picojoules)),
        TableColumn("time", lambda layer: time(layer["latency_s"])),
        TableColumn("TOPS/W", lambda layer: _efficiency(layer["tops_per_watt"])),
        TableColumn("why on no macro", lambda layer: layer["why_digital"], side="l"),
    ]
    _, *cells = Table(columns, [*layers, total]).shown
    kept = [place for place in range(len(columns)) if any(row[place] not in ("-", "") for row in cells)]
    numbers: dict[str, Any] = {name: itemgetter(name) for name in layers[0]}
    numbers["energy_share"] = lambda layer: layer["energy_pj"] / whole if whole else ""
    note = f"macro: {macros.pop()}" if len(macros) == 1 else ""
    last = [str(cells[-1][place]) for place in kept]
    return Table([*(columns[place] for place in kept), TableColumn("", None, numbers)], layers, note, last=last)


def by_kind(layers: Sequence[Layer]) -> list[Layer]:
    """The layers; of many, one row for all layers of a kind on equal macros (see `kinds_of`)."""
    every = [layer["layer"] for layer in layers]
    if not are_many(every):
        return list(layers)
    kind_of = {name: kind for kind, names in kinds_of(every).items() for name in names}
    alike = dict[tuple[object, ...], list[Layer]]()
    same = ("kind", "on_macro", "macro", "weight_bits", "input_bits", "why_digital")
    for layer in layers:
        key = kind_of.get(layer["layer"], layer["layer"]), *(layer[name] for name in same)
        alike.setdefault(key, []).append(layer)
    return [
        each[0]
        if len(each) == 1
        else {
            **_sum(each), **dict(zip(same, key[1:], strict=True)), "layer": f"{key[0]} x {len(each)}",
            "layers": len(each),
        }
        for key, each in alike.items()
    ]  # fmt: skip


def _sum(layers: Sequence[Layer]) -> Layer:
    """All layers as one."""
    names = [name for name, value in layers[0].items() if not isinstance(value, str) and name != "layers"]
    total: dict[str, Any] = {name: sum(layer[name] or 0 for layer in layers) for name in names}  # None: it has none
    on_macro = [layer for layer in layers if layer["on_macro"]]
    number = sum(layer.get("layers", 1) for layer in layers)
    macs, row_macs = (sum(layer[name] for layer in on_macro) for name in ("macs", "row_macs"))
    return {
        **total,
        "layer": f"{number} layer{'s' * (number > 1)}",
        "kind": "",
        "rows_in_use": macs / row_macs if row_macs else 1.0,
        "tops": 2e-12 * total["macs"] / total["latency_s"] if total["latency_s"] else None,
        "tops_per_watt": tops_per_watt(total["macs"], 1e3 * total["energy_pj"]),
        "why_digital": "",
    }


def part_table(report: "CostReport") -> Table[Sequence[str]]:
    """A row for each part of the energy: its share, and its coefficients with their sources."""
    unit, size = _smaller_unit(report.energy.total)
    rows: list[Sequence[str]] = []
    t, whole = report.technology, report.energy.total or 1.0
    for part, value in report.energy.parts.items():
        if not value and part in ("drivers", "digital", "writes"):
            continue
        known, names = PARTS[part], PARTS[part].coefficients
        first = [known.label, short(value / size), f"{100 * value / whole:.1f}", known.what]
        if part == "array" and t.value("unit_capacitor") is not None:
            names = ("unit_capacitor", "parasitics")
        if part == "adc" and (t.adc_pj is not None or t.adc != "model"):
            names = (*names, "adc") if t.adc_pj is None else ("adc_pj",)
        for name in names:
            value = t.value(name)
            rows.append((*first, f"{name} {value if isinstance(value, str) else f'{value:g}'}", t.source(name)))
            first = [""] * 4
    heads = ("part", unit, "%", "of", "decided by", "from")
    return Table([plain(head, itemgetter(at), "r" if at in (1, 2) else "l") for at, head in enumerate(heads)], rows)


def totals_text(report: "CostReport") -> str:
    """Totals in lines: energy with its range, the all-digital point, time, efficiency, area."""
    t, done, bits = report.technology, report.done, report.bit_mac_energy
    published, takes_time = report.published_bit_tops_per_watt, report.tops is not None
    wide = own = ""
    if t.factor == Technology.factor:
        wide = f", and {_range(report.energy_within(WIDE_FACTOR))} by the factor of 14 of 15 results ({WIDE_FACTOR:g})"
    if t.adc_pj is not None:
        own = "; your `adc_pj` is taken as exact, and does not follow the supply"
    area = "area not known (`technology.cell_area` and `adc_area`)"
    if report.area is not None:
        area = f"{short(report.area)} mm^2 with all cells ({t.source('cell_area')}; {t.source('adc_area')})"
    lines: list[tuple[str, object]] = [
        ("energy", f"{energy(report.energy.total)} an image, typically {_range(report.energy_range)}{wide}: "
         f"{t.factor:g} of analog parts ({t.source('factor')}){own}; {t.digital_factor:g} of digital ones "
         f"({t.source('digital_factor')})"),
        ("ADCs", report.converters and f"{count(report.converters)}, {area}"),
        ("digital", f"{energy(report.all_digital)} if all products were computed in a digital macro "
         f"({_range(report.all_digital_range)}), {t.digital_mac:g} fJ a product of bits at 28 nm and 0.9 V: "
         f"{t.source('digital_mac')}"),
        ("bits", (percent := report.on_macro.digital_percent) and f"{percent:.3g} % of the products of bits in the "
         f"layers on macros are digital, {report.digital_percent:.3g} % of all products of bits"),
        ("verdict", report.verdict),
        ("product", bits and f"{bits[0]:.2f} fJ for one bit by one bit in the layers on macros ({bits[1]:.2f} fJ if "
         f"every row held a weight), {bits[2]:.2f} fJ in a digital macro"),
        ("time", takes_time and f"{time(report.latency)} from image to answer, {time(report.interval)} from image to "
         f"image if all layers work at once; {report.tops:.3g} TOPS if one layer works at a time; "
         f"{t.value('cycle_ns'):g} ns a conversion: {t.source('cycle_ns')}; does not follow the supply"
         + (f"; {t.bit_ns:g} ns a bit of the ADC" if t.bit_ns else ", nor the bits of the ADC (`technology.bit_ns`)")),
        ("TOPS/W", takes_time and f"{_efficiency(report.tops_per_watt)} utilised, "
         f"{_efficiency(report.peak_tops_per_watt)} at peak: if every row of the layers on macros held a weight"),
        ("1b-TOPS/W", published and f"{_efficiency(report.peak_bit_tops_per_watt)} at peak by the model, "
         f"{short(published)} published of {t.preset} (operations of one bit by one bit, two a product)"),
        ("cells", f"{count(done.cells)} of the {count(done.all_cells)} cells in used columns hold weights"),
        *(("note", note) for note in report.notes),
    ]  # fmt: skip
    return "\n".join(f"{head:<10}{said}" for head, said in lines if said)


def validation_text(found: Validation) -> str:
    """The model against silicon, in tables."""
    sound = replace(found, chips=tuple(each for each in found.chips if not each.note))
    parts = [
        _comparisons("column", found.chips),
        f"{sound.within(1.5)} of {len(sound.chips)} rows without a note within 1.5, {sound.within(WIDE_FACTOR)} within "
        f"{WIDE_FACTOR:g}, {sound.within(2.0)} within 2; of all, geometric mean {found.bias:.2f}, typical factor "
        f"{found.typical_factor:.2f} (on the rows that it is fitted to; one paper left out at a time: 1.47)",
        _comparisons("component", found.components),
        _comparisons("V^2 of the supply", found.supplies),
        _comparisons("model at the supply", found.absolute),
        "CR-CIM 65 nm (818 1b-TOPS/W, supply not published) would match at "
        + ", ".join(f"{volts:.2f} V by {what}" for what, volts in found.matching.items()),
    ]
    return "\n\n".join(parts)


def _comparisons(name: str, rows: Sequence[Comparison]) -> str:
    columns: list[TableColumn[Comparison]] = [
        TableColumn(name, lambda row: row.what, side="l"),
        TableColumn("reported, pJ", lambda row: f"{1e-3 * row.reported:.2f}"),
        TableColumn("model, pJ", lambda row: f"{1e-3 * row.modelled:.2f}"),
        TableColumn("model/reported", lambda row: f"{row.ratio:.2f}"),
        TableColumn("note", lambda row: row.note, side="l"),
    ]
    if any(row.chip for row in rows):
        columns[1:1] = [
            TableColumn("paper", lambda row: row.chip.paper if row.chip else "", side="l"),
            TableColumn("1b-TOPS/W", lambda row: f"{row.chip.tops_per_watt:g}" if row.chip else ""),
        ]
    return str(Table(columns, rows))


def _unit(number: float, units: Sequence[tuple[str, float]]) -> tuple[str, float]:
    """The unit in which a number has one to three digits before the point, and its size."""
    return next((each for each in units if number >= each[1]), units[-1])


def energy_unit(femtojoules: float) -> tuple[str, float]:
    """The unit in which an energy has one to three digits before the point, and its size in fJ."""
    return _unit(femtojoules, _ENERGIES)


def _smaller_unit(femtojoules: float) -> tuple[str, float]:
    """A unit in which parts of an energy have digits before the point."""
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
    unit, size = _unit(seconds, _TIMES)
    return f"{short(seconds / size)} {unit}"


def count(number: int) -> str:
    """A number with three digits and k, M, G or T; a dash for none."""
    if not number:
        return "-"
    letter, size = _unit(number, _COUNTS)
    return f"{short(number / size)} {letter}" if letter else str(number)


def _range(ends: tuple[float, float]) -> str:
    return f"{energy(ends[0])} to {energy(ends[1])}"


def _efficiency(value: float | None) -> str:
    return "-" if value is None else short(value)
