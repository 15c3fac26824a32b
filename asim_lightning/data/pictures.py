"""Colour pictures that are decoded when asked for: from files, or from bytes in memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, TypeVar

import numpy
from lightning.pytorch.utilities import rank_zero_warn
from PIL import Image
from torch import Tensor

Result = TypeVar("Result")


class Pictures(Protocol):
    """A sequence of colour pictures."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Image.Image: ...


class TensorPictures:
    """Bytes in memory, (images, 3, height, width), as pictures."""

    def __init__(self, images: Tensor) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Image.Image:
        return Image.fromarray(self.images[index].permute(1, 2, 0).contiguous().numpy())


class PictureFiles:
    """Files below a folder, decoded each time that they are asked for."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        """Opens nothing.

        Args:
            folder: What the names are relative to.
            names: Paths of the files.
        """
        self.folder = folder
        # One array, not a million strings: worker processes would copy those one by one as they count references.
        self._names = numpy.array([os.fsencode(name) for name in names])

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> Image.Image:
        return read_picture(self.path(index))

    def path(self, index: int) -> Path:
        """Where a picture lies."""
        return self.folder / os.fsdecode(self._names[index])


def read_picture(path: Path) -> Image.Image:
    """Decodes a file to RGB.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is corrupt, truncated or no picture.
    """
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except FileNotFoundError:
        raise FileNotFoundError(f"The picture {path} does not exist.") from None
    except Exception as error:  # PIL's decoders raise anything from SyntaxError to struct.error at a corrupt file
        reason = " ".join(str(error).split())
        raise ValueError(
            f"{path} must be a whole picture, but is corrupt or of another format ({reason}); `skip_corrupt: true` "
            "leaves such files out."
        ) from error


def over_threads(function: Callable[[int], Result], count: int) -> list[Result]:
    """The results for 0 to count - 1, by as many threads as there are processors; decoders release Python's lock."""
    with ThreadPoolExecutor(min(32, os.cpu_count() or 1)) as pool:
        return list(pool.map(function, range(count)))


def corrupt_pictures(pictures: PictureFiles) -> list[int]:
    """Indices of the files that cannot be decoded, found by decoding all of them, which takes its time."""

    def is_corrupt(index: int) -> bool:
        try:
            pictures[index]
        except ValueError:
            return True
        return False

    return numpy.flatnonzero(over_threads(is_corrupt, len(pictures))).tolist()


def warn_of_corrupt(pictures: PictureFiles, indices: Sequence[int]) -> None:
    """Says how many files are left out and which is the first of them."""
    if indices:
        first = pictures.path(indices[0])
        rank_zero_warn(f"{len(indices)} of {len(pictures)} pictures are corrupt and left out, first {first}.")
