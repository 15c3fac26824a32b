"""CIFAR-10 and CIFAR-100 as Lightning data modules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from asim_lightning.data import cifar_files
from asim_lightning.data.cifar_files import cifar_tree, find_layout, read_cifar
from asim_lightning.data.colour import ColourDataModule
from asim_lightning.data.splits import ImageSplit, SplitName

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
    size = 32
    margin = 1.0
    _cifar: cifar_files.Cifar

    def __init__(self, root: str, download: bool = False, **options: Any) -> None:
        super().__init__(root, **options)
        self.download = download

    @classmethod
    def tree(cls, root: str) -> str:
        """The layouts that are expected below root."""
        return f"{cifar_tree(root, cls._cifar)}; `download: true` fetches the first"

    def prepare_data(self) -> None:
        """Downloads the pickles where asked to, once on each machine, by torchvision, which checks their checksums."""
        if self.download and find_layout(self.root, self._cifar) in (None, "pickles"):
            import torchvision.datasets

            kind = getattr(torchvision.datasets, self._cifar.title.replace("-", ""))
            kind(str(Path(self.root).expanduser()), download=True)

    def _read(self, split: SplitName) -> ImageSplit[Tensor]:
        return read_cifar(self.root, "train" if split == "train" else "test", self._cifar, self.skip_corrupt)


class CIFAR10(_CifarDataModule):
    """CIFAR-10: colour images of 32 x 32, ten classes; batches are ``[images, labels, indices]``.

    Read from the layout found below root: the pickles as distributed (cifar-10-batches-py, or root is that folder),
    which are read without running any code that they name; or {train,test}/<class>/*.png, whose labels number the
    folders in sorted order; or {train,test}.csv, columns image_id and fine_labels, with {train,test}_images. All images
    are held in memory. Indices number the images in the order of the files; in class folders, in the sorted listing.

    Args:
        root: Folder of the data set.
        download: Fetch the pickles to root where they are missing.
        options: As of :class:`~asim_lightning.data.colour.ColourDataModule`.
    """

    num_classes = 10
    class_names = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    mean = (0.4914, 0.4822, 0.4465)
    deviation = (0.2470, 0.2435, 0.2616)
    _cifar = cifar_files.CIFAR10


class CIFAR100(_CifarDataModule):
    """CIFAR-100: colour images of 32 x 32, one hundred (fine) classes; all else as :class:`CIFAR10`.

    Its pickles are in cifar-100-python.

    Args:
        root: Folder of the data set.
        download: Fetch the pickles to root where they are missing.
        options: As of :class:`~asim_lightning.data.colour.ColourDataModule`.
    """

    num_classes = 100
    class_names = CIFAR100_NAMES
    mean = (0.5071, 0.4867, 0.4408)
    deviation = (0.2675, 0.2565, 0.2761)
    _cifar = cifar_files.CIFAR100
