"""Finds and reads the four IDX files of Fashion-MNIST, in a folder or in this package."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from torch import Tensor

from asim_lightning.data.idx import ReadableFile, read_idx
from asim_lightning.data.splits import FileSplit

IMAGE_SIZE = 28
NUM_CLASSES = 10

PREFIX: dict[FileSplit, str] = {"train": "train", "test": "t10k"}
"""How the published names of the files begin."""


def read_split(root: str | None, split: FileSplit) -> tuple[Tensor, Tensor]:
    """Reads the training or the test images.

    Args:
        root: A folder with the four IDX files, gzipped or not, directly or in ``FashionMNIST/raw`` below it (where
            torchvision puts them); None reads the subset that is part of this package.
        split: Which images.

    Returns:
        Images, uint8, (images, 28, 28), and labels, int64, (images,), in the order of the files.

    Raises:
        FileNotFoundError: The folder or one of its files is missing.
        ValueError: A file is corrupt, or images and labels do not belong together.
    """
    image_file = _find(root, f"{PREFIX[split]}-images-idx3-ubyte")
    label_file = _find(root, f"{PREFIX[split]}-labels-idx1-ubyte")
    images, labels = read_idx(image_file), read_idx(label_file)
    if images.ndim != 3 or images.shape[1:] != (IMAGE_SIZE, IMAGE_SIZE):
        raise ValueError(f"{image_file} must hold images of 28 x 28, got values of shape {tuple(images.shape)}.")
    if labels.shape != images.shape[:1]:
        raise ValueError(
            f"{label_file} must hold one label for each of {len(images)} images, got values of shape "
            f"{tuple(labels.shape)}."
        )
    if int(labels.max()) >= NUM_CLASSES:
        raise ValueError(f"{label_file} must hold labels from 0 to {NUM_CLASSES - 1}, got {int(labels.max())}.")
    return images, labels.long()


def _find(root: str | None, name: str) -> ReadableFile:
    if root is None:
        return files("asim_lightning.data").joinpath("fashion_mnist").joinpath(f"{name}.gz")
    folder = Path(root).expanduser()
    # The uncompressed file first: torchvision leaves both, and this one reads faster.
    for candidate in (
        folder / name,
        folder / f"{name}.gz",
        folder / "FashionMNIST" / "raw" / name,
        folder / "FashionMNIST" / "raw" / f"{name}.gz",
    ):
        if candidate.is_file():
            return candidate
    lacking = f"lacks {name}[.gz]" if folder.is_dir() else "does not exist or is not a folder"
    raise FileNotFoundError(
        f"The Fashion-MNIST folder {folder} {lacking}; expected "
        f"{folder}/[FashionMNIST/raw/]{{train,t10k}}-{{images-idx3,labels-idx1}}-ubyte[.gz]."
    )
