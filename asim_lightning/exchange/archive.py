"""Checks of files of torch.save before they are read: that reading them takes no more memory than they are large."""

import io
import pickle
import pickletools
import zipfile
from pathlib import Path
from typing import BinaryIO

from asim_lightning.exchange.pickled_bytes import EncodingError, check_encoded

_ZIP = b"PK\x03\x04"
_ROOM = "builtins bytearray", "__builtin__ bytearray"
"""Names by which a pickle allocates memory of any size in a few bytes; torch.load allows them, and no checkpoint needs
them."""
_PICKLES = 4
"""Pickles at the start of a file of the old format: a number, a version, the machine, and the saved object."""


def check_archive(path: str | Path) -> None:
    """Refuse a file that would take more memory than its size when it is read; other damage is left to the reader.

    Args:
        path: The file.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A part is compressed, which torch.save does not do, or the parts are larger than the file.
    """
    size = Path(path).stat().st_size
    with open(path, "rb") as file:
        if file.read(len(_ZIP)) != _ZIP:
            file.seek(0)
            for _ in range(_PICKLES):
                if not _check_names(path, file):
                    return
            return
        try:
            with zipfile.ZipFile(file) as archive:
                parts = archive.infolist()
                if any(part.filename.endswith("constants.pkl") for part in parts):
                    raise ValueError(
                        f"{path} is refused: a checkpoint must hold tensors and plain values, got TorchScript"
                    )
                _check_sizes(path, parts, size)
                for part in parts:
                    if part.filename.endswith("data.pkl"):
                        _check_names(path, io.BytesIO(archive.read(part)))
        except (zipfile.BadZipFile, NotImplementedError, EOFError, RuntimeError, OSError):
            raise ValueError(f"{path} is no checkpoint, or a damaged one: it is no whole zip file") from None


def _check_sizes(path: str | Path, parts: list[zipfile.ZipInfo], size: int) -> None:
    for part in parts:
        if part.compress_type != zipfile.ZIP_STORED:
            raise ValueError(
                f"{path} is refused: the parts of a checkpoint must be stored as they are, got {part.filename!r} of "
                f"{part.file_size} bytes, compressed to {part.compress_size}"
            )
    total = sum(part.file_size for part in parts)
    if total > size:
        raise ValueError(f"{path} is refused: its parts must not be larger than the file, got {total} bytes in {size}")


def _check_names(path: str | Path, file: BinaryIO) -> bool:
    """Refuse a pickle that makes room without content, or encodes; whether it was read to its end."""
    try:
        for code, argument in check_encoded((code.name, argument) for code, argument, _ in pickletools.genops(file)):
            if code == "GLOBAL" and argument in _ROOM:
                raise _RoomError
    except EncodingError:
        raise ValueError(
            f"{path} is refused: a checkpoint must hold tensors and plain values, got a text to be encoded"
        ) from None
    except _RoomError:
        raise ValueError(
            f"{path} is refused: a checkpoint must hold tensors and plain values, got a bytearray"
        ) from None
    except (ValueError, IndexError, OverflowError, MemoryError, pickle.UnpicklingError):
        return False
    return True


class _RoomError(Exception):
    pass
