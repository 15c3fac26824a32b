"""Reads pickles of plain values and NumPy arrays of bytes without running any code that a pickle names.

The CIFAR sets are published as pickles of Python 2. A pickle may name any function to be called; here every name but
the five below is refused, and those five are stand-ins, so that not even NumPy's own code runs on what a file says.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
from functools import partial
from pathlib import Path
from typing import Any

import numpy
import numpy.typing

Bytes = numpy.typing.NDArray[numpy.uint8]
_PUTS = ("PUT", "BINPUT", "LONG_BINPUT")
"""Opcodes that store a value in the memo, under an index of their own choice."""


def read_plain_pickle(file: Path) -> Any:
    """Reads one pickle, of Python 2 or 3.

    Args:
        file: The pickle.

    Returns:
        None, numbers, text, lists, tuples, dictionaries, sets, and uint8 arrays. Text of Python 2 comes as str.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is truncated or corrupt, or holds anything else.
    """
    content = file.read_bytes()
    try:
        _check_memo(content)
        return _plain(_Unpickler(content).load(), {})
    except Exception as error:  # a corrupt pickle raises anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(
            f"{file} must be a whole pickle of numbers, text and arrays of bytes, but is not ({reason}); nothing in it "
            "was run."
        ) from error


def _check_memo(content: bytes) -> None:
    """Refuses memo indices above the number of opcodes, as Python allocates the memo up to the largest index."""
    opcodes = 0
    codes = pickletools.genops(content)
    while True:
        try:
            code, argument, _ = next(codes)
        except StopIteration:
            return
        except ValueError as error:
            raise ValueError(f"it is truncated or damaged: {error}") from None
        opcodes += 1
        if code.name in _PUTS and (not isinstance(argument, int) or argument > opcodes):
            raise ValueError(f"memo index {argument} after {opcodes} opcodes")


class _Budget:
    """Bytes that all arrays together may take, as a pickle may use the same bytes for any number of arrays."""

    def __init__(self, size: int) -> None:
        self.left = size

    def take(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise ValueError("arrays that are larger than the file")


class _ArrayType:
    """Stands for numpy.ndarray, which is never called, only named."""


class _ByteType:
    """Stands for numpy.dtype."""

    def __init__(self, code: object, *_: object) -> None:
        if code not in ("u1", "|u1", b"u1"):
            raise ValueError(f"an array of {code!r} in place of bytes")

    def __setstate__(self, state: object) -> None:
        """Ignores byte order and the like, which bytes do not have."""


class _Array:
    """Stands for an array, which a pickle makes empty and fills afterwards."""

    values: Bytes

    def __init__(self, budget: _Budget) -> None:
        self._budget = budget

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, by_columns, content = state
        if isinstance(content, (str, bytes)):
            self._budget.take(len(content))
        content = content.encode("latin1") if isinstance(content, str) else content
        sound = isinstance(kind, _ByteType) and isinstance(content, bytes) and isinstance(shape, tuple)
        if not sound or not all(type(size) is int and size >= 0 for size in shape):
            raise ValueError("an array that is no array of bytes")
        if math.prod(shape) != len(content):
            raise ValueError(f"an array of shape {shape} with {len(content)} bytes")
        values = numpy.frombuffer(bytearray(content), dtype=numpy.uint8)
        self.values = values.reshape(shape[::-1]).T if by_columns else values.reshape(shape)


def _empty_array(budget: _Budget, kind: object, *_: object) -> _Array:
    return _Array(budget)


def _encoded(budget: _Budget, text: str, codec: str) -> bytes:
    if codec != "latin1":
        raise ValueError(f"bytes in the encoding {codec!r}")
    budget.take(len(text))
    return text.encode("latin1")


class _Unpickler(pickle.Unpickler):
    def __init__(self, content: bytes) -> None:
        super().__init__(io.BytesIO(content), encoding="latin1")
        budget = _Budget(
            2 * len(content)
        )  # Python 3 writes bytes in the protocol of Python 2 as text that is encoded first
        made = partial(_empty_array, budget)
        self._stand_ins: dict[tuple[str, str], Any] = {
            ("numpy", "ndarray"): _ArrayType,
            ("numpy", "dtype"): _ByteType,
            ("numpy.core.multiarray", "_reconstruct"): made,
            ("numpy._core.multiarray", "_reconstruct"): made,
            ("_codecs", "encode"): partial(_encoded, budget),
        }

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self._stand_ins[module, name]
        except KeyError:
            raise ValueError(f"it names {module}.{name}") from None


def _plain(value: Any, known: dict[int, Any]) -> Any:
    """The value with arrays in place of their stand-ins; a list that is used twice stays one list."""
    if isinstance(value, _Array):
        return value.values
    if isinstance(value, (dict, list)):
        if id(value) not in known:
            known[id(value)] = (
                {_text(key): _plain(entry, known) for key, entry in value.items()}
                if isinstance(value, dict)
                else [_plain(entry, known) for entry in value]
            )
        return known[id(value)]
    if value is None or isinstance(value, (bool, int, float, str, bytes, tuple, set, frozenset)):
        return value
    raise ValueError(f"it holds a {type(value).__name__.strip('_')}")


def _text(key: Any) -> Any:
    return key.decode("latin1") if isinstance(key, bytes) else key
