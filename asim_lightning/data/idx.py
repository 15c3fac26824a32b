"""The IDX file format of the MNIST family: a big-endian header, then unsigned bytes; plain or gzipped."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

UNSIGNED_BYTE = 8  # the element type of the header; MNIST and its relatives use no other


class ReadableFile(Protocol):
    """What a ``pathlib.Path`` and a packaged resource have in common, as far as reading needs it."""

    @property
    def name(self) -> str:
        """The last part of the path."""

    def read_bytes(self) -> bytes:
        """The whole content."""


def read_idx(file: ReadableFile) -> Tensor:
    """Reads one file of unsigned bytes. Nothing in the file is executed or unpickled.

    Args:
        file: A path or a packaged resource; a name that ends in ``.gz`` is decompressed.

    Returns:
        A uint8 tensor of the shape that the header declares, e.g. (60000, 28, 28).

    Raises:
        ValueError: The file is truncated, corrupt or of another format.
    """
    content = file.read_bytes()
    if file.name.endswith(".gz"):
        try:
            content = gzip.decompress(content)
        except (EOFError, OSError, zlib.error) as error:
            raise ValueError(f"{file} must be a whole gzip file, but is truncated or corrupt ({error}).") from error
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] != UNSIGNED_BYTE or content[3] == 0:
        raise ValueError(f"{file} must be an IDX file of unsigned bytes, but begins with 0x{content[:4].hex()}.")
    header = 4 + 4 * content[3]
    if len(content) < header:
        raise ValueError(f"{file} must hold an IDX header of {header} bytes, but is truncated to {len(content)}.")
    shape = struct.unpack(f">{content[3]}I", content[4:header])
    if len(content) - header != math.prod(shape) or 0 in shape:
        raise ValueError(
            f"{file} must hold {math.prod(shape)} bytes after the header for the shape {shape} that it declares (at "
            f"least one), but holds {len(content) - header}: it is truncated or corrupt."
        )
    # bytearray: torch wants memory that it may write to.
    return torch.frombuffer(bytearray(content), dtype=torch.uint8, offset=header).reshape(shape)


def write_idx(path: Path, values: Tensor) -> None:
    """Writes a uint8 tensor as a gzipped IDX file, the same bytes whenever it is written (for one zlib)."""
    header = struct.pack(f">BBBB{values.ndim}I", 0, 0, UNSIGNED_BYTE, values.ndim, *values.shape)
    # No name and no time in the gzip header: two runs must give the same file.
    with path.open("wb") as raw, gzip.GzipFile("", "wb", compresslevel=9, fileobj=raw, mtime=0) as file:
        file.write(header + values.numpy().tobytes())
