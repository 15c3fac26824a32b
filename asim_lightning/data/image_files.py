"""Image files: listed by torchvision in one folder for each class, and decoded to RGB on demand."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_warn
from PIL import Image
from torch import Tensor
from torchvision.datasets.folder import IMG_EXTENSIONS, make_dataset

Result = TypeVar("Result")


class TensorAsPilImages:
    """Images in memory, uint8, (images, 3, height, width), as PIL images."""

    def __init__(self, images: Tensor) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Image.Image:
        return Image.fromarray(self.images[index].permute(1, 2, 0).contiguous().numpy())


class ImageFiles:
    """Image files below a folder, each decoded every time it is read."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        """Open nothing; the names are paths relative to the folder."""
        self.folder = folder
        # one array, not a million strings: worker processes count references, and would copy the strings one by one.
        self._names = np.array([os.fsencode(name) for name in names])

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> Image.Image:
        path = self.path(index)
        try:
            with Image.open(path) as image:
                return image.convert("RGB")
        except FileNotFoundError:
            raise FileNotFoundError(f"The image {path} does not exist") from None
        except Exception as error:  # PIL's decoders raise anything from SyntaxError to struct.error at a corrupt file
            reason = " ".join(str(error).split())
            raise ValueError(
                f"{path} must be a whole image, but is corrupt or of another format ({reason}); `skip_corrupt: true` "
                "leaves such files out"
            ) from error

    def path(self, index: int) -> Path:
        """Path of the file with this index."""
        return self.folder / os.fsdecode(self._names[index])


def class_names(folder: Path) -> list[str]:
    """The sorted names of the folders in a folder, without hidden ones; labels number the classes in this order.

    Raises:
        FileNotFoundError: There is no such folder, or it has no folders.
    """
    names = sorted(entry.name for entry in _entries(folder) if entry.is_dir() and not entry.name.startswith("."))
    if not names:
        raise FileNotFoundError(
            f"{folder} must hold a folder of images for each class ({folder}/<class>/*.png), but holds no folder"
        )
    return names


def image_names_in(folder: Path) -> list[str]:
    """The sorted names of the image files directly in a folder."""
    return sorted(entry.name for entry in _entries(folder) if _is_image(entry.name))


def list_class_folders(folder: Path, classes: Sequence[str]) -> tuple[ImageFiles, Tensor]:
    """The image files of all classes, in the order of torchvision's ImageFolder, and their labels, int64. # (images,)

    A label is a place in `classes`. A class may have no folder or no images. Images may be in folders within a class's
    folder, and hidden files do not count.

    Raises:
        FileNotFoundError: There is no such folder, or no image in it.
        ValueError: It holds a folder whose name is not a class.
    """
    label_of = {name: label for label, name in enumerate(classes)}
    if others := [name for name in class_names(folder) if name not in label_of]:
        raise ValueError(
            f"The folders in {folder} must be named as the {len(classes)} classes, {classes[0]} to {classes[-1]}, "
            f"got {others[0]}"
        )
    found = make_dataset(folder, label_of, is_valid_file=_is_image, allow_empty=True)
    if not found:
        raise FileNotFoundError(f"{folder} must hold images in its class folders, but all of them are empty")
    start = len(os.path.join(folder, ""))
    return ImageFiles(folder, [path[start:] for path, _ in found]), torch.tensor([label for _, label in found])


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    if not folder.is_dir():
        raise FileNotFoundError(f"The folder {folder} does not exist or is not a folder")
    with os.scandir(folder) as entries:
        return list(entries)


def _is_image(path: str) -> bool:
    return path.lower().endswith((*IMG_EXTENSIONS, ".gif")) and not os.path.basename(path).startswith(".")


def over_threads(function: Callable[[int], Result], count: int) -> list[Result]:
    """Results of a function for 0 to count - 1, with a thread for each processor; decoders release Python's lock."""
    with ThreadPoolExecutor(min(32, os.cpu_count() or 1)) as pool:
        return list(pool.map(function, range(count)))


def corrupt_images(files: ImageFiles) -> list[int]:
    """Indices of the files that cannot be decoded, found by decoding all of them; a warning counts them."""

    def is_corrupt(index: int) -> bool:
        try:
            files[index]
        except ValueError:
            return True
        return False

    found: list[int] = np.flatnonzero(over_threads(is_corrupt, len(files))).tolist()
    if found:
        first = files.path(found[0])
        rank_zero_warn(f"{len(found)} of {len(files)} images are corrupt and left out, first {first}")
    return found
