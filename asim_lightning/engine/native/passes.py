"""Passes over arrays by the native library: fills of noise, quantising and scaling, digit sums and table sums."""

import ctypes as C
import warnings
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from asim_lightning.engine.native.library import library, why_missing
from asim_lightning.engine.noise import WORD

ADDRESS, INT64, INT32, UINT32 = C.c_void_p, C.c_int64, C.c_int32, C.c_uint32
_INFINITE_BITS = 0x7F800000
_FILL, _PASS, _TABLE = 2**14, 2**17, 2**14
"""Normals, numbers of a pass, and table entries that occupy a thread much longer than it takes to wake it."""


@lru_cache(maxsize=1)
def best_library() -> C.CDLL | None:
    """The library of the processor's best level; None where there is none, which a warning says once."""
    why = why_missing()
    if why is not None:
        warnings.warn(f"torch's operations simulate in place of C++ kernels, many times slower: {why}", stacklevel=2)
        return None
    return library()


def fields(*named: tuple[str, Any]) -> list[tuple[str, Any]]:
    """Fields of a structure: names, apart by spaces, and their type."""
    return [(name, kind) for names, kind in named for name in names.split()]


class Structure(C.Structure):
    """A structure of the C++ source of the same name: its size, and the same fields in the same order."""

    _fields_ = fields(("bytes", INT64))

    def call(self, function: Any) -> None:
        """Call a function of the library.

        Raises:
            RuntimeError: The structure has another size in the library.
        """
        self.bytes = C.sizeof(self)
        if function(C.byref(self)):
            raise RuntimeError(f"{type(self).__name__} has another size in the native library; build it again")


class NormalFill(Structure):
    """As in noise_fill.cpp."""

    _fields_ = fields(
        ("out ids offsets", ADDRESS), ("rows positions first_cycle cycles", INT64),
        ("key", UINT32 * 2), ("word_base last_word", UINT32), ("threads", INT32),
    )  # fmt: skip


class Quantize(Structure):
    """As in quantize.cpp."""

    _fields_ = fields(
        ("x out", ADDRESS), ("images channels positions", INT64), ("scale low top", C.c_float),
        ("shift is_bytes is_turned threads largest negative", INT32),
    )  # fmt: skip


class Scale(Structure):
    """As in quantize.cpp."""

    _fields_ = fields(
        ("sums step bias out", ADDRESS), ("images positions outputs", INT64), ("is_turned threads", INT32)
    )


class DigitSums(Structure):
    """As in digit_sums.cpp."""

    _fields_ = fields(
        ("x out ranges shifts masks", ADDRESS), ("rows channels pixels range_count digit_count", INT64),
        ("threads", INT32),
    )  # fmt: skip


class TableSums(Structure):
    """As in digit_sums.cpp."""

    _fields_ = fields(
        ("sums table factors out", ADDRESS), ("rows tiles digits positions functions offset", INT64),
        ("threads", INT32),
    )  # fmt: skip


def threads_for(units: int, fewest: int) -> int:
    """Threads among which to share units of work, of which so many are worth a thread: one, or all of torch's."""
    return torch.get_num_threads() if units >= 2 * fewest else 1


def fill_conversions(
    kernels: C.CDLL, key: tuple[int, int], ids: Tensor, offsets: Tensor, positions: int, cycles: range, word_base: int,
    last_word: int,
) -> Tensor:  # fmt: skip
    """See `noise.normals`; kernels are the library."""
    ids, offsets = ids.contiguous(), offsets.contiguous()
    out = torch.empty(len(cycles), len(ids), positions, dtype=torch.float32, device="cpu")
    sizes = len(ids), positions, cycles.start, len(cycles)
    addresses = out.data_ptr(), ids.data_ptr(), offsets.data_ptr()
    job = NormalFill(0, *addresses, *sizes, key, word_base & WORD, last_word, threads_for(out.numel(), _FILL))
    job.call(kernels.asim_fill_conversions)
    return out


def fill_outputs(
    kernels: C.CDLL, key: tuple[int, int], ids: Tensor, offsets: Tensor, positions: int, step: int
) -> Tensor:
    """See `noise.output_normals`; kernels are the library."""
    ids, offsets = ids.contiguous(), offsets.contiguous()
    out = torch.empty(len(ids), positions, dtype=torch.float32, device="cpu")
    addresses = out.data_ptr(), ids.data_ptr(), offsets.data_ptr()
    job = NormalFill(0, *addresses, len(ids), positions, 0, 0, key, 0, step, threads_for(out.numel(), _FILL))
    job.call(kernels.asim_fill_outputs)
    return out


def quantize(
    kernels: C.CDLL, x: Tensor, out: Tensor, is_turned: bool, numbers: tuple[float, float, float, int]
) -> tuple[bool, bool]:
    """Write ``clamp(x / scale, low, 1) * top``, rounded, to `out`, in bytes plus a shift.

    Args:
        kernels: The library.
        x: float32, as memory holds it; images that are contiguous where they turn.
        out: uint8 or float32 of the same shape.
        is_turned: Whether out is channels_last where x is contiguous; else both lie alike.
        numbers: scale, low, top, shift.

    Returns:
        Whether all numbers are finite; whether any is below 0.
    """
    sizes = (x.shape[0], x.shape[1], x.shape[2] * x.shape[3]) if is_turned else (1, 1, x.numel())
    threads = threads_for(x.numel(), _PASS)
    job = Quantize(0, x.data_ptr(), out.data_ptr(), *sizes, *numbers, out.dtype == torch.uint8, is_turned, threads)
    job.call(kernels.asim_quantize)
    return job.largest < _INFINITE_BITS, job.negative > 0


def scale(kernels: C.CDLL, sums: Tensor, step: Tensor, bias: Tensor | None, out: Tensor, is_turned: bool) -> None:
    """Write ``sums * step + bias``, rounded twice, to `out`, all float32.

    Args:
        kernels: The library.
        sums: # (..., outputs), contiguous, or images that are channels_last
        step: # (outputs,)
        bias: # (outputs,)
        out: Of the shape of sums.
        is_turned: Whether out is contiguous where sums are channels_last; else both lie alike.
    """
    outputs, images = len(step), len(sums) if is_turned else 1
    addresses = sums.data_ptr(), step.data_ptr(), None if bias is None else bias.data_ptr(), out.data_ptr()
    sizes = images, sums.numel() // (outputs * images), outputs
    Scale(0, *addresses, *sizes, is_turned, threads_for(sums.numel(), _PASS)).call(kernels.asim_scale)


def digit_sums(
    kernels: C.CDLL, x: Tensor, ranges: Sequence[tuple[int, int]], shifts: Sequence[int], masks: Sequence[int]
) -> Tensor:
    """Sums of digits ``x >> shift & mask`` over ranges of channels.

    Args:
        kernels: The library.
        x: Integers in float32, contiguous. # (rows, channels, pixels)
        ranges: First channel, and one past the last.
        shifts: Of each digit.
        masks: Of each digit.

    Returns:
        float32. # (rows, ranges, digits, pixels)
    """
    out = torch.empty(len(x), len(ranges), len(shifts), x.shape[2], dtype=torch.float32, device="cpu")
    edges = (INT64 * (2 * len(ranges)))(*(edge for pair in ranges for edge in pair))
    digits = [(INT32 * len(shifts))(*numbers) for numbers in (shifts, masks)]
    addresses = x.data_ptr(), out.data_ptr(), C.addressof(edges), *map(C.addressof, digits)
    job = DigitSums(0, *addresses, *x.shape, len(ranges), len(shifts), threads_for(len(x), 1))
    job.call(kernels.asim_digit_sums)
    return out


def table_sums(kernels: C.CDLL, sums: Tensor, table: Tensor, offset: int, factors: Sequence[float]) -> Tensor:
    """See `table_sums.table_sums`: sums contiguous, a table whose entry for a sum is at `offset` plus it."""
    rows, tiles, digits, positions = sums.shape
    out = torch.empty(rows, positions, tiles, table.shape[1], dtype=torch.float32, device="cpu")
    weights = (C.c_float * digits)(*factors)
    addresses = sums.data_ptr(), table.data_ptr(), C.addressof(weights), out.data_ptr()
    threads = threads_for(sums.numel(), _TABLE)
    job = TableSums(0, *addresses, *sums.shape, table.shape[1], offset, threads)
    job.call(kernels.asim_table_sums)
    return out
