"""Opened files, and the devices of tensors that are loaded."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

import torch


@contextmanager
def on_disk(file: str | PathLike[str] | IO[bytes]) -> Iterator[Path]:
    """The path of a file; of an opened file, of a copy of it, so that what is checked is what is read.

    Args:
        file: Path of the file, or the opened file.
    """
    if isinstance(file, (str, PathLike)):
        yield Path(file)
        return
    with TemporaryDirectory() as folder:
        path = Path(folder) / "opened.ckpt"
        with path.open("wb") as copy:
            shutil.copyfileobj(file, copy)
        yield path


def where_it_was(storage: Any, location: str) -> Any:
    """torch.load's map_location: each tensor goes to the device that it was saved from, or to the CPU where there is no
    such device.

    Args:
        storage: Storage of the tensor, on the CPU.
        location: Device that it was saved from.
    """
    device = location.partition(":")[0]
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    return None if there.get(device, False) else storage.cpu()
