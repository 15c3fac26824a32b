"""Checks that a column's level and sigma are functions of the count, because engines tabulate them."""

import pickle
import random
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext

import numpy as np
import torch
from torch import Tensor

from asim_lightning.circuit.column_models import COLUMNS, build_column
from asim_lightning.circuit.columns import Column, ConverterPlaces
from asim_lightning.circuit.schedule import Cycle

_OWN = frozenset(COLUMNS.values())
_MOST_COUNTS = 2048
_SEED = 0x5EEDF0C5  # an unusual seed: a column that seeds with the same number would pass
_CLOSE = 1e-6  # of the largest code: vector instructions may round float32 in another order


def check_functions(column: Column, cycles: Sequence[Cycle], counts: Tensor) -> None:
    """Check that level and sigma are finite, and sigma 0 or more. A user's level and sigma must depend only on the
    count: not on the order, on other counts, on the call, on building the column again, or on the cycle if cycles
    convert alike. Neither they nor building the column may change global random numbers.

    Args:
        column: The column model.
        cycles: Cycles with the same full scale and converter.
        counts: Counts that they can meet, float32. # (counts,)
    """
    is_own, found = type(column) in _OWN, dict[str, Tensor]()
    for function in ("level", "sigma"):
        # restores random numbers that a refused column has changed; the package's columns draw none
        with nullcontext() if is_own else known_random_state():
            before = None if is_own else global_random_state()
            found[function] = _finite_codes(column, function, counts, cycles[0]).expand_as(counts)
            if before is not None:
                _check_again(column, function, found[function], counts, cycles[0], before)
    spread = column.cell_sigma
    if isinstance(spread, bool) or not isinstance(spread, (int, float)) or not 0 <= spread <= 100:
        raise ValueError(f"{_name(column, 'cell_sigma')} must be a number of percent, 0..100, got {spread!r}")
    every = -(-len(counts) // _MOST_COUNTS)
    for function, codes in {} if is_own else found.items():
        some, expected = counts[::every], codes[::every]
        _check_neighbours(column, function, some, expected, cycles[0])
        for other in cycles[1:]:
            if not _same(_codes(column, function, some, other), expected):
                first, second = (
                    f"weight bits {_bits(each.weight_bits)} with input bits {_bits(each.input_bits)}"
                    for each in (cycles[0], other)
                )
                raise ValueError(
                    f"{_name(column, function)} must be the same for cycles of the same full scale and converter, but "
                    f"differs between {first} and {second}"
                )


def _finite_codes(column: Column, function: str, counts: Tensor, cycle: Cycle) -> Tensor:
    codes = _codes(column, function, counts, cycle)
    if not bool(codes.isfinite().all()):
        wrong = counts[~codes.isfinite().expand_as(counts)]
        raise ValueError(
            f"{_name(column, function)} must give a tensor of finite codes for counts "
            f"{int(counts[0])}..{int(counts[-1])}, got {_shown(codes, counts, wrong[0])}"
        )
    if function == "sigma" and bool((codes < 0).any()):
        lowest = counts[codes.expand_as(counts).argmin()]
        raise ValueError(
            f"{_name(column, function)} must be 0 or more, because it is a standard deviation, "
            f"got {_shown(codes, counts, lowest)}"
        )
    return codes


def _check_again(column: Column, function: str, codes: Tensor, counts: Tensor, cycle: Cycle, before: bytes) -> None:
    """Check a second call, and a call of the column built again, with the global random numbers of the first call."""
    name = _name(column, function)
    if not _same(_codes(column, function, counts, cycle), codes):
        raise ValueError(
            f"{name} must give the same each time for the same counts, but does not; describe differences from "
            "read to read by sigma, a standard deviation"
        )
    _check_random_state(before, name)
    if not _same(_codes(build_column(column.macro), function, counts, cycle), codes):
        raise ValueError(
            f"{name} must be the same for a column that is built again with the same arguments, but is not; draw "
            "random numbers from a generator and make its seed an argument"
        )
    _check_random_state(before, _name(column, "__init__"))


def own_converters(column: Column, places: ConverterPlaces) -> tuple[Tensor, Tensor]:
    """Gain and offset of converters by a column's pattern, float32, finite and the same at a second call.

    # (converters,) each
    """
    found = []
    for _ in range(2):
        try:
            given = zip(("gain", "offset"), column.converters(places), strict=True)
            found.append(
                {of: torch.as_tensor(each).detach().float().cpu().expand(places.macro.shape) for of, each in given}
            )
        except Exception as error:  # of the user's class; callers that try other macros expect a ValueError
            raise ValueError(
                f"{_name(column, 'converters')} must give a gain and an offset, each a number or one for each "
                f"converter, got {type(error).__name__}: {error}"
            ) from error
    for of, values in found[0].items():
        if not bool(values.isfinite().all()):
            raise ValueError(f"{_name(column, 'converters')} must give finite numbers, got NaN or infinity in {of}")
        if not torch.equal(values, found[1][of]):
            raise ValueError(f"{_name(column, 'converters')} must give the same each time, got another {of}")
    return found[0]["gain"], found[0]["offset"]


def check_noise_is_used(column: Column, cycles: Iterable[Cycle]) -> None:
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


def _check_random_state(before: object, name: str) -> None:
    if global_random_state() != before:
        raise ValueError(
            f"{name} must leave the global random numbers of torch, numpy and Python as they are, but changes them; "
            "draw from a separate generator"
        )


def _check_neighbours(column: Column, function: str, counts: Tensor, expected: Tensor, cycle: Cycle) -> None:
    alone = sorted({0, len(counts) - 1, *(2**k for k in range(len(counts).bit_length() - 1))})
    order = torch.randperm(len(counts), generator=torch.Generator().manual_seed(0))
    some = slice(len(counts) // 4, len(counts) // 2 + 1)  # without the ends and the middle
    for what, given, codes in (
        ("some of the counts", counts, expected),
        ("a permutation of the counts", counts[order], expected[order]),
        ("a slice of the counts", counts[some], expected[some]),
        ("the counts in two dimensions", counts[None, some], expected[None, some]),
        *(("a count alone", counts[at : at + 1], expected[at : at + 1]) for at in alone),
    ):
        if not _same(_codes(column, function, given, cycle), codes):
            raise ValueError(
                f"{_name(column, function)} must give each count the same code whatever counts are next to it, but "
                f"gives others for {what}; do not use the tensor's positions, size, largest value or mean"
            )


def _codes(column: Column, function: str, counts: Tensor, cycle: Cycle) -> Tensor:
    """Result of a column's function: of the shape of the counts, or, for sigma, a single number."""
    given = counts.clone()
    try:
        codes = getattr(column, function)(given, cycle)
    except Exception as error:  # callers that try other macros expect a ValueError
        raise ValueError(
            f"{_name(column, function)} must take counts of any shape, but raises {type(error).__name__}: "
            f"{' '.join(str(error).split())}"
        ) from error
    if not torch.equal(given, counts):
        raise ValueError(f"{_name(column, function)} must leave the counts as they are, but changes them in place")
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


def _shown(codes: Tensor, counts: Tensor, count: Tensor) -> str:
    place = int((counts == count).nonzero()[0])
    return f"{float(codes.expand_as(counts)[place]):g} at count {int(count)}"


def _bits(bits: tuple[int, ...]) -> str:
    return str(bits[0]) if len(bits) == 1 else f"{bits[0]}..{bits[-1]}"


def global_random_state() -> bytes:
    """The states of the global generators of torch, numpy and Python, for comparison."""
    return pickle.dumps((torch.get_rng_state().numpy(), np.random.get_state(), random.getstate()))


@contextmanager
def known_random_state() -> Iterator[None]:
    """Sets the global generators to a known state, and restores them at the end."""
    before = torch.get_rng_state(), np.random.get_state(), random.getstate()
    torch.set_rng_state(torch.Generator().manual_seed(_SEED).get_state())
    np.random.set_state(np.random.RandomState(_SEED).get_state())
    random.setstate(random.Random(_SEED).getstate())
    try:
        yield
    finally:
        torch.set_rng_state(before[0])
        np.random.set_state(before[1])
        random.setstate(before[2])
