"""A user's column in the form that engines ask: before an ADC with a range, and by the number of driven rows."""

from collections.abc import Sequence
from inspect import signature
from typing import Any

import torch
from torch import Tensor

from asim_lightning.circuit.columns import (
    Charge,
    Column,
    ConverterPlaces,
    Current,
    Droop,
    codes_of_full_scale,
    full_range,
    number,
    possible_counts,
)
from asim_lightning.circuit.schedule import Cycle

_MOST_DRIVEN = 2**12
"""Most rows of which every number of driven rows is looked at."""
_MOST_PAIRS = 2**22
"""Most pairs of a number of driven rows and a count of which every one is looked at."""


class _Adapter(Column):
    """A column that passes on everything but level and sigma."""

    def __init__(self, column: Column) -> None:
        super().__init__(column.macro)
        self.column, self.cell_sigma, self.curves = column, column.cell_sigma, column.curves

    @property
    def note(self) -> str:  # type: ignore[override]
        """See `Column.note`."""
        return self.column.note

    def check_cycles(self, cycles: Sequence[Cycle]) -> None:
        """See `Column.check_cycles`."""
        self.column.check_cycles(cycles)

    def converters(self, places: ConverterPlaces) -> tuple[Tensor | float, Tensor | float]:
        """See `Column.converters`."""
        return self.column.converters(places)

    @property
    def converters_differ(self) -> bool:
        """See `Column.converters_differ`."""
        return self.column.converters_differ


class ColumnByDriven(_Adapter):
    """A column whose `level` or `sigma` takes the number of driven rows as its second parameter.

    Here both take a count and a cycle, and are those with all rows of the macro driven.

    Args:
        column: The column.
        functions: Which of the two take the number.
    """

    depends_on_driven = True

    def __init__(self, column: Column, functions: frozenset[str]) -> None:
        super().__init__(column)
        self.functions = functions

    def of_driven(self, driven: Tensor, count: Tensor, cycle: Cycle) -> tuple[Tensor, Tensor]:
        """See `Column.of_driven`."""
        return self.codes("level", driven, count, cycle), self.codes("sigma", driven, count, cycle)

    def level(self, count: Tensor, cycle: Cycle) -> Tensor:
        """See `Column.level`; with all rows driven."""
        return self.codes("level", self._all(count), count, cycle)

    def sigma(self, count: Tensor, cycle: Cycle) -> Tensor:
        """See `Column.sigma`; with all rows driven."""
        return self.codes("sigma", self._all(count), count, cycle)

    def codes(self, function: str, driven: Tensor, count: Tensor, cycle: Cycle) -> Tensor:
        """Result of the column's own level or sigma."""
        own: Any = getattr(self.column, function)
        found: Tensor = own(count, driven, cycle) if function in self.functions else own(count, cycle)
        return found

    def _all(self, count: Tensor) -> Tensor:
        return torch.full((), float(self.macro.rows), dtype=torch.float32, device=count.device)


class ColumnInRange(_Adapter):
    """A user's column before an ADC with `adc_step`.

    The user's level and sigma are in codes of the full range; here they become codes of the ADC: ``(level *
    full_scale / top_code - adc_low) / adc_step`` and ``sigma * full_scale / (top_code * adc_step)``.

    Args:
        column: The user's column.
    """

    def __init__(self, column: Column) -> None:
        super().__init__(column)
        self.depends_on_driven = column.depends_on_driven

    def of_curves(self, curve: Tensor, count: Tensor, cycle: Cycle) -> tuple[Tensor, Tensor]:
        """See `Column.of_curves`."""
        level, sigma = self.column.of_curves(curve, count, full_range(cycle))
        return self._level(level, cycle), self._sigma(sigma, cycle)

    def of_driven(self, driven: Tensor, count: Tensor, cycle: Cycle) -> tuple[Tensor, Tensor]:
        """See `Column.of_driven`."""
        level, sigma = self.column.of_driven(driven, count, full_range(cycle))
        return self._level(level, cycle), self._sigma(sigma, cycle)

    def level(self, count: Tensor, cycle: Cycle) -> Tensor:
        """See `Column.level`."""
        return self._level(self.column.level(count, full_range(cycle)), cycle)

    def sigma(self, count: Tensor, cycle: Cycle) -> Tensor:
        """See `Column.sigma`."""
        return self._sigma(self.column.sigma(count, full_range(cycle)), cycle)

    def _level(self, level: Tensor, cycle: Cycle) -> Tensor:
        level = level.float()
        if cycle.adc_step is None:
            return level
        count = level * float(cycle.full_scale) / number(cycle.top_code or 1, level)
        return (count - cycle.adc_low) / number(cycle.adc_step, level)

    def _sigma(self, sigma: Tensor, cycle: Cycle) -> Tensor:
        sigma = sigma.float()
        return sigma if cycle.adc_step is None else sigma * (codes_of_full_scale(cycle) / (cycle.top_code or 1))


def in_range(column: Column) -> Column:
    """A column before its macro's ADC: the column itself, or a user's column mapped to an ADC with `adc_step`."""
    own = column.macro.adc_step is None or type(own_of(column)) in (Column, Charge, Current, Droop)
    return column if own else ColumnInRange(column)


def own_of(column: Column) -> Column:
    """The column as its class was written."""
    return own_of(column.column) if isinstance(column, _Adapter) else column


def by_driven(column: Column) -> Column:
    """The column itself, or a column whose level or sigma takes the number of driven rows in the form of others."""
    functions = frozenset(name for name in ("level", "sigma") if _takes_driven(getattr(column, name)))
    return ColumnByDriven(column, functions) if functions else column


def _takes_driven(function: Any) -> bool:
    try:
        return list(signature(function).parameters)[1:2] == ["driven"]
    except (TypeError, ValueError):  # what is no function is refused when it is called
        return False


def some_driven(rows: int) -> list[int]:
    """A quarter, half, three quarters and all of the rows, without 0 and without repeats."""
    return sorted({max(1, round(rows * part / 4)) for part in range(1, 5)})


def possible_driven(rows: int) -> Tensor:
    """Numbers of driven rows, float32: all, or 4097 evenly spaced ones if there are more."""
    return _evenly(torch.arange(rows + 1, dtype=torch.float32, device="cpu"), _MOST_DRIVEN + 1)


def possible_pairs(cycle: Cycle, rows: int) -> tuple[Tensor, Tensor, bool]:
    """Numbers of driven rows and counts that can occur together, float32, and whether these are all such pairs: else
    they are evenly spaced. A driven row adds at most its largest digit to a count. # (pairs,) each"""
    most = cycle.largest_count
    driven, counts = possible_driven(rows), possible_counts(cycle).float()
    number = (rows + 1) * (most * (2 if cycle.signed else 1) + 1)
    if number > _MOST_PAIRS:
        driven, counts = _evenly(driven, 2**8 + 1), _evenly(counts, 2**13)
    digit = -(-max(cycle.full_scale, most) // rows)
    at, of = torch.nonzero(counts.abs() <= driven[:, None] * digit, as_tuple=True)
    return driven[at], counts[of], number <= _MOST_PAIRS


def _evenly(values: Tensor, most: int) -> Tensor:
    if len(values) <= most:
        return values
    return values[torch.linspace(0, len(values) - 1, most, dtype=torch.float64, device="cpu").round().long()]
