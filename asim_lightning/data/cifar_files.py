"""Finds and reads CIFAR-10 and CIFAR-100 in each layout that they are published in."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy
import torch
from torch import Tensor

from asim_lightning.data.balanced import spread
from asim_lightning.data.class_folders import class_names, list_class_folders
from asim_lightning.data.pictures import PictureFiles, over_threads, warn_of_corrupt
from asim_lightning.data.splits import ImageSplit
from asim_lightning.data.unpickling import read_plain_pickle

IMAGE_SIZE = 32

HalfName = Literal["train", "test"]


@dataclass(frozen=True)
class Cifar:
    """How one of the two sets is published."""

    title: str
    """What messages call it."""
    num_classes: int
    """Labels are 0 to num_classes - 1."""
    folder: str
    """Of the pickles, as they are distributed."""
    train_files: tuple[str, ...]
    """Pickles of the training images."""
    test_files: tuple[str, ...]
    """Pickles of the test images."""
    label_key: str
    """What the pickles call the labels."""

    def files(self, half: HalfName) -> tuple[str, ...]:
        """Names of the pickles of one half."""
        return self.train_files if half == "train" else self.test_files


CIFAR10 = Cifar(
    title="CIFAR-10",
    num_classes=10,
    folder="cifar-10-batches-py",
    train_files=tuple(f"data_batch_{number}" for number in range(1, 6)),
    test_files=("test_batch",),
    label_key="labels",
)
CIFAR100 = Cifar(
    title="CIFAR-100",
    num_classes=100,
    folder="cifar-100-python",
    train_files=("train",),
    test_files=("test",),
    label_key="fine_labels",
)


def read_cifar(root: str, half: HalfName, cifar: Cifar, skip_corrupt: bool) -> ImageSplit[Tensor]:
    """Reads the training or the test images from the first layout found: pickles, class folders, pictures with a CSV.

    Args:
        root: The folder that holds the layout, or the one with the pickles itself.
        half: Which images.
        cifar: Which of the two sets.
        skip_corrupt: Leave corrupt pictures out, with a warning, in place of an error.

    Returns:
        Images, uint8, (images, 3, 32, 32). Evaluation's order is that of the file for pickles and CSV, whose classes
        are mixed, and spread over the classes for class folders.

    Raises:
        FileNotFoundError: The folder or one of its files is missing.
        ValueError: A file is corrupt, or does not fit the set.
    """
    folder = Path(root).expanduser()
    layout = find_layout(root, cifar)
    if layout == "pickles":
        below = folder / cifar.folder
        return _read_pickles(below if below.is_dir() else folder, half, cifar)
    if layout == "class folders":
        return _read_class_folders(folder, half, cifar, skip_corrupt)
    if layout == "table":
        return _read_table(folder, half, cifar, skip_corrupt)
    lacking = "holds none of its layouts" if folder.is_dir() else "does not exist or is not a folder"
    raise FileNotFoundError(
        f"The {cifar.title} folder {folder} {lacking}; expected {cifar_tree(folder, cifar)}; `download: true` fetches "
        "the first."
    )


def cifar_tree(folder: str | Path, cifar: Cifar) -> str:
    """The layouts that `read_cifar` knows, as files below a folder."""
    return (
        f"{folder}/{_pickle_tree(cifar)}, or {folder}/{{train,test}}/<class>/*.png, or {folder}/{{train,test}}.csv "
        "with {train,test}_images/*.jpg"
    )


def find_layout(root: str, cifar: Cifar) -> Literal["pickles", "class folders", "table"] | None:
    """The layout that a folder has any part of; None where it has none."""
    folder = Path(root).expanduser()
    pickles = cifar.train_files + cifar.test_files
    if (folder / cifar.folder).is_dir() or any((folder / name).is_file() for name in pickles):
        return "pickles"
    if any((folder / name).is_dir() for name in ("train", "test")):
        return "class folders"
    if any((folder / f"{name}{rest}").exists() for name in ("train", "test") for rest in ("_images", ".csv")):
        return "table"
    return None


def _read_pickles(folder: Path, half: HalfName, cifar: Cifar) -> ImageSplit[Tensor]:
    missing = [name for name in cifar.files(half) if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"The {cifar.title} folder {folder} lacks {', '.join(missing)}; expected {_pickle_tree(cifar)}."
        )
    parts = [_read_batch(folder / name, cifar) for name in cifar.files(half)]
    images, labels = (torch.cat(values) for values in zip(*parts, strict=True))
    return ImageSplit(images, labels, torch.arange(len(images)))


def _pickle_tree(cifar: Cifar) -> str:
    return f"{cifar.folder}/{{{','.join(cifar.train_files + cifar.test_files)}}}"


def _read_batch(file: Path, cifar: Cifar) -> tuple[Tensor, Tensor]:
    content = read_plain_pickle(file)
    keys = content if isinstance(content, dict) else {}
    images, labels = keys.get("data"), keys.get(cifar.label_key)
    if not isinstance(images, numpy.ndarray) or images.ndim != 2 or images.shape[1] != 3 * IMAGE_SIZE**2:
        raise ValueError(f"{file} must hold an array `data` of 3072 bytes an image, as {cifar.title} is published.")
    if not isinstance(labels, list) or len(labels) != len(images) or len(images) == 0:
        raise ValueError(f"{file} must hold a list `{cifar.label_key}` of a label for each of {len(images)} images.")
    shaped = torch.from_numpy(images).reshape(-1, 3, IMAGE_SIZE, IMAGE_SIZE)
    return shaped, _checked(labels, file, cifar)


def _checked(labels: Sequence[Any], file: Path, cifar: Cifar) -> Tensor:
    wrong = [label for label in labels if type(label) is not int or not 0 <= label < cifar.num_classes]
    if wrong:
        raise ValueError(f"{file} must hold labels from 0 to {cifar.num_classes - 1}, got {_shown(wrong[0])}.")
    return torch.tensor(labels, dtype=torch.int64)


def _shown(label: Any) -> str:
    # a list may name another many times, and that one another
    return repr(label) if isinstance(label, (int, float, str)) else f"a {type(label).__name__}"


def _read_class_folders(root: Path, half: HalfName, cifar: Cifar, skip_corrupt: bool) -> ImageSplit[Tensor]:
    folder = root / half
    if not folder.is_dir():
        raise FileNotFoundError(
            f"The {cifar.title} folder {root} lacks {half}; expected {root}/{{train,test}}/<class>/*.png."
        )
    classes = class_names(folder)
    if len(classes) != cifar.num_classes:
        raise ValueError(f"{folder} must hold {cifar.num_classes} class folders, got {len(classes)}.")
    pictures, labels = list_class_folders(folder, classes)
    return _decoded(pictures, labels, spread(labels, seed=0, shuffle=False), skip_corrupt)


def _read_table(root: Path, half: HalfName, cifar: Cifar, skip_corrupt: bool) -> ImageSplit[Tensor]:
    table, folder = root / f"{half}.csv", root / f"{half}_images"
    for path, there in ((table, table.is_file()), (folder, folder.is_dir())):
        if not there:
            raise FileNotFoundError(
                f"The {cifar.title} folder {root} lacks {path.name}; expected {root}/{{train,test}}.csv with "
                "{train,test}_images/*.jpg."
            )
    with table.open(newline="", encoding="utf-8") as lines:
        reader = csv.DictReader(lines)
        if not {"image_id", "fine_labels"} <= set(reader.fieldnames or ()):
            raise ValueError(f"{table} must have the columns image_id and fine_labels, got {reader.fieldnames}.")
        rows = [(row["image_id"], row["fine_labels"]) for row in reader]
    if not rows:
        raise ValueError(f"{table} must have a line for each picture, but has none.")
    labels = _checked([int(label) if str(label).isdecimal() else label for _, label in rows], table, cifar)
    return _decoded(PictureFiles(folder, [name for name, _ in rows]), labels, torch.arange(len(rows)), skip_corrupt)


def _decoded(pictures: PictureFiles, labels: Tensor, order: Tensor, skip_corrupt: bool) -> ImageSplit[Tensor]:
    def pixels(index: int) -> Tensor | None:
        try:
            picture = pictures[index]
        except ValueError:
            if skip_corrupt:
                return None
            raise
        if picture.size != (IMAGE_SIZE, IMAGE_SIZE):
            raise ValueError(
                f"{pictures.path(index)} must be a picture of 32 x 32, got {picture.width} x {picture.height}."
            )
        return torch.from_numpy(numpy.array(picture)).permute(2, 0, 1)

    found = over_threads(pixels, len(pictures))
    corrupt = [index for index, image in enumerate(found) if image is None]
    warn_of_corrupt(pictures, corrupt)
    black = torch.zeros(3, IMAGE_SIZE, IMAGE_SIZE, dtype=torch.uint8)
    images = torch.stack([black if image is None else image for image in found])  # (images, 3, 32, 32)
    return ImageSplit(images, labels, order).without(corrupt)
