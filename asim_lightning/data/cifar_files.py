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
from asim_lightning.data.image_files import ImageFiles, over_threads, warn_of_corrupt
from asim_lightning.data.splits import FileSplit, ImageSplit
from asim_lightning.data.unpickling import read_plain_pickle

IMAGE_SIZE = 32


@dataclass(frozen=True)
class Cifar:
    """How CIFAR-10 or CIFAR-100 is published."""

    title: str
    """What messages call it."""
    num_classes: int
    """Labels are 0 to num_classes - 1."""
    folder: str
    """Name of the folder of pickles, as distributed."""
    train_files: tuple[str, ...]
    """Pickles of the training images."""
    test_files: tuple[str, ...]
    """Pickles of the test images."""
    label_key: str
    """What the pickles call the labels."""

    def files(self, split: FileSplit) -> tuple[str, ...]:
        """Names of the pickles of a split."""
        return self.train_files if split == "train" else self.test_files


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


def read_cifar(root: str, split: FileSplit, cifar: Cifar, skip_corrupt: bool) -> ImageSplit[Tensor]:
    """Reads the training or the test images from the first layout found: pickles, class folders, images with a CSV.

    Args:
        root: The folder that holds the layout, or the one with the pickles itself.
        split: Which images.
        cifar: CIFAR-10 or CIFAR-100.
        skip_corrupt: Leave corrupt images out, with a warning, in place of an error.

    Returns:
        The split, with images as uint8, (images, 3, 32, 32). Evaluation reads pickles and CSV in the order of the file,
        as their classes are mixed, and class folders in an order that is spread over the classes.

    Raises:
        FileNotFoundError: The folder or one of its files is missing.
        ValueError: A file is corrupt, or does not fit the set.
    """
    folder = Path(root).expanduser()
    layout = find_layout(root, cifar)
    if layout == "pickles":
        below = folder / cifar.folder
        return _read_pickles(below if below.is_dir() else folder, split, cifar)
    if layout == "class folders":
        return _read_class_folders(folder, split, cifar, skip_corrupt)
    if layout == "table":
        return _read_table(folder, split, cifar, skip_corrupt)
    lacking = "holds none of its layouts" if folder.is_dir() else "does not exist or is not a folder"
    raise FileNotFoundError(
        f"The {cifar.title} folder {folder} {lacking}; expected {cifar_tree(folder, cifar)}; `download: true` fetches "
        "the first."
    )


def cifar_tree(folder: str | Path, cifar: Cifar) -> str:
    """The layouts that `read_cifar` reads, as paths below a folder."""
    return (
        f"{folder}/{_pickle_tree(cifar)}, or {folder}/{{train,test}}/<class>/*.png, or {folder}/{{train,test}}.csv "
        "with {train,test}_images/*.jpg"
    )


def find_layout(root: str, cifar: Cifar) -> Literal["pickles", "class folders", "table"] | None:
    """The first layout of which a folder holds a part; None where it holds none."""
    folder = Path(root).expanduser()
    pickles = cifar.train_files + cifar.test_files
    if (folder / cifar.folder).is_dir() or any((folder / name).is_file() for name in pickles):
        return "pickles"
    if any((folder / name).is_dir() for name in ("train", "test")):
        return "class folders"
    if any((folder / f"{name}{rest}").exists() for name in ("train", "test") for rest in ("_images", ".csv")):
        return "table"
    return None


def _read_pickles(folder: Path, split: FileSplit, cifar: Cifar) -> ImageSplit[Tensor]:
    missing = [name for name in cifar.files(split) if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"The {cifar.title} folder {folder} lacks {', '.join(missing)}; expected {_pickle_tree(cifar)}."
        )
    parts = [_read_batch(folder / name, cifar) for name in cifar.files(split)]
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


def _read_class_folders(root: Path, split: FileSplit, cifar: Cifar, skip_corrupt: bool) -> ImageSplit[Tensor]:
    folder = root / split
    if not folder.is_dir():
        raise FileNotFoundError(
            f"The {cifar.title} folder {root} lacks {split}; expected {root}/{{train,test}}/<class>/*.png."
        )
    classes = class_names(folder)
    if len(classes) != cifar.num_classes:
        raise ValueError(f"{folder} must hold {cifar.num_classes} class folders, got {len(classes)}.")
    files, labels = list_class_folders(folder, classes)
    return _decoded(files, labels, spread(labels, seed=0, shuffle=False), skip_corrupt)


def _read_table(root: Path, split: FileSplit, cifar: Cifar, skip_corrupt: bool) -> ImageSplit[Tensor]:
    table, folder = root / f"{split}.csv", root / f"{split}_images"
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
        raise ValueError(f"{table} must have a line for each image, but has none.")
    labels = _checked([int(label) if str(label).isdecimal() else label for _, label in rows], table, cifar)
    return _decoded(ImageFiles(folder, [name for name, _ in rows]), labels, torch.arange(len(rows)), skip_corrupt)


def _decoded(files: ImageFiles, labels: Tensor, order: Tensor, skip_corrupt: bool) -> ImageSplit[Tensor]:
    def pixels(index: int) -> Tensor | None:
        try:
            image = files[index]
        except ValueError:
            if skip_corrupt:
                return None
            raise
        if image.size != (IMAGE_SIZE, IMAGE_SIZE):
            raise ValueError(f"{files.path(index)} must be an image of 32 x 32, got {image.width} x {image.height}.")
        return torch.from_numpy(numpy.array(image)).permute(2, 0, 1)

    found = over_threads(pixels, len(files))
    corrupt = [index for index, image in enumerate(found) if image is None]
    warn_of_corrupt(files, corrupt)
    black = torch.zeros(3, IMAGE_SIZE, IMAGE_SIZE, dtype=torch.uint8)
    images = torch.stack([black if image is None else image for image in found])  # (images, 3, 32, 32)
    return ImageSplit(images, labels, order).without(corrupt)
