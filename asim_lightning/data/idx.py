"""The IDX file format of the MNIST family: a big-endian header, then unsigned bytes; plain or gzipped."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import IO, Literal, Protocol, cast

import torch
from torch import Tensor

UNSIGNED_BYTE = 8  # the element type of the header; MNIST and its relatives use no other
MOST_BYTES = 2**30  # once unpacked; EMNIST, the largest of the family, has 640 MB of training images
_PIECE = 2**20


class ReadableFile(Protocol):
    """What a ``pathlib.Path`` and a packaged resource have in common, as far as reading needs it."""

    @property
    def name(self) -> str:
        """The last part of the path."""

    def open(self, mode: Literal["rb"]) -> IO[bytes]:
        """The file, to be read."""


def read_idx(file: ReadableFile) -> Tensor:
    """Reads one file of unsigned bytes. Nothing in the file is executed or unpickled.

    Args:
        file: A path or a packaged resource; a name that ends in ``.gz`` is decompressed.

    Returns:
        A uint8 tensor of the shape that the header declares, e.g. (60000, 28, 28).

    Raises:
        ValueError: The file is truncated, corrupt or of another format.
    """
    is_packed = file.name.endswith(".gz")
    with file.open("rb") as raw:
        content = cast(IO[bytes], gzip.GzipFile(fileobj=raw)) if is_packed else raw
        try:
            return _read(file, content, MOST_BYTES if is_packed else None)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"{file} must be a whole gzip file, but is truncated or corrupt ({error}).") from error


def _read(file: ReadableFile, content: IO[bytes], most: int | None) -> Tensor:
    start = content.read(4)
    if len(start) < 4 or start[:2] != b"\0\0" or start[2] != UNSIGNED_BYTE or start[3] == 0:
        raise ValueError(f"{file} must be an IDX file of unsigned bytes, but begins with 0x{start.hex()}.")
    header = 4 + 4 * start[3]
    sizes = content.read(header - 4)
    if len(sizes) < header - 4:
        raise ValueError(f"{file} must hold an IDX header of {header} bytes, but is truncated to {4 + len(sizes)}.")
    shape = struct.unpack(f">{start[3]}I", sizes)
    size = math.prod(shape)
    if most is not None and size > most:
        raise ValueError(
            f"{file} must unpack to at most {most} bytes, but declares the shape {shape}, which takes {size}."
        )
    # what the header declares, a byte more to see the end, and piece by piece: neither a small file that unpacks to
    # much nor a header that declares what is not there takes the memory
    values = bytearray()
    while len(values) <= size and (piece := content.read(min(_PIECE, size + 1 - len(values)))):
        values += piece
    if len(values) != size or 0 in shape:
        held = "more" if len(values) > size else len(values)
        raise ValueError(
            f"{file} must hold {size} bytes after the header for the shape {shape} that it declares (at "
            f"least one), but holds {held}: it is truncated or corrupt."
        )
    return torch.frombuffer(values, dtype=torch.uint8).reshape(shape)


def write_idx(path: Path, values: Tensor) -> None:
    """Writes a uint8 tensor as a gzipped IDX file, the same bytes whenever it is written (for one zlib)."""
    header = struct.pack(f">BBBB{values.ndim}I", 0, 0, UNSIGNED_BYTE, values.ndim, *values.shape)
    # No name and no time in the gzip header: two runs must give the same file.
    with path.open("wb") as raw, gzip.GzipFile("", "wb", compresslevel=9, fileobj=raw, mtime=0) as file:
        file.write(header + values.numpy().tobytes())
