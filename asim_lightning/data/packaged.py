"""Labelled ImageNet images in another Python package, as a Lightning data module."""

import re
from typing import Any

import torch
from torch.utils.data import DataLoader

from asim_lightning.data.colour import ColourDataModule
from asim_lightning.data.datasets import Sample
from asim_lightning.data.image_files import ImageFiles, image_names_in
from asim_lightning.data.splits import ImageSplit, SplitName
from asim_lightning.resources import local_path

_NAME = re.compile(r"imagenet_\d+_(\d{1,3})\.(?:jpg|jpeg|png)", re.IGNORECASE)
_NO_TRAINING = "PackagedImageNet has images to evaluate and none to train on"


class PackagedImageNet(ColourDataModule):
    """The few ImageNet images in an installed package; batches are ``[images, labels, indices]``.

    Made for the twenty images in foolbox, which is found but never imported. They are enough to see that weights,
    transforms and labels fit together, and far too few for an accuracy. Files are imagenet_NUMBER_LABEL.jpg (or .png),
    with ImageNet's class, 0 to 999, as the label; other files do not count. Indices number the images in the order of
    their names. Validation, tests and prediction use all of them.

    There are no training images, and training is refused. Input ranges are calibrated on the images that are evaluated,
    which flatters the quantised and simulated accuracies: hardly a value is clipped.

    Args:
        root: ``package:NAME/PATH``, a folder of an installed package, or any other folder.
        options: Options of `ColourDataModule`; training ignores its options.

    Examples:
        >>> from asim_lightning.data import PackagedImageNet
        >>> PackagedImageNet(eval_batch_size=20).num_classes
        1000
    """

    num_classes = 1000

    def __init__(self, root: str = "package:foolbox/data", **options: Any) -> None:
        super().__init__(root, **options)
        if self.held_out:
            raise ValueError(f"`held_out` must be 0, because {_NO_TRAINING}, got {self.held_out}")

    def setup(self, stage: str | None = None) -> None:
        """List the images, once; refuse a fit first of all."""
        if stage == "fit":
            self.train_dataloader()
        super().setup(stage)

    def train_dataloader(self) -> DataLoader[Sample]:
        """Refuse a fit."""
        raise ValueError(f"{_NO_TRAINING}; a fit needs another data module, such as asim_lightning.data.ImageNet")

    def read(self, split: SplitName) -> ImageSplit[ImageFiles]:
        """See `ImageDataModule.read`."""
        folder = local_path(self.root)
        found = [(name, int(match[1])) for name in image_names_in(folder) if (match := _NAME.fullmatch(name))]
        if not found:
            raise FileNotFoundError(f"{folder} must hold images named imagenet_NUMBER_LABEL.jpg, but holds none")
        files = ImageFiles(folder, [name for name, _ in found])
        return ImageSplit(files, torch.tensor([label for _, label in found]), torch.arange(len(found)))
