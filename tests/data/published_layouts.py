"""Writes pictures in the layouts that CIFAR, ImageNet and Fashion-MNIST are published in."""

import csv
import gzip
import pickle
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy
import torch
from PIL import Image

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
Labelled = Sequence[tuple[Image.Image, int]]
QUALITY: dict[str, Any] = {"quality": 100, "subsampling": 0}  # of JPEG


class Python2Pickler(pickle._Pickler):
    """Writes text and bytes alike as strings of Python 2, as the published files hold them."""

    dispatch: ClassVar[dict[type, Any]] = dict(pickle._Pickler.dispatch)

    def save_string(self, value: str | bytes) -> None:
        content = value.encode("latin1") if isinstance(value, str) else value
        if len(content) < 256:
            self.write(pickle.SHORT_BINSTRING + struct.pack("<B", len(content)) + content)
        else:
            self.write(pickle.BINSTRING + struct.pack("<i", len(content)) + content)
        self.memoize(value)

    dispatch[str] = dispatch[bytes] = save_string


def dump_as_python2(value: Any, file: Path) -> None:
    with file.open("wb") as stream:
        Python2Pickler(stream, protocol=2).dump(value)


def write_cifar10_pickles(folder: Path, train: Labelled, test: Labelled) -> None:
    """cifar-10-batches-py, the training images in five equal parts."""
    part = len(train) // 5
    batches = {f"data_batch_{number + 1}": train[number * part : (number + 1) * part] for number in range(5)}
    _write_pickles(folder / "cifar-10-batches-py", "labels", **batches, test_batch=test)


def write_cifar100_pickles(folder: Path, train: Labelled, test: Labelled) -> None:
    _write_pickles(folder / "cifar-100-python", "fine_labels", train=train, test=test)


def _write_pickles(below: Path, key: str, **batches: Labelled) -> None:
    below.mkdir(parents=True)
    for name, samples in batches.items():
        pixels = numpy.stack([numpy.asarray(picture).transpose(2, 0, 1).reshape(-1) for picture, _ in samples])
        content = {"batch_label": name, key: [label for _, label in samples], "data": pixels}
        dump_as_python2(content, below / name)


def write_class_folders(folder: Path, samples: Labelled, classes: Sequence[str], suffix: str = ".png") -> None:
    """One folder for each class, empty or not; file names tell where a picture stands among the samples."""
    for name in classes:
        (folder / name).mkdir(parents=True)
    for number, (picture, label) in enumerate(samples):
        picture.save(folder / classes[label] / f"{number:08d}{suffix}", **QUALITY)


def write_table(folder: Path, half: str, samples: Labelled) -> None:
    """{half}.csv beside {half}_images/*.jpg."""
    (folder / f"{half}_images").mkdir(parents=True)
    with (folder / f"{half}.csv").open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["image_id", "fine_labels"])
        for number, (picture, label) in enumerate(samples):
            picture.save(folder / f"{half}_images" / f"{half}_{number}.jpg", **QUALITY)
            table.writerow([f"{half}_{number}.jpg", label])


def write_flat_validation(pictures: Path, annotations: Path, samples: Labelled, wnids: Sequence[str]) -> None:
    """All pictures in one folder, an XML annotation for each in another."""
    pictures.mkdir(parents=True)
    annotations.mkdir(parents=True)
    for number, (picture, label) in enumerate(samples, start=1):
        name = f"ILSVRC2012_val_{number:08d}"
        picture.save(pictures / f"{name}.JPEG", **QUALITY)
        content = f"<object>\n\t\t<name>{wnids[label]}</name>\n\t\t<pose>Unspecified</pose>\n\t</object>"
        (annotations / f"{name}.xml").write_text(f"<annotation>\n\t<folder>val</folder>\n\t{content}\n</annotation>\n")


def write_idx(path: Path, values: torch.Tensor) -> None:
    """A uint8 tensor as a gzipped IDX file: the same bytes whenever it is written, if zlib is the same."""
    header = struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
    with path.open("wb") as raw, gzip.GzipFile("", "wb", compresslevel=9, fileobj=raw, mtime=0) as file:
        file.write(header + values.numpy().tobytes())


def plain(colours: Sequence[int], labels: Sequence[int], size: tuple[int, int] = (32, 32)) -> Labelled:
    """Pictures of one shade each."""
    return [(Image.new("RGB", size, (c, c, c)), label) for c, label in zip(colours, labels, strict=True)]


def noisy(count: int, classes: int) -> Labelled:
    """Pictures of random pixels; sample i is of class i % classes."""
    random = numpy.random.RandomState(0)
    pixels = random.randint(0, 256, (count, 32, 32, 3), dtype=numpy.uint8)
    return [(Image.fromarray(image), number % classes) for number, image in enumerate(pixels)]
