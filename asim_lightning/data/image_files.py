"""Colour images as PIL images: decoded from files when asked for, or made from bytes in memory."""

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


class PilImages(Protocol):
    """A sequence of colour images, each a PIL image of mode RGB."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Image.Image: ...


class TensorAsPilImages:
    """Images in memory, uint8, (images, 3, height, width), as PIL images."""

    def __init__(self, images: Tensor) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Image.Image:
        return Image.fromarray(self.images[index].permute(1, 2, 0).contiguous().numpy())


class ImageFiles:
    """Image files below a folder, each decoded whenever it is asked for."""

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
        return read_image(self.path(index))

    def path(self, index: int) -> Path:
        """Path of the file with this index."""
        return self.folder / os.fsdecode(self._names[index])


def read_image(path: Path) -> Image.Image:
    """Decodes a file to RGB.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is corrupt, truncated or not an image.
    """
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except FileNotFoundError:
        raise FileNotFoundError(f"The image {path} does not exist.") from None
    except Exception as error:  # PIL's decoders raise anything from SyntaxError to struct.error at a corrupt file
        reason = " ".join(str(error).split())
        raise ValueError(
            f"{path} must be a whole image, but is corrupt or of another format ({reason}); `skip_corrupt: true` "
            "leaves such files out."
        ) from error


def over_threads(function: Callable[[int], Result], count: int) -> list[Result]:
    """Results of a function for 0 to count - 1, by a thread for each processor; decoders release Python's lock."""
    with ThreadPoolExecutor(min(32, os.cpu_count() or 1)) as pool:
        return list(pool.map(function, range(count)))


def corrupt_images(files: ImageFiles) -> list[int]:
    """Indices of the files that cannot be decoded, found by decoding all of them, which takes its time."""

    def is_corrupt(index: int) -> bool:
        try:
            files[index]
        except ValueError:
            return True
        return False

    return numpy.flatnonzero(over_threads(is_corrupt, len(files))).tolist()


def warn_of_corrupt(files: ImageFiles, indices: Sequence[int]) -> None:
    """Warns of the files that are left out: how many they are, and the path of the first."""
    if indices:
        first = files.path(indices[0])
        rank_zero_warn(f"{len(indices)} of {len(files)} images are corrupt and left out, first {first}.")
