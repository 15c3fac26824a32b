"""CIFAR-10 and CIFAR-100 as Lightning data modules, from each layout that they are published in."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torchvision.datasets
from torch import Tensor
from torchvision.datasets.utils import check_integrity, download_and_extract_archive

from asim_lightning.data.colour import ColourDataModule
from asim_lightning.data.image_files import ImageFiles, class_names, corrupt_images, list_class_folders, over_threads
from asim_lightning.data.splits import FileSplit, ImageSplit, SplitName, spread
from asim_lightning.safe_load import load_pickle

_FINE_CLASSES = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant
flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree
motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate
poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider
squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle
wardrobe whale willow_tree wolf woman worm
"""
CIFAR100_NAMES = tuple(_FINE_CLASSES.split())
"""The fine classes, in the order of their labels."""


class _CifarDataModule(ColourDataModule):
    """The layouts of CIFAR. A subclass sets:

    Attributes:
        published: The set as torchvision knows it: names of files, checksums and address.
        title: Name of the set in messages.
        label_key: Key of the labels in the pickles.
    """

    size = 32
    margin = 1.0
    published: type[torchvision.datasets.CIFAR10]
    title: str
    label_key: str

    def __init__(self, root: str, download: bool = False, **options: Any) -> None:
        super().__init__(root, **options)
        self.download = download

    @classmethod
    def tree(cls, root: str) -> str:
        """The layouts expected below root."""
        return (
            f"{root}/{cls._pickle_tree()}, or {root}/{{train,test}}/<class>/*.png, or {root}/{{train,test}}.csv with "
            "{train,test}_images/*.jpg; `download: true` fetches the first"
        )

    def prepare_data(self) -> None:
        """Download the pickles if `download` is set, once on each machine; torchvision checks the checksums."""
        if not self.download or self._layout() not in (None, "pickles"):
            return
        files = self.published.train_list + self.published.test_list
        if not all(check_integrity(str(self._pickle_folder() / name), checksum) for name, checksum in files):
            root = str(Path(self.root).expanduser())
            download_and_extract_archive(
                self.published.url, root, filename=self.published.filename, md5=self.published.tgz_md5
            )

    @classmethod
    def _pickle_tree(cls) -> str:
        return f"{cls.published.base_folder}/{{{','.join(cls._pickles('train') + cls._pickles('test'))}}}"

    @classmethod
    def _pickles(cls, split: FileSplit) -> list[str]:
        return [name for name, _ in (cls.published.train_list if split == "train" else cls.published.test_list)]

    def _pickle_folder(self) -> Path:
        root = Path(self.root).expanduser()
        below = root / self.published.base_folder
        return below if below.is_dir() else root

    def _layout(self) -> Literal["pickles", "class folders", "table"] | None:
        """The first layout with a file or folder in root; None if there is none."""
        root, halves = Path(self.root).expanduser(), ("train", "test")
        pickles = self._pickles("train") + self._pickles("test")
        if self._pickle_folder() != root or any((root / name).is_file() for name in pickles):
            return "pickles"
        if any((root / half).is_dir() for half in halves):
            return "class folders"
        if any((root / f"{half}{rest}").exists() for half in halves for rest in ("_images", ".csv")):
            return "table"
        return None

    def read(self, split: SplitName) -> ImageSplit[Tensor]:
        """See `ImageDataModule.read`."""
        root, layout = Path(self.root).expanduser(), self._layout()
        half: FileSplit = "train" if split == "train" else "test"
        if layout == "pickles":
            return self._read_pickles(self._pickle_folder(), half)
        if layout == "class folders":
            return self._read_class_folders(root / half)
        if layout == "table":
            return self._read_table(root / f"{half}.csv", root / f"{half}_images")
        lacking = "holds none of its layouts" if root.is_dir() else "does not exist or is not a folder"
        raise FileNotFoundError(f"The {self.title} folder {root} {lacking}; expected {self.tree(str(root))}")

    def _read_pickles(self, folder: Path, split: FileSplit) -> ImageSplit[Tensor]:
        missing = [name for name in self._pickles(split) if not (folder / name).is_file()]
        if missing:
            raise FileNotFoundError(
                f"The {self.title} folder {folder} lacks {', '.join(missing)}; expected {self._pickle_tree()}"
            )
        parts = [self._read_pickle(folder / name) for name in self._pickles(split)]
        images, labels = (torch.cat(values) for values in zip(*parts, strict=True))
        return ImageSplit(images, labels, torch.arange(len(images)))

    def _read_pickle(self, file: Path) -> tuple[Tensor, Tensor]:
        content = load_pickle(file)
        keys = content if isinstance(content, dict) else {}
        images, labels = keys.get("data"), keys.get(self.label_key)
        if not (isinstance(images, np.ndarray) and images.dtype == np.uint8 and images.shape[1:] == (3072,)):
            raise ValueError(f"{file} must hold an array `data` of 3072 bytes an image, as {self.title} is published")
        if not isinstance(labels, list) or len(labels) != len(images) or len(images) == 0:
            raise ValueError(f"{file} must hold a list `{self.label_key}` of a label for each of {len(images)} images")
        return torch.from_numpy(images).reshape(-1, 3, 32, 32), self._checked(labels, file)

    def _checked(self, labels: Sequence[Any], file: Path) -> Tensor:
        wrong = [label for label in labels if type(label) is not int or not 0 <= label < self.num_classes]
        if wrong:
            raise ValueError(f"{file} must hold labels from 0 to {self.num_classes - 1}, got {wrong[0]!r}")
        return torch.tensor(labels, dtype=torch.int64)

    def _read_class_folders(self, folder: Path) -> ImageSplit[Tensor]:
        classes = class_names(folder)
        if len(classes) != self.num_classes:
            raise ValueError(f"{folder} must hold {self.num_classes} class folders, got {len(classes)}")
        files, labels = list_class_folders(folder, classes)
        return self._decoded(files, labels, spread(labels, seed=0, shuffle=False))

    def _read_table(self, table: Path, folder: Path) -> ImageSplit[Tensor]:
        with table.open(newline="", encoding="utf-8") as lines:
            rows = [(row.get("image_id", ""), row.get("fine_labels", "")) for row in csv.DictReader(lines)]
        if not rows or "" in rows[0]:
            raise ValueError(f"{table} must have the columns image_id and fine_labels, and a line for each image")
        labels = self._checked([int(label) if str(label).isdecimal() else label for _, label in rows], table)
        return self._decoded(ImageFiles(folder, [name for name, _ in rows]), labels, torch.arange(len(rows)))

    def _decoded(self, files: ImageFiles, labels: Tensor, order: Tensor) -> ImageSplit[Tensor]:
        corrupt = corrupt_images(files) if self.skip_corrupt else []

        def pixels(index: int) -> Tensor:
            if index in corrupt:
                return torch.zeros(3, 32, 32, dtype=torch.uint8)
            image = files[index]
            if image.size != (32, 32):
                raise ValueError(f"{files.path(index)} must be an image of 32 x 32, got {image.width} x {image.height}")
            return torch.from_numpy(np.array(image)).permute(2, 0, 1)

        images = torch.stack(over_threads(pixels, len(files)))  # (images, 3, 32, 32)
        return ImageSplit(images, labels, order).without(corrupt)


class CIFAR10(_CifarDataModule):
    """CIFAR-10: colour images of 32 x 32, ten classes; batches are ``[images, labels, indices]``.

    Root has one of three layouts: the distributed pickles (cifar-10-batches-py, or root is that folder), which are read
    without running any code that they name; {train,test}/<class>/*.png, with labels in the sorted order of the folders;
    or {train,test}.csv, columns image_id and fine_labels, with {train,test}_images. All images are held in memory.
    Indices number the images in the order of the files, and in class folders in the sorted listing.

    Args:
        root: Folder of the data set.
        download: Fetch the pickles to root if they are missing.
        options: Options of `ColourDataModule`.

    Examples:
        >>> from asim_lightning.data import CIFAR10
        >>> CIFAR10("my/cifar", batch_size=64).num_classes  # asim validate ... --data CIFAR10 --data.root my/cifar
        10
    """

    num_classes = 10
    class_names = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    mean = (0.4914, 0.4822, 0.4465)
    deviation = (0.2470, 0.2435, 0.2616)
    published = torchvision.datasets.CIFAR10
    title = "CIFAR-10"
    label_key = "labels"


class CIFAR100(_CifarDataModule):
    """CIFAR-100: colour images of 32 x 32, one hundred (fine) classes; otherwise like `CIFAR10`.

    Its pickles are in cifar-100-python.

    Args:
        root: Folder of the data set.
        download: Fetch the pickles to root if they are missing.
        options: Options of `ColourDataModule`.

    Examples:
        >>> from asim_lightning.data import CIFAR100
        >>> CIFAR100("my/cifar", batch_size=64).num_classes  # asim validate ... --data CIFAR100 --data.root my/cifar
        100
    """

    num_classes = 100
    class_names = CIFAR100_NAMES
    mean = (0.5071, 0.4867, 0.4408)
    deviation = (0.2675, 0.2565, 0.2761)
    published = torchvision.datasets.CIFAR100
    title = "CIFAR-100"
    label_key = "fine_labels"
