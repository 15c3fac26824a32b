"""Column models: how a column and its ADC turn an ideal count into a code."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from asim_lightning.checks import check_number
from asim_lightning.circuit.macro import MacroConfig
from asim_lightning.circuit.schedule import Cycle

_LONGEST_TABLE = 2**16
_RENAMED = "`column_args.cell_sigma` is an old name of `static.cell_mismatch` with `static.reference: summing`"


@dataclass(frozen=True, eq=False)
class ConverterPlaces:
    """Positions of converters, each by its first column. # (converters,) each, int64

    Attributes:
        layer: Full name of the layer; with placement reuse "macros 0", "macros 1", ...
        macro: Number of the macro: ``tile * groups + group``; with reuse the number of the shared macro.
        column: Number of the column in its macro: ``output * weight_bits + weight_bit`` (weight-parallel: output); with
            reuse the number of the physical column.
        tile: Tile of the layer; None with reuse, because shared macros hold several tiles, outputs and bits in turn.
        group: Group of a convolution, or head.
        output: Output of the group or head.
        weight_bit: Bit of the weight, 0 the lowest (weight-parallel: 0).
    """

    layer: str
    macro: Tensor
    column: Tensor
    tile: Tensor | None = None
    group: Tensor | None = None
    output: Tensor | None = None
    weight_bit: Tensor | None = None


class Column:
    """Base class of column models: the level and the noise of a charge-domain column.

    A column model is two pure functions of the count, both in ADC codes: its mean level, and the standard deviation
    around it. Both are elementwise and accept counts of any shape. Engines tabulate them. So they must not depend on
    other counts, on positions in the tensor or on the call; this is checked.
    To add a circuit, inherit, override `level`, `sigma` or both, and name the class by its import path in
    ``macro.column``; arguments come from ``macro.column_args``.

    A droop of the supply or of a reference depends on how many rows are driven. If the second parameter of `level` or
    `sigma` is called ``driven``, as in ``level(self, count, driven, cycle)``, this method gets the number of rows of
    the tile whose input digit is not 0 in this cycle: float32, in a shape that broadcasts against the count. Padding
    counts as digit 0, and a digit of several bits counts once. Each of the two methods is looked at by itself.

    Two more functions let converters differ by a pattern: `converters` gives each a gain and an offset by its position,
    and `of_curves` gives each a level and sigma by the number of its curve. Static effects are added to both.

    Args:
        macro: The macro whose column this is.

    Examples:
        >>> import torch
        >>> from asim_lightning import MacroConfig
        >>> from asim_lightning.circuit import Column, schedule
        >>> macro = MacroConfig(rows=255, adc_bits=8, random_noise="0.3 lsb")
        >>> column, cycle = Column(macro), schedule(macro, signed_input=False)[0]
        >>> column.level(torch.tensor([0.0, 64.0]), cycle), column.sigma(torch.tensor(64.0), cycle)
        (tensor([ 0., 64.]), tensor(0.3000))
    """

    cell_sigma: float = 0.0
    """Standard deviation of a cell's on-current over the chip, percent of its nominal value; 0: cells are equal."""
    curves: int = 1
    """Number of different curves. If more than 1, `level` and `sigma` are averages, and the converter of an output's
    weight bit has curve ``(output * weight_bits + bit) mod curves`` (see `of_curves`)."""
    depends_on_driven: bool = False
    """Whether level or sigma depends on the number of driven rows. If so, `level` and `sigma` are those with all rows
    of the macro driven, and `of_driven` has both for any number."""
    note: str = ""
    """Remark on the column in `asim explain`."""

    def __init__(self, macro: MacroConfig) -> None:
        self.macro = macro

    @classmethod
    def resolved(cls, arguments: dict[str, Any]) -> dict[str, Any]:
        """Arguments with everything that decides codes, such as the digest of a file next to its path.

        Args:
            arguments: ``macro.column_args``; returned as they are if nothing is missing.
        """
        return arguments

    def check_cycles(self, cycles: Sequence[Cycle]) -> None:
        """Raise a ValueError for a schedule that the column cannot convert; by default, never."""

    def converters(self, places: ConverterPlaces) -> tuple[Tensor | float, Tensor | float]:
        """Gain, and offset in LSB, of converters by their positions, the same on every chip; by default 1 and 0.

        Gains of `static` multiply these gains, and its offsets are added. If a class overrides this method, every
        conversion is computed, because wrong codes are no longer rare.

        Args:
            places: All converters of a layer, or of the macros that layers share.

        Returns:
            A number for all, or one for each. # (converters,)
        """
        return 1.0, 0.0

    @property
    def converters_differ(self) -> bool:
        """Whether the column gives converters a gain and offset by position."""
        return type(self).converters is not Column.converters

    def of_curves(self, curve: Tensor, count: Tensor, cycle: Cycle) -> tuple[Tensor, Tensor]:
        """Level and sigma of converters by their curves.

        Args:
            curve: Number of each converter's curve, int64. # broadcasts against the count
            count: Counts.
            cycle: The cycle.
        """
        return self.level(count, cycle), self.sigma(count, cycle)

    def of_driven(self, driven: Tensor, count: Tensor, cycle: Cycle) -> tuple[Tensor, Tensor]:
        """Level and sigma for numbers of driven rows.

        Args:
            driven: Rows whose input digit is not 0, float32. # broadcasts against the count
            count: Counts.
            cycle: The cycle.
        """
        return self.level(count, cycle), self.sigma(count, cycle)

    def level(self, count: Tensor, cycle: Cycle) -> Tensor:
        """Mean level before rounding, float32, in codes: ``clamp(count / full_scale, 0, 1) * top_code``; with
        `adc_step` ``(count - adc_low) / adc_step``."""
        return to_codes(count, cycle)

    def sigma(self, count: Tensor, cycle: Cycle) -> Tensor:
        """Standard deviation in codes: published random and nonlinear noise, added as variances.

        ``codes / 100 * sqrt(random^2 + nonlinear^2 / (active_rows + 1))`` with
        ``active_rows = clamp(count / full_scale, 0, 1) * rows`` and the codes that the full scale spans: ``top_code``,
        or ``full_scale / adc_step``, because a smaller ADC range does not reduce noise. The result broadcasts against
        the count; it is a scalar if it does not depend on the count.
        """
        random, nonlinear = self.macro.noise_percents(cycle.full_scale)
        codes = codes_of_full_scale(cycle)
        if nonlinear == 0.0:
            return torch.full((), codes * random / 100.0, dtype=torch.float32, device=count.device)
        active = ratio(count, cycle).abs() * self.macro.rows
        return torch.sqrt(random**2 + nonlinear**2 / (active + 1.0)) * (codes / 100.0)


class Charge(Column):
    """Charge-domain column before converters that share a gain and an offset: ``level * gain + offset``.

    Codes are decoded as if gain were 1 and offset 0. Differences between converters belong to `static`; its `trim` does
    not change this gain and offset.

    Args:
        macro: The macro whose column this is.
        gain: Gain of all converters: more than 0, at most 10.
        offset: Offset of all converters, LSB: at most the largest code either way.

    Examples:
        >>> import torch
        >>> from asim_lightning import MacroConfig
        >>> from asim_lightning.circuit import Charge, schedule
        >>> macro = MacroConfig(rows=255, adc_bits=8, column="charge", column_args={"gain": 0.98, "offset": 0.5})
        >>> column, cycle = Charge(macro, **macro.column_args), schedule(macro, signed_input=False)[0]
        >>> round(column.level(torch.tensor(200.0), cycle=cycle).item(), 1)
        196.5
    """

    def __init__(self, macro: MacroConfig, gain: float = 1.0, offset: float = 0.0) -> None:
        super().__init__(macro)
        top = macro.top_code or 0
        if not 0 < gain <= 10:
            raise ValueError(f"`macro.column_args.gain` must be more than 0 and at most 10, got {gain!r}")
        if macro.top_code is None and gain != 1:
            raise ValueError(f"`macro.column_args.gain` must be 1 for an ideal converter (adc_bits null), got {gain!r}")
        if not abs(offset) <= top:
            raise ValueError(f"`macro.column_args.offset` must be -{top}..{top} LSB, got {offset!r}")
        self.gain, self.offset = float(gain), float(offset)

    def level(self, count: Tensor, cycle: Cycle) -> Tensor:
        """Mean level, float32, in codes."""
        level = super().level(count, cycle)
        return level if (self.gain, self.offset) == (1.0, 0.0) else level * self.gain + self.offset


class Current(Charge):
    """Current-domain column: the summed count is compressed to ``count / (1 + alpha * count)`` before the ADC.

    Args:
        macro: The macro whose column this is.
        alpha: Gain compression per raw count: 0 or more.
        cell_sigma: Standard deviation of a cell's on-current over the chip, percent: 0..100. It is an old name of
            `static.cell_mismatch` with reference summing; a warning says so once. (Weight-parallel, a cell of 2^b units
            differs by this percentage of 2^b units; with `static`, by 2^(b/2) times the percentage of one unit.)
        gain: Gain of all converters, as of `Charge`.
        offset: Offset of all converters, LSB, as of `Charge`.

    Examples:
        >>> import torch
        >>> from asim_lightning import MacroConfig
        >>> from asim_lightning.circuit import Current, schedule
        >>> macro = MacroConfig(rows=255, adc_bits=8, column="current", column_args={"alpha": 0.001})
        >>> column, cycle = Current(macro, **macro.column_args), schedule(macro, signed_input=False)[0]
        >>> round(column.level(torch.tensor(200.0), cycle=cycle).item(), 1)
        166.7
    """

    def __init__(
        self, macro: MacroConfig, alpha: float = 0.0, cell_sigma: float = 0.0, gain: float = 1.0, offset: float = 0.0
    ) -> None:
        super().__init__(macro, gain, offset)
        for name, value, high in (("alpha", alpha, None), ("cell_sigma", cell_sigma, 100)):
            check_number(f"`macro.column_args.{name}`", value, high)
        self.alpha = float(alpha)
        self.cell_sigma = float(cell_sigma)
        if cell_sigma and not macro.weight_parallel:  # weight-parallel, the two settings mean different spreads
            _warn_of_old_name()

    def level(self, count: Tensor, cycle: Cycle) -> Tensor:
        """Mean level of the compressed count, float32, in codes."""
        return super().level(self._compressed(count), cycle)

    def sigma(self, count: Tensor, cycle: Cycle) -> Tensor:
        """Standard deviation in codes, at the compressed count."""
        return super().sigma(self._compressed(count), cycle)

    def _compressed(self, count: Tensor) -> Tensor:
        return count / (1.0 + self.alpha * count.abs())


class Droop(Charge):
    """Charge-domain column whose level falls with the number of driven rows: by the factor ``1 - k driven / rows``.

    Rows that are driven in the same cycle draw their charge from one supply or reference, which droops. The factor acts
    before `gain`, `offset` and the range of an ADC, and not on the noise. `k` is a share of the level, and the default,
    0, is no droop.

    How large k may be: a simulated charge-domain tile of 8 rows (HT-AIMC, ASAP7, 0.4 ohm grid) loses 2.7e-5 to 7.8e-4
    of the supply with 1 to 8 rows on at typical transistors, and 2.3e-4 to 2.4e-3 at slow ones. With a shorter slot it
    loses 0.8 to 4.1 %, and 2.4 to 7.2 %. At 1.3 ohm, the same source warns, a law that is linear in the rows
    understates the droop 14 times: then give a column of your own, or measurements.

    Args:
        macro: The macro whose column this is.
        k: Share of the level that is lost if all rows are driven: 0..1.
        gain: Gain of all converters, as of `Charge`.
        offset: Offset of all converters, LSB, as of `Charge`.

    Examples:
        >>> import torch
        >>> from asim_lightning import MacroConfig
        >>> from asim_lightning.circuit import Droop, schedule
        >>> macro = MacroConfig(rows=255, adc_bits=8, column="droop", column_args={"k": 0.02})
        >>> column, cycle = Droop(macro, **macro.column_args), schedule(macro, signed_input=False)[0]
        >>> round(column.level(torch.tensor(200.0), driven=torch.tensor(255.0), cycle=cycle).item(), 1)
        196.0
    """

    def __init__(self, macro: MacroConfig, k: float = 0.0, gain: float = 1.0, offset: float = 0.0) -> None:
        super().__init__(macro, gain, offset)
        check_number("`macro.column_args.k`", k, 1)
        self.k = float(k)

    def left(self, driven: Tensor) -> Tensor:
        """Share of the level that is left with some driven rows; override it for another law of the droop."""
        return 1.0 - self.k * driven / self.macro.rows

    def level(self, count: Tensor, driven: Tensor, cycle: Cycle) -> Tensor:  # type: ignore[override]
        """Mean level that the droop leaves, float32, in codes."""
        left = self.left(driven)
        if cycle.adc_step is not None:  # level 0 is not count 0
            return super().level(count * left, cycle)
        level = to_codes(count, cycle) * left
        return level if (self.gain, self.offset) == (1.0, 0.0) else level * self.gain + self.offset


@lru_cache  # Python would show the warning again after each change of its filters
def _warn_of_old_name() -> None:
    warnings.warn(_RENAMED, FutureWarning, stacklevel=2)


def full_range(cycle: Cycle) -> Cycle:
    """The cycle without `adc_step`: the largest code is the full scale."""
    return replace(cycle, adc_step=None, adc_low=0)


def possible_counts(cycle: Cycle) -> Tensor:
    """Counts that a cycle can meet, float64: all integers, or 65537 evenly spaced integers if there are more."""
    most = cycle.largest_count
    low = -most if cycle.signed else 0
    number = min(most - low, _LONGEST_TABLE) + 1
    return torch.linspace(low, most, number, dtype=torch.float64, device="cpu").round()


def codes_of_full_scale(cycle: Cycle) -> float:
    """Codes that a cycle's full scale spans; for an ideal converter, counts."""
    if cycle.adc_step is not None:
        return cycle.full_scale / cycle.adc_step
    return cycle.full_scale if cycle.top_code is None else cycle.top_code


def ratio(count: Tensor, cycle: Cycle) -> Tensor:
    """``clamp(count / full_scale, low, 1)`` in float32, with low -1 for a signed cycle, else 0.

    The divisor is a tensor on the count's device. CUDA divides by a Python number by multiplying with its reciprocal;
    the last bit then differs, and ties would be rounded differently than on a CPU.
    """
    return (count.float() / number(cycle.full_scale, count)).clamp(-1.0 if cycle.signed else 0.0, 1.0)


def to_codes(count: Tensor, cycle: Cycle) -> Tensor:
    """Level of a count (which may be fractional) in codes, not rounded; float32 operations in the published order."""
    if cycle.top_code is None:
        return count.clamp(-cycle.full_scale if cycle.signed else 0, cycle.full_scale)
    if cycle.adc_step is not None:
        return (count.float() - cycle.adc_low) / number(cycle.adc_step, count)
    return ratio(count, cycle) * float(cycle.top_code)


def number(value: int, count: Tensor) -> Tensor:
    """A number as a float32 tensor on the device of a count."""
    return torch.full((), float(value), dtype=torch.float32, device=count.device)


def vote(codes: Tensor, rule: str) -> Tensor:
    """One code from several whole codes of one conversion. # (votes, ...) to (...)

    Rules: mode (the most frequent code; among equally frequent codes the smallest, as published), median (of an odd
    number of votes), and mean, which returns the sum of the codes, a whole number.
    """
    if rule == "mean":
        # float32 is exact up to 2^24, which 257 votes of 16 bits exceed
        return codes.sum(0, dtype=torch.float32 if codes.device.type == "mps" else torch.float64)
    if rule == "median":
        return codes.median(0).values
    best, agreement = codes[0], torch.zeros_like(codes[0])
    for code in codes:
        agree = (codes == code).sum(0)
        better = (agree > agreement) | ((agree == agreement) & (code < best))
        best, agreement = torch.where(better, code, best), torch.where(better, agree, agreement)
    return best
