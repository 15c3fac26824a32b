"""Column models by name, and the column of a macro: built, and checked to be a function of count and driven rows.

Engines tabulate level and sigma, so that they may depend on nothing else.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from inspect import signature
from numbers import Real

import torch
from torch import Tensor

from asim_lightning.checks import built, check_arguments, named_class
from asim_lightning.circuit.adapters import ColumnByDriven, by_driven, in_range, own_of, possible_pairs
from asim_lightning.circuit.columns import (
    Charge,
    Column,
    ConverterPlaces,
    Current,
    Droop,
    full_range,
    possible_counts,
)
from asim_lightning.circuit.macro import MacroConfig
from asim_lightning.circuit.measured import Measured
from asim_lightning.circuit.schedule import Cycle
from asim_lightning.circuit.units import is_in_lsb

COLUMNS: dict[str, type[Column]] = {"charge": Charge, "current": Current, "droop": Droop, "measured": Measured}
_MOST_CELLS = 2**28
_OWN = frozenset(COLUMNS.values())
_MOST_COUNTS = 2048
_CLOSE = 1e-6  # of the largest code: vector instructions may round float32 in another order


def column_class(macro: MacroConfig) -> type[Column]:
    """The class of the column model that a macro names, built-in or by its import path."""
    return named_class("`macro.column`", macro.column, COLUMNS, Column)


def is_users(column: Column) -> bool:
    """Whether a user wrote the class of a column."""
    return type(own_of(column)) not in (Column, *COLUMNS.values())


def check_column_arguments(macro: MacroConfig) -> None:
    """Refuse arguments that are not finite, and names that a shipped column does not have; reads no file, and imports
    no class of a user."""
    kind = COLUMNS.get(macro.column) if isinstance(macro.column, str) else None
    numbers = set()
    if kind is not None:
        check_arguments(kind, 1, macro.column_args, "`macro.column_args`", f"column {macro.column}")
        numbers = {each.name for each in signature(kind).parameters.values() if isinstance(each.default, float)}
    for name, value in macro.column_args.items():
        is_number = isinstance(value, Real) and not isinstance(value, bool)
        if (name in numbers and not is_number) or (is_number and not math.isfinite(value)):
            raise ValueError(f"`macro.column_args.{name}` must be a finite number, got {value!r}")


def resolved(macro: MacroConfig) -> MacroConfig:
    """The macro with everything that decides codes in its column's arguments, such as the digest of a file.

    Plans and layers resolve their macros. A resolved macro comes back unchanged.

    Raises:
        ValueError: The macro's column cannot be built.
    """
    macro = with_resolved_arguments(macro)
    build_column(macro)
    return macro


def with_resolved_arguments(macro: MacroConfig) -> MacroConfig:
    """`resolved` without building the column: quick if the macro is resolved already."""
    arguments = column_class(macro).resolved(macro.column_args)
    return macro if arguments is macro.column_args else replace(macro, column_args=arguments)


def build_column(macro: MacroConfig) -> Column:
    """The column model that a macro names.

    Raises:
        ValueError: There is no such class, it refuses the arguments, or the macro cannot have such cells.
    """
    kind, what = column_class(macro), f"column {macro.column}"
    try:
        column = built(kind, (macro,), macro.column_args, "`macro.column_args`", what)
    except ValueError:
        raise  # the column's message about its arguments
    except Exception as error:  # callers that try other macros expect a ValueError
        raise ValueError(f"`macro.column` {macro.column} cannot be built: {type(error).__name__}: {error}") from error
    if macro.static.cell_percent:
        column.cell_sigma = macro.static.cell_percent
    column.macro = macro  # a user's __init__ may not call ours
    _check_cells(macro, bool(column.cell_sigma))
    found = by_driven(column)
    if found.depends_on_driven and column.curves > 1:
        raise ValueError(f"`macro.column` {macro.column} must not have several curves if it depends on driven rows")
    return found


def _check_cells(macro: MacroConfig, differ: bool) -> None:
    static, weights = macro.static, macro.weight_bits if macro.weight_parallel else 1
    cells = (static.columns or 0) * (static.macros or 0) * macro.rows * weights
    if cells > _MOST_CELLS and (differ or static.has_stuck_cells):
        raise ValueError(
            f"`macro.static.macros` times `columns` and rows must be at most {_MOST_CELLS} cells if cells differ, "
            f"got {cells}"
        )
    if macro.weight_parallel and differ and static.reference == "absolute":
        raise ValueError("`macro.static.reference` must be ratiometric or summing with weight_parallel, got 'absolute'")


def checked_column(macro: MacroConfig, cycles: Sequence[Cycle]) -> Column:
    """The column of a macro before its ADC, checked over the full range of its cycles.

    Level and sigma must be finite, and sigma 0 or more. A user's level and sigma must depend only on the count, and on
    the driven rows if they take them: not on the order, on other counts, on the call, on building the column again, or
    on the cycle if cycles convert alike. A column that takes driven rows but gives the same for any number of them
    counts as one that does not depend on them.
    """
    alike: dict[tuple[object, ...], list[Cycle]] = {}
    for cycle in cycles:
        alike.setdefault(cycle.kind, []).append(full_range(cycle))
    column = build_column(macro)
    column.check_cycles([cycle for each in alike.values() for cycle in each])
    for each in alike.values():
        _check_functions(column, each)
    if isinstance(column, ColumnByDriven):
        for each in () if type(column.column) in _OWN else alike.values():
            _check_driven(column, each[0])
        column.depends_on_driven = any(_depends_on_driven(column, each[0]) for each in alike.values())
    own = own_of(column)
    if column.converters_differ and macro.top_code is None:
        raise ValueError(f"`macro.adc_bits` must be 1..16 with column {macro.column}, which gives converters an offset")
    own_sigma = type(own).sigma not in (Column.sigma, Current.sigma)
    if own_sigma:
        _check_noise_is_used(column, [each[0] for each in alike.values()])
    if macro.adc_step is None:
        return column
    if isinstance(own, Charge) and type(own) not in _OWN and (own.gain, own.offset) != (1.0, 0.0):
        raise ValueError(
            "`macro.column_args.gain` must be 1 and `offset` 0 with `macro.adc_step` and a column derived from another "
            f"one, got {own.gain!r} and {own.offset!r}"
        )
    in_lsb = [name for name in ("random_noise", "nonlinear_noise") if is_in_lsb(getattr(macro, name))]
    if in_lsb and own_sigma and any(cycle.full_scale != macro.rows for cycle in cycles):
        raise ValueError(
            f"`macro.{in_lsb[0]}` must be in % or mV with `macro.adc_step`, several input bits a cycle and a column "
            f"with a sigma of its own, got {getattr(macro, in_lsb[0])!r}"
        )
    return in_range(column)


def _check_functions(column: Column, cycles: Sequence[Cycle]) -> None:
    """Check level and sigma over all counts of cycles with the same full scale and converter."""
    counts = possible_counts(cycles[0]).float()
    for function in ("level", "sigma"):
        codes = _codes(column, function, counts, cycles[0]).expand_as(counts)
        if (at := _first_wrong(codes, function)) is not None:
            every = f" with all {column.macro.rows} rows driven" if isinstance(column, ColumnByDriven) else ""
            raise ValueError(
                f"{_name(column, function)} must give a tensor of finite codes{_least(function)} for counts "
                f"{int(counts[0])}..{int(counts[-1])}{every}, got {float(codes[at]):g} at count {int(counts[at])}"
            )
        for what, other, cycle, places in (
            () if type(own_of(column)) in _OWN else _other_ways(column, cycles, len(counts))
        ):
            if not _same(_codes(other, function, counts[places], cycle), codes[places]):
                raise ValueError(f"{_name(column, function)} must depend only on the count, but gives others {what}")
    spread = column.cell_sigma
    if isinstance(spread, bool) or not isinstance(spread, (int, float)) or not 0 <= spread <= 100:
        raise ValueError(f"{_name(column, 'cell_sigma')} must be a number of percent, 0..100, got {spread!r}")


def _check_driven(column: ColumnByDriven, cycle: Cycle) -> None:
    """Check a user's level and sigma over counts and driven rows together."""
    driven, counts, _ = possible_pairs(cycle, column.macro.rows)
    order = torch.randperm(len(counts), generator=torch.Generator("cpu").manual_seed(0), device="cpu")
    for function in sorted(column.functions):
        name, codes = _name(column, function), _codes(column, function, counts, cycle, driven).expand_as(counts)
        if (at := _first_wrong(codes, function)) is not None:
            raise ValueError(
                f"{name} must give a tensor of finite codes{_least(function)} for any number of driven rows, got "
                f"{float(codes[at]):g} at count {int(counts[at])} with {int(driven[at])} driven rows"
            )
        for what, places, rows in (
            ("at a second call", torch.arange(len(counts), device="cpu"), driven),
            ("for a permutation of the pairs", order, driven[order]),
            *(("for a pair alone", at[None], driven[at]) for at in order[:8]),
            *(("for all counts of one number of driven rows", (driven == each).nonzero()[:, 0], each)
              for each in driven[order[:8]]),
        ):  # fmt: skip
            if not _same(_codes(column, function, counts[places], cycle, rows), codes[places]):
                raise ValueError(f"{name} must depend only on count and driven rows, but gives others {what}")


def _first_wrong(codes: Tensor, function: str) -> int | None:
    """Place of the first code of a level or sigma that is not finite, or of a sigma below 0; None if there is none."""
    wrong = ~codes.isfinite() | (codes < 0) if function == "sigma" else ~codes.isfinite()
    return int(wrong.nonzero()[0]) if bool(wrong.any()) else None


def _least(function: str) -> str:
    return ", 0 or more," if function == "sigma" else ""


def _depends_on_driven(column: ColumnByDriven, cycle: Cycle) -> bool:
    """Whether level or sigma differs from that with all rows driven at any pair, or there are too many pairs."""
    driven, counts, are_all = possible_pairs(cycle, column.macro.rows)
    pairs = zip(
        column.of_driven(driven, counts, cycle),
        (column.level(counts, cycle), column.sigma(counts, cycle)),
        strict=True,
    )
    return not are_all or any(not torch.equal(*torch.broadcast_tensors(*pair)) for pair in pairs)


def _other_ways(column: Column, cycles: Sequence[Cycle], number: int) -> Iterator[tuple[str, Column, Cycle, Tensor]]:
    """Other ways to ask a column for the same codes: their words, the column, the cycle, and places of the counts."""
    every, first = torch.arange(number, device="cpu"), cycles[0]
    yield (
        "at a second call; describe differences from read to read by sigma, a standard deviation",
        column,
        first,
        every,
    )
    again = "if the column is built again; draw random numbers from a generator and make its seed an argument"
    yield again, build_column(column.macro), first, every
    some = every[:: -(-number // _MOST_COUNTS)]
    order = torch.randperm(len(some), generator=torch.Generator("cpu").manual_seed(0), device="cpu")
    part = some[len(some) // 4 : len(some) // 2 + 1]  # without the ends and the middle
    alone = sorted({0, len(some) - 1, *(2**k for k in range(len(some).bit_length() - 1))})
    for what, places in (
        ("some of the counts", some),
        ("a permutation of the counts", some[order]),
        ("a slice of the counts", part),
        ("the counts in two dimensions", part[None]),
        *(("a count alone", some[at : at + 1]) for at in alone),
    ):
        yield f"for {what}; do not use the tensor's positions, size, largest value or mean", column, first, places
    for cycle in cycles[1:]:
        bits = f"weight bit {cycle.weight_bits[0]} and input bit {cycle.input_bits[0]}"
        yield f"in the cycle of {bits}, which has the same full scale and converter", column, cycle, some


def own_converters(column: Column, places: ConverterPlaces) -> tuple[Tensor, Tensor]:
    """Gain and offset of converters by a column's pattern, float32, finite and the same at a second call.

    # (converters,) each
    """
    found, name = [], _name(column, "converters")
    for _ in range(2):
        try:
            given = [torch.as_tensor(each).detach().float().cpu() for each in column.converters(places)]
            gain, offset = (each.expand(places.macro.shape) for each in given)
        except Exception as error:  # of the user's class; callers that try other macros expect a ValueError
            raise ValueError(
                f"{name} must give a gain and an offset, each a number or one for each converter, got "
                f"{type(error).__name__}: {error}"
            ) from error
        found.append(torch.stack((gain, offset)))
    if not bool(found[0].isfinite().all()):
        raise ValueError(f"{name} must give finite numbers, got NaN or infinity")
    if not torch.equal(*found):
        raise ValueError(f"{name} must give the same each time, got others at a second call")
    return found[0][0], found[0][1]


def _check_noise_is_used(column: Column, cycles: Iterable[Cycle]) -> None:
    """Refuse noise of the macro that the column's sigma ignores: results would look like a macro that tolerates it."""
    cycles = [cycle for cycle in cycles if cycle.analog]
    ends = [torch.tensor([0.0, cycle.full_scale / 2, cycle.full_scale]) for cycle in cycles]
    if not cycles:
        return
    for name in ("random_noise", "nonlinear_noise"):
        if not getattr(column.macro, f"{name}_percent"):
            continue
        # far apart, so that sigma differs even if this noise is a small part of it
        without, much = (build_column(column.macro.with_fields(**{name: noise})) for noise in (0.0, 100.0))
        if all(
            _same(_codes(without, "sigma", counts, cycle), _codes(much, "sigma", counts, cycle))
            for counts, cycle in zip(ends, cycles, strict=True)
        ):
            raise ValueError(
                f"`macro.{name}` must be 0 with column {column.macro.column}, whose sigma does not depend on it, "
                f"got {getattr(column.macro, name)!r}"
            )


def _codes(column: Column, function: str, counts: Tensor, cycle: Cycle, driven: Tensor | None = None) -> Tensor:
    """Result of a column's function: of the shape of the counts, or, for sigma, a single number."""
    given, rows = counts.clone(), None if driven is None else driven.clone()
    try:
        if rows is not None and isinstance(column, ColumnByDriven):
            codes: object = column.codes(function, rows, given, cycle)
        else:
            codes = getattr(column, function)(given, cycle)
    except Exception as error:  # callers that try other macros expect a ValueError
        raise ValueError(
            f"{_name(column, function)} must take counts of any shape, but raises {type(error).__name__}: "
            f"{' '.join(str(error).split())}"
        ) from error
    if not torch.equal(given, counts):
        raise ValueError(f"{_name(column, function)} must leave the counts as they are, but changes them in place")
    if driven is not None and rows is not None and not torch.equal(rows, driven):
        raise ValueError(f"{_name(column, function)} must leave `driven` as it is, but changes it in place")
    if not isinstance(codes, Tensor) or codes.is_complex() or codes.dtype == torch.bool:
        kind = f"one of {codes.dtype}" if isinstance(codes, Tensor) else " ".join(repr(codes).split())[:80]
        raise ValueError(f"{_name(column, function)} must give a tensor of finite codes, got {kind}")
    one_for_all = function == "sigma" and codes.dim() <= 1 and codes.numel() == 1
    if codes.shape != counts.shape and not one_for_all:
        number = ", or give one number for all" if function == "sigma" else ""
        raise ValueError(
            f"{_name(column, function)} must keep the shape of the counts{number}, got {tuple(codes.shape)} for "
            f"{tuple(counts.shape)}"
        )
    return codes.detach()


def _same(codes: Tensor, expected: Tensor) -> bool:
    largest = float(expected.abs().max()) if expected.numel() else 0.0
    # NaN is unequal to all: the deviation of a single count may be NaN
    return bool(((codes.double() - expected.double()).abs() <= _CLOSE * largest).all())


def _name(column: Column, function: str) -> str:
    return f"`macro.column` {column.macro.column}: {function}"
