"""Lists image files that lie in one folder for each class; no file is opened or copied."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from asim_lightning.data.image_files import ImageFiles

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".pgm", ".ppm", ".tif", ".tiff", ".webp")
"""How the names of image files end, in lower or upper case."""


def class_names(folder: Path) -> list[str]:
    """The sorted names of the folders in a folder, without hidden ones; labels number the classes in this order.

    Raises:
        FileNotFoundError: There is no such folder, or it holds no folders.
    """
    names = sorted(entry.name for entry in _entries(folder) if entry.is_dir() and not entry.name.startswith("."))
    if not names:
        raise FileNotFoundError(
            f"{folder} must hold a folder of images for each class ({folder}/<class>/*.png), but holds no folder."
        )
    return names


def image_names_in(folder: Path) -> list[str]:
    """The sorted names of the image files directly in a folder.

    Raises:
        FileNotFoundError: There is no such folder.
    """
    return sorted(entry.name for entry in _entries(folder) if _is_image_name(entry.name))


def list_class_folders(folder: Path, classes: Sequence[str]) -> tuple[ImageFiles, Tensor]:
    """The image files of all classes: class by class, and sorted as torchvision's ImageFolder sorts them.

    A class may have no images, and images may lie in folders within a class's folder.

    Args:
        folder: Holds a folder for each class, or for some.
        classes: Names of the classes in the order of their labels.

    Returns:
        The files, and their labels, int64, (images,).

    Raises:
        FileNotFoundError: There is no such folder, or no image in it.
        ValueError: It holds a folder whose name is not a class.
    """
    label_of = {name: label for label, name in enumerate(classes)}
    names: list[str] = []
    labels: list[int] = []
    for name in class_names(folder):
        if name not in label_of:
            raise ValueError(
                f"The folders in {folder} must be named as the {len(classes)} classes, {classes[0]} to {classes[-1]}, "
                f"got {name}."
            )
        found = _image_names_below(folder, name)
        names += found
        labels += [label_of[name]] * len(found)
    if not names:
        raise FileNotFoundError(f"{folder} must hold images in its class folders, but all of them are empty.")
    return ImageFiles(folder, names), torch.tensor(labels)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    if not folder.is_dir():
        raise FileNotFoundError(f"The folder {folder} does not exist or is not a folder.")
    with os.scandir(folder) as entries:
        return list(entries)


def _image_names_below(folder: Path, name: str) -> list[str]:
    found: list[str] = []
    for where, _, files in sorted(os.walk(folder / name, followlinks=True)):
        below = os.path.relpath(where, folder)
        found += [os.path.join(below, file) for file in sorted(files) if _is_image_name(file)]
    return found


def _is_image_name(name: str) -> bool:
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")
