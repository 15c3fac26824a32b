"""The report of a conversion: what happened to each layer."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

from torch import nn

from asim_lightning.circuit import MacroConfig
from asim_lightning.circuit.fields import settings_of
from asim_lightning.nn.calibration import kept_fidelities, quantized_layers
from asim_lightning.nn.inputs import Inputs
from asim_lightning.surgery.flow import Outside
from asim_lightning.surgery.plan import are_many, kinds_of
from asim_lightning.surgery.probe import keep_example_, probe
from asim_lightning.surgery.settings import set_fidelity_
from asim_lightning.table import text_table

WHOLE = "(network)"
"""Name of the network itself in a report."""
KEPT = "asim_report"
"""Attribute of a converted network: its report. Copies and pickled networks have it, too."""
TRANSFORM = "transform"
"""Kind of a transform of a layer's inputs, which is no layer."""
NOT_COUNTED = (
    "unknown operators, which MACs leave out: {}; torch.utils.flop_counter.register_flop_formula gives one a count"
)
"""Note on operators without a count."""
_NAMED = ("weight_bits", "input_bits", "rows", "adc_bits", "encoding_bits")
"""Fields of a macro that its description always has."""
_NUMBER = re.compile(r"\b\d+\b")
_USUAL = MacroConfig()
"""A macro whose other fields a description leaves out."""


@dataclass(frozen=True)
class ReportRow:
    """What happened to one layer."""

    name: str
    kind: str
    before: str
    """Class before."""
    after: str
    """Class after."""
    macro: MacroConfig | None
    """The layer's macro; None if it is digital."""
    macs: int | None
    """Multiplications for one sample; None if the layer did not run."""
    input: str
    """Signed or unsigned, and how that was decided."""
    why_kept: str
    """Why the layer is not on a macro; empty if it is."""


@dataclass(frozen=True)
class ConversionReport:
    """A table of every layer with products: name, from, to, macro, MACs, input, why it was kept.

    Examples:
        >>> import torch
        >>> from asim_lightning import Plan, convert_
        >>> report = convert_(torch.nn.Sequential(torch.nn.Linear(4, 2)), Plan(), torch.rand(1, 4))
        >>> report.summary
        '1 of 1 layers on a macro, 100.0 % of 8 MACs a sample'
        >>> report["0"].after
        'CimLinear'
    """

    rows: tuple[ReportRow, ...]
    notes: tuple[str, ...] = ()
    """Other changes of the network, a line each."""
    outside: Outside | None = None
    """Multiplications that no row has."""

    def __iter__(self) -> Iterator[ReportRow]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, name: str) -> ReportRow:
        return {row.name: row for row in self.rows}[name]

    @property
    def on_macro(self) -> tuple[ReportRow, ...]:
        """Rows of the layers on a macro."""
        return tuple(row for row in self.rows if row.macro is not None)

    @property
    def kept(self) -> tuple[ReportRow, ...]:
        """Rows of the layers that are not on a macro."""
        return tuple(row for row in self.rows if row.macro is None)

    def __str__(self) -> str:
        header = ("layer", "kind", "from", "to", "macro", "MACs", "input", "why kept")
        names = [row.name for row in self.rows]
        kinds = kinds_of(names) if are_many(names) else {}
        kind_of = {name: kind for kind, each in kinds.items() if len(each) > 1 for name in each}
        equal: dict[ReportRow, list[ReportRow]] = {}  # equal products of a module, or layers of a kind, are one line
        for row in self.rows:
            alike = row
            if row.name in kind_of:
                alike = replace(row, name=kind_of[row.name], input=_NUMBER.sub("*", row.input))
            if row.before.endswith("product"):
                alike = replace(alike, name=alike.name.rstrip("0123456789"))
            equal.setdefault(alike, []).append(row)
        table = [header]
        for r, rows in equal.items():
            name, several = (r.name if rows[0].name in kind_of else rows[0].name), len(rows) > 1
            table.append((
                f"{name} x {len(rows)}" if several else rows[0].name, r.kind, r.before, r.after, describe(r.macro),
                f"{len(rows)} x " * several + _count(r.macs), r.input, r.why_kept,
            ))  # fmt: skip
        outside = [] if self.outside is None else [self.outside.text(sum(row.macs or 0 for row in self.rows))]
        return "\n".join([text_table(table, 1, "lllllrll"), self.summary, *outside, *self.notes])

    @property
    def summary(self) -> str:
        """Number of layers, and share of the multiplications, on a macro, in one line."""
        macs, total = sum(r.macs or 0 for r in self.on_macro), sum(r.macs or 0 for r in self.rows)
        share = f", {100 * macs / total:.1f} % of {_count(total)} MACs a sample" if total else ""
        layers = sum(row.kind != TRANSFORM for row in self.rows)
        return f"{len(self.on_macro)} of {layers} layers on a macro{share}"


def with_macros_of(model: nn.Module, report: ConversionReport) -> ConversionReport:
    """A report with the macros that the layers of a network have now."""
    layers = quantized_layers(model)
    macros = {name: getattr(layer, "macro", None) for name, layer in layers.items()}
    rows = (replace(row, macro=macros[row.name]) if macros.get(row.name) else row for row in report.rows)
    return replace(report, rows=tuple(rows))


def report_of(model: nn.Module) -> ConversionReport:
    """The report of a network that `convert_` has converted as a whole or in parts.

    The kind of a layer that was made by hand is its class.
    """
    rows = dict[str, ReportRow]()
    for part, module in model.named_modules():
        prefix = f"{part}." if part else ""
        for row in vars(module).get(KEPT, ()):  # in the order in which they first ran
            rows[f"{prefix}{row.name}"] = replace(row, name=f"{prefix}{row.name}")
    for name, layer in quantized_layers(model).items():
        kind = type(layer).__name__
        rows.setdefault(name, ReportRow(name, kind, kind, kind, getattr(layer, "macro", None), None, "-", ""))
    return ConversionReport(tuple(rows.values()))


def recount_(model: nn.Module, example: Inputs) -> ConversionReport:
    """Count the multiplications of a network that `convert_` has converted for inputs like an example, in place.

    The network keeps the example as its input. # (1, ...) each
    """
    with kept_fidelities(model):
        set_fidelity_(model, "float")
        seen = probe(model, {}, example)
    keep_example_(model, example)
    macs = Counter({name or WHOLE: count for name, count in seen.others.items()})
    for owner, products in seen.products.items():
        macs[owner or WHOLE] += sum(made.macs for made in products)
    rows = (replace(row, macs=None if row.macs is None else macs[row.name]) for row in vars(model)[KEPT])
    report = ConversionReport(tuple(rows), outside=seen.outside)
    setattr(model, KEPT, report)
    return report


def describe(macro: MacroConfig | None) -> str:
    """A macro in a few characters, such as "W8A8 255 rows ADC 8", and other design choices that are not the default."""
    if macro is None:
        return "-"
    adc = "ideal ADC" if macro.adc_bits is None else f"ADC {macro.adc_bits}"
    encoding = f" enc {macro.encoding_bits}" if macro.encoding_bits > 1 else ""
    others = ""
    for config, usual in ((macro, _USUAL), (macro.static, _USUAL.static)):
        for name, each in settings_of(type(config)).items():
            value = getattr(config, name)
            if each.role == "design" and each.decides_outcomes and name not in _NAMED and value != getattr(usual, name):
                others += f" {each.label}" if value is True else f" {each.label} {value}"
    return f"W{macro.weight_bits}A{macro.input_bits} {macro.rows} rows {adc}{encoding}{others}"


def _count(macs: int | None) -> str:
    return "-" if macs is None else f"{macs:,}"
