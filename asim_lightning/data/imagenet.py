"""ImageNet (ILSVRC 2012) as a Lightning data module."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from asim_lightning.data.class_folders import image_names_in
from asim_lightning.data.image_files import ImageFiles
from asim_lightning.data.image_folder import ImageFolder
from asim_lightning.data.imagenet_annotations import find_annotations, labels_of
from asim_lightning.data.splits import ImageSplit, SplitName


class ImageNet(ImageFolder):
    """ImageNet, in train/<wnid>/*.JPEG with valid or val beside it; batches are ``[images, labels, indices]``.

    The validation images lie in a folder for each wnid, or, as distributed, all in one folder; then their labels are
    read from the XML annotations. Validation and tests are on them. train and val may also lie in Data/CLS-LOC below
    root. Labels number the folders of train in sorted order, so that the usual labels need all 1000 of them, empty or
    not. Indices number the images in the sorted listing of their split.

    Args:
        root: Folder of the data set.
        annotations: Folder with the annotation of each validation image, ILSVRC2012_val_*.xml; null looks for
            Annotations/CLS-LOC/val in root, and beside Data where root is Data/CLS-LOC.
        options: As of :class:`~asim_lightning.data.colour.ColourDataModule`.
    """

    _evaluation_folders = ("valid", "val")

    def __init__(self, root: str, annotations: str | None = None, **options: Any) -> None:
        super().__init__(root, **options)
        self.annotations = annotations

    def _base(self) -> Path:
        root = Path(self.root).expanduser()
        below = root / "Data" / "CLS-LOC"
        return below if below.is_dir() and not (root / "train").is_dir() else root

    def _validation_split(self) -> SplitName:
        return "test"

    def _folder(self, split: SplitName) -> Path:
        return super()._folder("train" if split == "train" else "val")

    def _read(self, split: SplitName) -> ImageSplit[ImageFiles]:
        folder = self._folder(split)
        names = [] if split == "train" else image_names_in(folder)
        if not names:
            return super()._read(split)
        where = find_annotations(self._base(), self.annotations, folder)
        return self._in_use(ImageFiles(folder, names), labels_of(names, where, self.class_names))
