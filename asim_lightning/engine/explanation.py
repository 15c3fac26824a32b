"""A macro in numbers for a circuit designer: every conversion, its LSB, its noise, its errors."""

import math
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import torch

from asim_lightning.circuit.column_models import is_users
from asim_lightning.circuit.columns import codes_of_full_scale
from asim_lightning.circuit.fields import settings_of
from asim_lightning.circuit.macro import MacroConfig
from asim_lightning.circuit.schedule import Cycle
from asim_lightning.circuit.static import StaticEffects
from asim_lightning.circuit.transfer import Conversion, Transfer, error_probability, transfer
from asim_lightning.circuit.units import supply_share
from asim_lightning.engine.engines import decision
from asim_lightning.engine.level_tables import (
    DRIVEN_COLUMNS,
    DRIVEN_LEGEND,
    SWING_COLUMNS,
    SWING_LEGEND,
    ByDriven,
    OverSwing,
    by_driven,
    over_swing,
)
from asim_lightning.table import Table, TableColumn, plural

_WIDTH = 120
_MOST_ROWS, _MOST_BITS = 2**20, 16
_LEGEND = (
    "binary weight: sign and 2^shift; full scale: in counts; sigma: at half of the full scale; P(wrong): probability "
    "that noise changes the code of one conversion in mid-range; noise-free: without noise, each count comes back "
    "(exact), has its own code (distinct), or shares a code, like counts beyond the range (lossy)"
)
_IN_WORDS = frozenset((
    "weight_bits", "input_bits", "rows", "adc_bits", "adc_step", "adc_low", "encoding_bits", "weight_parallel",
    "random_noise", "nonlinear_noise", "full_scale_mv", "unit_capacitor_ff", "digital_levels", "digital_adc",
    "vote_levels", "votes", "vote", "column", "column_args", "static",
))  # fmt: skip
"""Fields that have words or columns of their own in the text; the others get their label, value and unit."""
_WITHOUT_SPREADS = (
    "sigma and P(wrong) are of the noise only; differences between converters and cells are not in them, but may make "
    "cycles lossy"
)


@dataclass(frozen=True)
class ExplainedCycle:
    """One cycle of a schedule, with LSB, noise and errors of its conversion."""

    cycle: Cycle
    conversion: Conversion
    """Exact, distinct or lossy without noise."""
    lsb: float | None = None
    """Counts a code: full_scale / top_code, or adc_step; None without ADC or for an ideal converter."""
    sigma_lsb: float | None = None
    """Standard deviation of the noise at half of the full scale, in LSB; None if there is no LSB."""
    sigma_percent: float | None = None
    """The same in percent of full scale; None without ADC."""
    sigma_mv: float | None = None
    """The same in mV; None if the macro's full scale is not known."""
    error_probability: float | None = None
    """Probability that a conversion in mid-range gives another code than without noise; None if there is no LSB."""

    @property
    def domain(self) -> str:
        """Either "analog", "digital" (an exact count) or "digital+ADC" (noise-free, but converted)."""
        if self.cycle.analog:
            return "analog"
        return "digital+ADC" if self.cycle.converted else "digital"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else "0" if value == 0 else format(value, form)


def _bits(low: int, high: int) -> str:
    return str(low) if low == high else f"{low}..{high}"


def _binary_weight(group: list[ExplainedCycle]) -> str:
    low, high = group[0].cycle.shift, group[-1].cycle.shift
    return ("-" if group[0].cycle.sign < 0 else "+") + f"2^{low}" + (f"..2^{high}" if high != low else "")


_COLUMNS: list[TableColumn[list[ExplainedCycle]]] = [
    TableColumn(
        "weight\nbits", lambda group: _bits(group[0].cycle.weight_bits[0], group[-1].cycle.weight_bits[-1]), side="l"
    ),
    TableColumn(
        "input\nbits", lambda group: _bits(group[0].cycle.input_bits[0], group[-1].cycle.input_bits[-1]), side="l"
    ),
    TableColumn("cycles", len),
    TableColumn("binary\nweight", _binary_weight, side="l"),
    TableColumn("full\nscale", lambda group: group[0].cycle.full_scale),
    TableColumn("domain", lambda group: group[0].domain, side="l"),
    TableColumn("votes", lambda group: group[0].cycle.votes),
    TableColumn("LSB\ncounts", lambda group: _number(group[0].lsb, ".4g")),
    TableColumn("sigma\nLSB", lambda group: _number(group[0].sigma_lsb, ".4g")),
    TableColumn("sigma\n%", lambda group: _number(group[0].sigma_percent, ".3g")),
    TableColumn("sigma\nmV", lambda group: _number(group[0].sigma_mv, ".3g")),
    TableColumn("P(wrong)", lambda group: _number(group[0].error_probability, ".1e")),
    TableColumn("noise-\nfree", lambda group: group[0].conversion, side="l"),
]
"""Columns of the text; a row has cycles that differ in their weight bit only."""


@dataclass(frozen=True)
class Explanation:
    """A macro's schedule in numbers; as text, a report of at most 120 columns.

    Cycles that differ in their weight bit only share a row of the text.
    """

    circuit: Transfer
    """Schedule and column of the macro."""
    cycles: tuple[ExplainedCycle, ...]
    """Every cycle of the schedule, in its order."""
    algorithm: str
    """The algorithm that computes the macro."""
    why: str
    """Reason for that algorithm."""
    exact_rows_below: int | None
    """Nearest number of rows up to `macro.rows` at which every cycle is exact without noise; None: there is none."""
    exact_rows_above: int | None
    """Nearest number of rows above `macro.rows` at which every cycle is exact without noise; None: there is none."""
    distinct_adc_bits: int | None
    """Fewest ADC bits that give different counts different codes (above 16: more than a macro can have); None: the
    column itself maps different counts to one level, or nothing is converted."""

    @property
    def by_driven(self) -> list[ByDriven]:
        """Level and sigma at some numbers of driven rows, by full scale; empty for a column that ignores them."""
        if not self.circuit.column.depends_on_driven:
            return []
        return [each for cycle in self._by_full_scale for each in by_driven(self.circuit, cycle)]

    @property
    def over_swing(self) -> list[OverSwing]:
        """Level and sigma over the swing, by full scale; empty for a column of this package."""
        if not is_users(self.circuit.column):
            return []
        return [each for cycle in self._by_full_scale for each in over_swing(self.circuit, cycle)]

    @property
    def _by_full_scale(self) -> list[Cycle]:
        """An analog cycle of each full scale."""
        return list({cycle.full_scale: cycle for cycle in self.circuit.cycles if cycle.analog}.values())

    @property
    def conversions(self) -> int:
        """Conversions for one output and tile, votes included."""
        return sum(c.cycle.votes for c in self.cycles if c.cycle.converted)

    @property
    def conversion_kinds(self) -> dict[str, int]:
        """How many cycles are exact, distinct and lossy without noise."""
        kinds = [each.conversion for each in self.cycles]
        return {kind.value: kinds.count(kind) for kind in Conversion}

    def __str__(self) -> str:
        alike = groupby(self.cycles, lambda each: replace(each.cycle, weight_bits=(), shift=0))
        groups = [list(group) for _, group in alike]
        kinds = ", ".join(f"{number} {kind}" for kind, number in self.conversion_kinds.items())
        digital = sum(not each.cycle.analog for each in self.cycles)
        rows, bits = self.circuit.macro.rows, self.distinct_adc_bits
        if bits is None:
            fewest = f"none of 1..{_MOST_BITS}" if self.conversions else "no ADC is used"
        else:
            fewest = f"{bits}, more than the {_MOST_BITS} of a macro" if bits > _MOST_BITS else str(bits)
        totals = [
            f"per output and tile: {plural(len(self.cycles), 'cycle')} ({kinds}; {digital} digital), "
            f"{plural(self.conversions, 'conversion')}",
            f"algorithm: {self.algorithm}: {self.why}",
            f"rows at which every cycle is exact, without noise and `static`: nearest up to {rows}: "
            f"{self.exact_rows_below or 'none'}; nearest above: {self.exact_rows_above or 'none'}",
            f"fewest ADC bits that give each count its own code, without `static`: {fewest}",
            _LEGEND,
            *([_WITHOUT_SPREADS] if self.circuit.differs_by_chip or self.circuit.converters_differ else []),
        ]
        heading = [_geometry(self.circuit), _conditions(self.circuit), *_range(self.circuit)]
        lines = [*map(_wrapped, heading), "", str(Table(_COLUMNS, groups)), "", *map(_wrapped, totals)]
        if swing := self.over_swing:
            lines += ["", str(Table(SWING_COLUMNS, swing)), "", _wrapped(SWING_LEGEND)]
        if driven := self.by_driven:
            lines += ["", str(Table(DRIVEN_COLUMNS, driven)), "", _wrapped(DRIVEN_LEGEND)]
        return "\n".join(lines)


def explain(macro: MacroConfig, signed_input: bool = False, rows_in_use: int | None = None) -> Explanation:
    """Explain a macro: its conversions, their LSB, noise and errors, and the row counts that would make it exact.

    Args:
        macro: The macro.
        signed_input: Whether inputs are two's complement.
        rows_in_use: Most rows of a tile that hold weights; None: all. See `transfer`.

    Raises:
        ValueError: The macro cannot take a signed input.

    Examples:
        >>> from asim_lightning import MacroConfig, explain
        >>> found = explain(MacroConfig(rows=63, adc_bits=6))  # print(found) shows every cycle
        >>> found.conversions, found.conversion_kinds
        (64, {'exact': 64, 'distinct': 0, 'lossy': 0})
        >>> found.exact_rows_above, found.distinct_adc_bits
        (None, 6)
    """
    circuit = transfer(macro, signed_input, rows_in_use)
    kinds = {each.kind: (each, kept) for each, kept in zip(circuit.cycles, circuit.conversions, strict=True)}
    numbers = {kind: _explained(circuit, *pair) for kind, pair in kinds.items()}
    cycles = tuple(replace(numbers[cycle.kind], cycle=cycle) for cycle in circuit.cycles)
    fitting = *exact_rows(macro, signed_input), distinct_adc_bits(macro, signed_input)
    return Explanation(circuit, cycles, *decision(circuit), *fitting)


def exact_rows(macro: MacroConfig, signed_input: bool) -> tuple[int | None, int | None]:
    """Nearest numbers of rows, up to and above the macro's, at which every cycle is exact without noise and static
    effects.

    A cycle of digits up to s is exact if ``top_code`` is a multiple of ``s * rows`` (with an LSB of one count: at least
    ``s * rows``) and its column changes nothing.
    """
    converted = [c for c in transfer(macro, signed_input).cycles if c.converted]
    if macro.top_code is None or not converted:
        candidates = [macro.rows, macro.rows + 1]
    elif macro.adc_step is not None:
        most = macro.top_code // max(c.full_scale // macro.rows for c in converted)
        most = most if macro.weight_coding == "plain" else 2 * most + 1  # of which at most half are ones
        candidates = [rows for rows in (1, min(macro.rows, most), macro.rows + 1) if rows]
    else:
        spans = {c.full_scale // macro.rows for c in converted}
        if any(macro.top_code % span for span in spans):
            return None, None
        most = math.gcd(*(macro.top_code // span for span in spans))
        candidates = [rows for rows in range(1, most + 1) if most % rows == 0]

    def nearest(some: Iterable[int]) -> int | None:
        for rows in sorted((rows for rows in some if rows <= _MOST_ROWS), key=lambda rows: abs(rows - macro.rows)):
            if {*_probed(macro, signed_input, rows=rows)} == {Conversion.EXACT}:
                return rows
        return None

    return nearest(r for r in candidates if r <= macro.rows), nearest(r for r in candidates if r > macro.rows)


def distinct_adc_bits(macro: MacroConfig, signed_input: bool) -> int | None:
    """Fewest ADC bits at which no converted cycle is lossy: ``log2(largest count + 1)`` or more, one more if signed.

    Returns:
        The number of bits, above 16 if 16 are too few; None if the column itself maps different counts to one level, or
        nothing is converted.
    """
    converted = [c for c in transfer(macro, signed_input).cycles if c.converted]
    if not converted:
        return None
    fewest = max(min(c.full_scale, c.largest_count).bit_length() + c.signed for c in converted)
    for bits in range(fewest, _MOST_BITS + 1):
        kept = _probed(macro, signed_input, adc_bits=bits)
        if kept and Conversion.LOSSY not in kept:
            return bits
    return fewest if fewest > _MOST_BITS else None


def _probed(macro: MacroConfig, signed_input: bool, **changes: Any) -> tuple[Conversion, ...]:
    """Exact, distinct or lossy, cycle by cycle, without noise and static effects; empty for a macro that is refused."""
    try:  # noise off, because "300 lsb" is more than 100 % at fewer bits
        ideal = macro.with_fields(random_noise=0.0, nonlinear_noise=0.0, static=StaticEffects())
        return transfer(ideal.with_fields(**changes), signed_input).equal_conversions
    except ValueError:  # a user's column may refuse such a macro
        return ()


def _explained(circuit: Transfer, cycle: Cycle, kind: Conversion) -> ExplainedCycle:
    column, full_scale_mv = circuit.column, circuit.macro.swing_mv
    if not cycle.converted:
        return ExplainedCycle(cycle, kind)
    half = torch.tensor([cycle.full_scale / 2], dtype=torch.float32, device="cpu")
    _, sigmas = column.of_curves(torch.arange(column.curves, device="cpu")[:, None], half, cycle)
    sigma = float(sigmas.double().square().mean().sqrt()) if cycle.analog else 0.0  # over converters of all curves
    share = sigma / codes_of_full_scale(cycle)
    sigma_mv = None if full_scale_mv is None else share * full_scale_mv
    if cycle.top_code is None:
        return ExplainedCycle(cycle, kind, sigma_percent=100.0 * share, sigma_mv=sigma_mv)
    wrong = error_probability(column, cycle)
    return ExplainedCycle(cycle, kind, cycle.counts_a_code, sigma, 100.0 * share, sigma_mv, wrong)


def _geometry(circuit: Transfer) -> str:
    macro = circuit.macro
    converter = "ideal converter" if macro.adc_bits is None else f"{macro.adc_bits}-bit ADC"
    encoding = "bit-serial" if macro.encoding_bits == 1 else f"{macro.encoding_bits} input bits a cycle"
    arguments = ", ".join(f"{name}={value}" for name, value in macro.column_args.items())
    parts = [
        f"W{macro.weight_bits}A{macro.input_bits}",
        f"{'signed' if circuit.signed_input else 'unsigned'} input",
        f"{macro.rows} rows",
        converter,
        "weight-parallel" if macro.weight_parallel else encoding,
        f"{macro.column} column" + (f" ({arguments})" if arguments else ""),
    ]
    return ", ".join(parts)


def _conditions(circuit: Transfer) -> str:
    macro = circuit.macro
    random, nonlinear = macro.random_noise_percent, macro.nonlinear_noise_percent
    noise = f"random noise {random:.4g} %, nonlinear noise {nonlinear:.4g} % at count 0"
    follows = " (does not follow the supply)" if random or nonlinear else ""
    parts = [circuit.column.note or noise + follows]
    if macro.swing_mv is not None:
        share = supply_share(macro.full_scale_mv)
        parts.append(
            f"full scale {macro.swing_mv:g} mV ("
            + ("does not follow the supply)" if share is None else f"{share[0]:g} of the supply)")
        )
    if (thermal := macro.thermal_noise_mv) is not None:
        known = macro.swing_mv is not None and macro.codes_of_full_scale is not None
        lsb = f" = {thermal / macro.swing_mv * macro.codes_of_full_scale:.2g} LSB" if known else ""  # type: ignore[operator]
        parts.append(f"kT/C of the column {1e3 * thermal:.3g} uV{lsb}, which the noise above must include")
    if macro.digital_levels:
        parts.append(plural(macro.digital_levels, "digital level"))
    if macro.vote_levels and macro.votes > 1:
        parts.append(f"{macro.vote} of {macro.votes} votes in {plural(macro.vote_levels, 'level')}")
    usual = type(macro)()
    for name, each in settings_of(type(macro)).items():
        if name not in _IN_WORDS and (value := getattr(macro, name)) != getattr(usual, name):
            parts.append(f"{each.label} {value} {each.unit if not isinstance(value, str) else ''}".rstrip())
    static = macro.static.words()
    return "; ".join([*parts, *([f"a chip: {static}"] if static else [])])


def _range(circuit: Transfer) -> list[str]:
    """The counts that an ADC with `adc_step` converts."""
    macro, converted = circuit.macro, [cycle for cycle in circuit.cycles if cycle.converted]
    if macro.adc_step is None:
        return []
    top = macro.top_code or 0
    low = -top if macro.weight_parallel else 0
    counts = max((cycle.largest_count for cycle in converted), default=0)
    used = "" if circuit.rows_in_use is None else f" with {min(circuit.rows_in_use, macro.rows)} rows in use"
    first, last = (macro.adc_low + macro.adc_step * code for code in (low, top))
    full_scales = sorted({cycle.full_scale for cycle in converted})
    shared = f"full scales of {', '.join(map(str, full_scales))} counts share one swing, so that the reference "
    volts = f"; {shared}differs in volts" * (len(full_scales) > 1)
    return [
        f"ADC range: codes {low}..{top} are counts {first}..{last} in steps of {macro.adc_step}; counts reach "
        f"{counts}{used}{volts}; noise in % and mV is of the full swing and does not shrink with the range"
    ]


def _wrapped(text: str) -> str:
    return textwrap.fill(text, _WIDTH, subsequent_indent="    ")
