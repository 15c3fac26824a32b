"""Columns measured on silicon: level and sigma by count, fitted to the codes in a CSV file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asim_lightning.checks import check_whole
from asim_lightning.circuit.columns import Column
from asim_lightning.circuit.macro import MacroConfig
from asim_lightning.circuit.measured_file import (
    EACH,
    Array,
    Measurement,
    content_of,
    read_by_driven,
    read_measurement,
)
from asim_lightning.circuit.schedule import Cycle


@dataclass(frozen=True, eq=False)
class MeasuredCurve:
    """A converter's level and sigma at every count, in codes."""

    level: Array
    """Before rounding. # (counts,)"""
    sigma: Array
    """0 if all reads gave one code. # (counts,)"""
    counts: NDArray[np.int64]
    """The measured counts; level and sigma are linear between these. # (measured,)"""
    reads: NDArray[np.int64] | None = None
    """How often each code was read; None if the file has mean and std, or voltages. # (measured, codes)"""
    is_voltage: bool = False
    number: NDArray[np.int64] | None = None
    """Single reads of voltages. # (measured,)"""
    wild: Array | None = None
    """Count, and code or voltage in mV, of each wild read; None if the file has no single reads. # (reads, 2)"""

    def between(self, values: Array) -> Array:
        """Values at all counts from values at the measured counts. # (measured,) to (counts,)"""
        return np.interp(np.arange(len(self.level)), self.counts, values)

    @property
    def full_scale(self) -> int:
        """The last count."""
        return len(self.level) - 1

    @property
    def is_exact(self) -> bool:
        """Whether the file has voltages without any noise."""
        return self.is_voltage and not self.sigma.any()

    @property
    def counts_of_one_code(self) -> int:
        """Measured counts at which all reads gave one code."""
        return int((self.sigma[self.counts] == 0).sum())


class Measured(Column):
    """Measured column: level and sigma of each count, fitted to the codes in a file.

    The file is a CSV table: ``count,mean,std`` (of codes, after rounding) or ``count,code`` (20 or more single reads of
    each count), for counts from 0 to the full scale; lines that begin with # are comments. Between measured counts,
    level and sigma are linear. If all reads of a count gave one code, sigma is 0 and the level is this code (see
    `code_fit`). Wild reads, more than 6 robust deviations from the median of their count, are left out (see
    `wild_reads`).

    Voltages before the ADC have the columns ``count,mean_mv,std_mv`` or ``count,mv``; volts ``_v``, ``v``.
    Code 0 is at 0 mV, the largest code at the macro's `full_scale_mv`.

    A further column ``column`` has the number of a converter. All columns of the macro then have the curve of
    `converter`. With `each` they have the curves in turn, by rising number: the column of an output's weight bit has
    curve ``(output * weight_bits + bit) mod curves`` in every tile; groups and heads begin again (with placement reuse,
    the physical column decides).

    A further column ``driven``, instead of ``column``, has the number of driven rows, whose input digit is not 0: the
    macro's rows, and one or more smaller numbers. Each number has counts from 0 on, up to its rows times the largest
    digit. Level and sigma are linear between these numbers, and below the smallest one they are those of the smallest.

    A curve is measured at one full scale. Cycles at another full scale are refused: a remainder group or sign plane of
    encoded inputs, another number of rows. The file also gives the noise.

    Args:
        macro: The macro whose column this is.
        file: Path of the file, or name of a shipped one.
        converter: Number of the converter, or "each"; None if the file has no column ``column``.
        content: Digest of the file's bytes when the macro was built; a file with another digest is refused.
        wild_reads: Whether wild reads count as all others do.

    Raises:
        ValueError: The file is refused, does not fit the ADC or the rows, or has another content; or the macro sets
            noise, an ideal converter, or one conversion for all bits.
    """

    def __init__(
        self,
        macro: MacroConfig,
        file: str,
        converter: int | str | None = None,
        content: str | None = None,
        wild_reads: bool = False,
    ) -> None:
        super().__init__(macro)
        if not isinstance(wild_reads, bool):
            raise ValueError(f"`wild_reads` of a measured column must be true or false, got {wild_reads!r:.60}")
        if converter not in (None, EACH):
            check_whole("`converter`", converter, 0, 2**20, ", each or null")
        bytes_, digest = content_of(file)
        if content is not None and content != digest:
            raise ValueError(
                f"`macro.column_args.file` must be the file of content {content!r:.60}, got {file} of content {digest};"
                " leave out `content` to take the file as it is now"
            )
        self.file, self.converter, self.wild_reads = file, converter, wild_reads
        top, scale = _top_code(macro), macro.swing_mv
        self.by_driven = driven_curves(bytes_, file, top, scale, wild_reads=wild_reads)
        self.depends_on_driven = len(self.by_driven) > 1
        if self.by_driven:
            self._check_driven()
            self.by_converter: Mapping[int | None, MeasuredCurve] = {None: [*self.by_driven.values()][-1]}
        else:
            self.by_converter = measured_curves(bytes_, file, converter, top, scale, wild_reads=wild_reads)
        self.curves, self.curve = len(self.by_converter), next(iter(self.by_converter.values()))
        own = self.by_converter.values()
        levels, sigmas = (np.stack([getattr(each, name) for each in own]) for name in ("level", "sigma"))
        self._levels, self._sigmas = (torch.from_numpy(each.astype(np.float32)) for each in (levels, sigmas))
        averages = (levels[0], sigmas[0]) if len(own) == 1 else (levels.mean(0), np.sqrt((sigmas**2).mean(0)))
        self._level, self._sigma = (torch.from_numpy(each.astype(np.float32))[None] for each in averages)

        self._driven = torch.tensor([*self.by_driven], dtype=torch.float32)
        tables = _whole_tables([*self.by_driven.values()])
        self._driven_levels, self._driven_sigmas = (torch.from_numpy(each.astype(np.float32)) for each in tables)

    def _check_driven(self) -> None:
        numbers, rows = [*self.by_driven], self.macro.rows
        if self.converter is not None:
            raise ValueError(
                f"`converter` must be left out, because {self.file} has driven rows, got {self.converter!r}"
            )
        if numbers[-1] != rows or numbers[0] == 0:
            raise ValueError(
                f"{self.file} must have 1 or more driven rows, of which the largest number is `macro.rows`, {rows}, "
                f"got {numbers[0]} to {numbers[-1]}"
            )
        digit = max(1, self.by_driven[rows].full_scale // rows)
        for number, curve in self.by_driven.items():
            if curve.full_scale > number * digit:
                raise ValueError(
                    f"{self.file} must have counts 0..{number * digit} for {number} driven rows, got {curve.full_scale}"
                )
        if type(self).level is not Measured.level or type(self).sigma is not Measured.sigma:
            raise ValueError(f"{self.file} must have no column `driven` for a level or sigma of {type(self).__name__}")

    @classmethod
    def resolved(cls, arguments: dict[str, Any]) -> dict[str, Any]:
        """See `Column.resolved`: the digest of the file, if the file is named without it."""
        if "file" not in arguments or arguments.get("content") is not None:
            return arguments
        return {**arguments, "content": content_of(arguments["file"])[1]}

    @property
    def note(self) -> str:  # type: ignore[override]
        """Range of sigma, and the number of counts at which it is 0."""
        curve, reads = self.curve, self.curve.reads
        if self.curves > 1:
            sigmas = np.stack([each.sigma for each in self.by_converter.values()])
            return (
                f"measured: {self.curves} converters, which columns have in turn, by (output * weight_bits + bit) mod "
                f"{self.curves}; sigma {sigmas.min():.4g} to {sigmas.max():.4g} LSB{self._between}"
            )
        number = "" if reads is None else f" of {int(reads.sum(1).min())} or more reads"
        same = f"all codes{number} were the same, and sigma is 0, at {curve.counts_of_one_code}"
        said = f"measured: sigma {curve.sigma.min():.4g} to {curve.sigma.max():.4g} LSB"
        if not curve.is_voltage:
            said += f"; {same} of {len(curve.counts)} counts"
        if self.depends_on_driven:
            said += f"; driven rows {', '.join(map(str, self.by_driven))}, linear between these; all are driven here"
        return said + self._between

    @property
    def _between(self) -> str:
        measured, every = len(self.curve.counts), len(self.curve.level)
        said = "" if measured == every else f"; {measured} of {every} counts were measured, linear between these"
        curves = [*self.by_driven.values()] or [*self.by_converter.values()]
        wild = sum(len(each.wild) for each in curves if each.wild is not None)
        return said + (f"; {wild} wild reads {'count, too' if self.wild_reads else 'are left out'}" if wild else "")

    def check_cycles(self, cycles: Sequence[Cycle]) -> None:
        """Refuse cycles that are converted at another full scale than the file's."""
        others = sorted({c.full_scale for c in cycles if c.converted})
        if others and others != [self.curve.full_scale]:
            raise ValueError(
                f"`macro.column_args.file` {self.file} must be measured at the full scale of every cycle (`macro.rows` "
                "times the largest input digit; remainders and sign planes of `encoding_bits` have their own), "
                f"{', '.join(map(str, others))}, got counts 0..{self.curve.full_scale}"
            )

    def of_curves(self, curve: Tensor, count: Tensor, cycle: Cycle) -> tuple[Tensor, Tensor]:
        """See `Column.of_curves`."""
        curve = curve.to(count.device)
        return _of_curve(self._levels, curve, count), _of_curve(self._sigmas, curve, count)

    def of_driven(self, driven: Tensor, count: Tensor, cycle: Cycle) -> tuple[Tensor, Tensor]:
        """See `Column.of_driven`; linear between the measured numbers of driven rows."""
        if not self.depends_on_driven:
            return super().of_driven(driven, count, cycle)
        numbers = self._driven.to(count.device)
        at = driven.to(torch.float32).clamp(float(numbers[0]), float(numbers[-1])).contiguous()
        high = torch.searchsorted(numbers, at).clamp(1, len(numbers) - 1)
        share = (at - numbers[high - 1]) / (numbers[high] - numbers[high - 1])
        found = []
        for tables in (self._driven_levels, self._driven_sigmas):
            below, above = (_of_curve(tables, curve, count) for curve in (high - 1, high))
            found.append(below + share * (above - below))
        return found[0], found[1]

    def level(self, count: Tensor, cycle: Cycle) -> Tensor:
        """Level of the codes measured at a count, float32; linear between counts."""
        return _of_curve(self._level, 0, count)

    def sigma(self, count: Tensor, cycle: Cycle) -> Tensor:
        """Standard deviation at a count before rounding, float32, in codes; linear between counts."""
        return _of_curve(self._sigma, 0, count)


def _top_code(macro: MacroConfig) -> int:
    """Largest code of a macro that a measured column fits."""
    noise = "0 with column measured, because its file has the noise"
    for refused, name, allowed in (
        (macro.random_noise_percent > 0, "random_noise", noise),
        (macro.nonlinear_noise_percent > 0, "nonlinear_noise", noise),
        (macro.adc_step is not None, "adc_step", "null with column measured, because its file has the ADC's range"),
        (macro.weight_parallel, "weight_parallel", "false with column measured, because its counts begin at 0"),
        (macro.adc_bits is None, "adc_bits", "1..16 with column measured, because its file has codes"),
    ):
        if refused:
            raise ValueError(f"`macro.{name}` must be {allowed}, got {getattr(macro, name)!r}")
    return macro.top_code or 1


@lru_cache(maxsize=8)  # keys hold the files, which may be large
def measured_curves(
    content: bytes,
    name: str,
    converter: int | str | None,
    top: int,
    full_scale_mv: float | None = None,
    settings: tuple[str, str] = ("`macro.adc_bits`", "`macro.full_scale_mv`"),
    wild_reads: bool = False,
) -> Mapping[int | None, MeasuredCurve]:
    """The curves in the content of a file by converter; codes that do not fit the ADC are refused.

    Args:
        content: Bytes of the file.
        name: The file, for messages.
        converter: As in `read_measurement`.
        top: Largest code of the ADC.
        full_scale_mv: Voltage of the largest code, for a file of voltages.
        settings: The user's settings for the bits of the ADC, and for this voltage.
        wild_reads: As in `read_measurement`.
    """
    found = read_measurement(content, name, converter, wild_reads)
    return _fitted(found, name, converter, top, full_scale_mv, settings)


@lru_cache(maxsize=8)
def driven_curves(
    content: bytes,
    name: str,
    top: int,
    full_scale_mv: float | None = None,
    settings: tuple[str, str] = ("`macro.adc_bits`", "`macro.full_scale_mv`"),
    wild_reads: bool = False,
) -> Mapping[int, MeasuredCurve]:
    """The curves in the content of a file by the number of driven rows, ascending; none if the file has no such column.
    Arguments are those of `measured_curves`."""
    found = read_by_driven(content, name, wild_reads)
    return {
        number: _fitted(each, name, None, top, full_scale_mv, settings, number == max(found))[None]
        for number, each in found.items()
    }


def _fitted(
    found: Measurement,
    name: str,
    converter: int | str | None,
    top: int,
    full_scale_mv: float | None,
    settings: tuple[str, str],
    is_full: bool = True,
) -> Mapping[int | None, MeasuredCurve]:
    """The curves of a measurement; `is_full` says whether its counts reach the full scale."""
    # importing scipy.optimize takes as long as all else here
    from asim_lightning.circuit.code_fit import fit_moments, fit_reads, impossible_moments, too_wide

    mean, std, reads = found.mean, found.std, found.reads
    adc = f"of the {(top + 1).bit_length() - 1}-bit ADC ({settings[0]})"
    if found.is_voltage:
        if full_scale_mv is None:
            raise ValueError(f"{name} has voltages, so {settings[1]}, the voltage of the largest code, must be given")
        mean, std = mean / full_scale_mv * top, std / full_scale_mv * top
    largest, last = mean.max() if reads is None else reads.shape[-1] - 1, mean[:, -1].min()
    if largest > top and not found.is_voltage:
        raise ValueError(f"{name} must have codes 0..{top} {adc}, got {largest:g}")
    if is_full and last < top / 2:
        raise ValueError(
            f"{name} must use more than half of the codes 0..{top} {adc}, or outputs would be decoded too small, "
            f"got {last:.4g} at the last count, {found.counts[-1]}"
        )
    # one fit of all counts is faster
    if found.is_voltage:
        level, sigma = mean, std
    elif reads is not None:
        level, sigma = fit_reads(reads.reshape(mean.size, -1), top)
    else:
        _refuse_moments(too_wide(mean, std, top), found, name)
        level, sigma = fit_moments(mean.ravel(), std.ravel(), top)
        _refuse_moments(impossible_moments(mean.ravel(), std.ravel(), level, sigma, top), found, name)
    every, curves = np.arange(found.counts[-1] + 1), dict[int | None, MeasuredCurve]()
    for at, each in enumerate([None] if converter is None else found.converters):
        own, around = (np.interp(every, found.counts, x.reshape(mean.shape)[at]) for x in (level, sigma))
        table, number = (None if x is None else x[at] for x in (reads, found.number))
        wild = None if found.wild is None else found.wild[found.wild[:, 0] == found.converters[at], 1:]
        curves[each] = MeasuredCurve(own, around, found.counts, table, found.is_voltage, number, wild)
    return curves


def _refuse_moments(wrong: NDArray[np.bool_], found: Measurement, name: str) -> None:
    for at in np.flatnonzero(wrong)[:1]:
        raise ValueError(
            f"{name} must have mean and std of whole codes, got {found.mean.flat[at]:g} and {found.std.flat[at]:g} "
            f"at count {found.counts[at % len(found.counts)]}, which no whole codes have"
        )


def _whole_tables(curves: Sequence[MeasuredCurve]) -> tuple[Array, Array]:
    """Level and sigma at all counts of the last curve, for curves of rising full scales.

    Counts above a curve's full scale are impossible, but are needed between two numbers of driven rows: there, a level
    rises as that of the next curve, in proportion to the rise of both before. # (curves, counts) each
    """
    levels, sigmas = list[Array](), list[Array]()
    for curve in reversed(curves):
        level, sigma, last = curve.level, curve.sigma, curve.full_scale
        if levels:
            after, before = levels[-1], levels[-1][last] - levels[-1][0]
            ratio = (level[-1] - level[0]) / before if before else 1.0
            level = np.concatenate([level, level[-1] + ratio * (after[last + 1 :] - after[last])])
            sigma = np.concatenate([sigma, np.full(len(level) - len(sigma), sigma[-1])])
        levels.append(level)
        sigmas.append(sigma)
    empty = np.zeros((0, 0))
    return (np.stack(levels[::-1]), np.stack(sigmas[::-1])) if levels else (empty, empty)


def _of_curve(tables: Tensor, curve: Tensor | int, count: Tensor) -> Tensor:
    """Values at counts, linear between them. # tables: (curves, counts)"""
    tables = tables.to(count.device)
    at = count.float().clamp(0, tables.shape[1] - 1)
    low = at.floor().long()
    below, above = tables[curve, low], tables[curve, (low + 1).clamp_max(tables.shape[1] - 1)]
    return below + (at - low) * (above - below)
