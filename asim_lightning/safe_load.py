"""Reads untrusted files as tensors, numbers and text; nothing that a file names is imported or run.

Checkpoints are read by torch.load with weights_only, .safetensors files by their library, and other pickles (the CIFAR
sets) by Python's unpickler without imports. Each of them refuses all names except a few. NumPy's names are replaced by
the functions below, because NumPy's functions would use crafted bytes as pointers. A refused or damaged file raises
ValueError.
"""

import codecs
import pickle
import re
import warnings
import zipfile
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import IO, Any

import numpy
import numpy.typing
import torch
from torch import Tensor

NUMBERS = ("f8", "f4", "f2", "i8", "i4", "i2", "i1", "u1", "b1")
"""NumPy number types that a file may have."""


def load_torch(file: str | PathLike[str] | IO[bytes], mmap: bool = False, map_location: Any = "cpu") -> Any:
    """The object in a file of torch.save: tensors, and NumPy numbers as Python numbers.

    Args:
        file: Path of the file, or the opened file.
        mmap: Whether to read tensors from the disk only when they are used.
        map_location: Device of the tensors, as in torch.load.
    """
    path = file if isinstance(file, (str, PathLike)) else getattr(file, "name", "The opened file")
    names: list[Any] = [(replacement, ".".join(name)) for name, replacement in _REPLACEMENTS.items()]
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(names):
            warnings.simplefilter("ignore")  # warnings about pickle protocols, before the error
            _check_sums(file)
            return torch.load(file, map_location, weights_only=True, mmap=mmap and zipfile.is_zipfile(file))
    except (FileNotFoundError, IsADirectoryError, PermissionError):
        raise
    except Exception as error:  # arbitrary bytes may raise any error
        if found := re.search(r"GLOBAL ([\w.]+) w", str(error)):
            raise ValueError(
                f"{path} is refused: a checkpoint must hold tensors and plain values, got {found[1]}, which could run "
                "code"
            ) from None
        lines = str(error).splitlines() if isinstance(error, RuntimeError) else []
        reason = next((f": {line.split('. ')[0]}" for line in lines if not line.startswith("[")), "")  # torch's source
        raise ValueError(f"{path} is no checkpoint, or a damaged one{reason}") from None


def read_checkpoint(file: str | PathLike[str] | IO[bytes], map_location: Any = "cpu") -> dict[str, Any]:
    """A Lightning checkpoint; a file that would run code is refused, and its code does not run.

    Raises:
        ValueError: The file has more than tensors and plain values, is damaged, is not a Lightning checkpoint, or has
            weights without values.
    """
    checkpoint = load_torch(file, map_location=map_location)
    state = checkpoint.get("state_dict") if isinstance(checkpoint, dict) else None
    if not is_state(state):
        path = file if isinstance(file, (str, PathLike)) else getattr(file, "name", "The opened file")
        got = held(checkpoint if state is None else state)
        raise ValueError(f"{path} must be a Lightning checkpoint with a state_dict, tensors by name, got {got}")
    return checkpoint  # type: ignore[no-any-return]


def is_state(value: Any) -> bool:
    """Whether a value is tensors by name; meta tensors do not count, because torch would copy them silently."""
    return isinstance(value, dict) and all(
        isinstance(key, str) and isinstance(each, Tensor) and not each.is_meta for key, each in value.items()
    )


def held(value: Any) -> str:
    """Words for a value that is not what was wanted."""
    keys = ", ".join(str(key)[:60] for key in list(value)[:3]) if isinstance(value, dict) else ""
    return f"a mapping of {keys or 'nothing'}" if isinstance(value, dict) else f"a {type(value).__name__}"


def _check_sums(file: str | PathLike[str] | IO[bytes]) -> None:
    """Refuse a zip file in which a checksum is wrong; torch.load does not look at them, and may write none (all 0)."""
    start = 0 if isinstance(file, (str, PathLike)) else file.tell()
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as opened:
            has_sums = any(each.CRC for each in opened.infolist())
            if has_sums and (wrong := opened.testzip()) is not None:
                raise RuntimeError(f"the checksum of {wrong} in it is wrong")
    if not isinstance(file, (str, PathLike)):
        file.seek(start)


def load_safetensors(file: str | PathLike[str]) -> dict[str, Tensor]:
    """The tensors of a .safetensors file by name."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        found: dict[str, Tensor] = load_file(file)
    except SafetensorError as error:
        raise ValueError(f"{file} is no .safetensors file, or a damaged one: {error}") from None
    return found


def load_pickle(file: str | PathLike[str]) -> Any:
    """The object in a pickle of Python 2 or 3: plain values, and NumPy numbers and arrays.

    Text of Python 2 becomes str. If the whole pickle is a dictionary, its values may be arrays, and its keys become
    str.
    """
    with Path(file).open("rb") as opened:
        try:
            found = _Unpickler(opened, encoding="latin1").load()
            if isinstance(found, dict):
                texts = [key.decode("latin1") if isinstance(key, bytes) else key for key in found]
                values = [value.values if isinstance(value, _Array) else value for value in found.values()]
                return dict(zip(texts, values, strict=True))
            return found
        except Exception as error:  # arbitrary bytes may raise any error
            reason = " ".join(str(error).split())
            raise ValueError(
                f"{file} must be a whole pickle of numbers, text and arrays: {reason:.200}; nothing in it was run"
            ) from None


class _Type:
    """Replaces numpy.dtype."""

    def __init__(self, code: Any, *_: object) -> None:
        code = code.decode() if isinstance(code, bytes) else code
        if code.lstrip("|") not in NUMBERS:
            raise ValueError(f"it holds NumPy's type {code!r:.20}")
        self.kind = numpy.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        """Set the byte order; the rest of the state is ignored."""
        if state[1] == ">":
            self.kind = self.kind.newbyteorder(">")


class _Array:
    """Replaces numpy.ndarray: a pickle makes it empty and then sets its state."""

    values: numpy.typing.NDArray[Any]

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, by_columns, content = state
        content = content.encode("latin1") if isinstance(content, str) else content
        values = numpy.frombuffer(bytearray(content), dtype.kind)
        self.values = values.reshape(shape, order="F" if by_columns else "C")


def _scalar(dtype: _Type, content: str | bytes) -> Any:
    """Replaces numpy.core.multiarray.scalar."""
    content = content.encode("latin1") if isinstance(content, str) else content
    return numpy.frombuffer(content, dtype.kind)[0].item()


def _empty_array(*_: object) -> _Array:
    """Replaces numpy.core.multiarray._reconstruct."""
    return _Array()


def _encode(text: str, encoding: str) -> bytes:
    """Replaces codecs.encode, with which pickles write bytes."""
    if encoding != "latin1":
        raise ValueError(f"it holds bytes in the encoding {encoding!r:.20}")
    return codecs.encode(text, "latin1")


_REPLACEMENTS: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy.core.multiarray", "scalar"): _scalar,  # NumPy 1
    ("numpy._core.multiarray", "scalar"): _scalar,  # NumPy 2
    ("numpy", "dtype"): _Type,
    ("_codecs", "encode"): _encode,
}
_OF_ARRAYS: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy.core.multiarray", "_reconstruct"): _empty_array,
    ("numpy._core.multiarray", "_reconstruct"): _empty_array,
    ("numpy", "ndarray"): _Array,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        found = {**_REPLACEMENTS, **_OF_ARRAYS}.get((module, name))
        if found is None:
            raise ValueError(f"it names {module}.{name}")
        return found
