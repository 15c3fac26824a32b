"""Files that are given opened, and tensors that were on a device."""

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
    """The path of a file, of a copy where it is given opened: what is checked is then what is read.

    Args:
        file: Its path, or the opened file.
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
    """Where torch.load puts a tensor: on the device that it was on, or on the CPU where there is no such device.

    Args:
        storage: Its values, on the CPU.
        location: The device that it was on.
    """
    device = location.partition(":")[0]
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    return None if there.get(device, False) else storage.cpu()
