"""ImageNet (ILSVRC 2012) as a Lightning data module, with labels from class folders or XML annotations."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from asim_lightning.data.image_files import ImageFiles, image_names_in
from asim_lightning.data.image_folder import ImageFolder
from asim_lightning.data.splits import ImageSplit, SplitName

# The class of the first object. Searching the file's beginning is many times faster than parsing 50,000 trees, and all
# annotated objects of a validation image have the image's class.
WNID = re.compile(rb"<object>\s*<name>\s*(n\d{8})\s*</name>")
BEGINNING = 2048


class ImageNet(ImageFolder):
    """ImageNet, in train/<wnid>/*.JPEG with valid or val next to it; batches are ``[images, labels, indices]``.

    The validation images are in a folder for each wnid, or, as distributed, all in one folder; then their labels are
    read from the XML annotations. Both validation and tests use them. train and val may also be in Data/CLS-LOC below
    root. Labels number the folders of train in sorted order, so the usual labels need all 1000 folders, even if they
    are empty. Indices number the images in the sorted listing of their split.

    Args:
        root: Folder of the data set.
        annotations: Folder with the annotation of each validation image, ILSVRC2012_val_*.xml; null looks for
            Annotations/CLS-LOC/val in root, and next to Data if root is Data/CLS-LOC.
        options: Options of `ColourDataModule`.

    Examples:
        >>> from asim_lightning.data import ImageNet
        >>> # asim validate ... --data ImageNet --data.root my/imagenet
        >>> ImageNet("my/imagenet", batch_size=256, num_workers=8).size
        224
    """

    _evaluation_folders = ("valid", "val")

    def __init__(self, root: str, annotations: str | None = None, **options: Any) -> None:
        super().__init__(root, **options)
        self.annotations = annotations

    def _base(self) -> Path:
        root = Path(self.root).expanduser()
        below = root / "Data" / "CLS-LOC"
        return below if below.is_dir() and not (root / "train").is_dir() else root

    def validation_split(self) -> SplitName:
        """See `ImageDataModule.validation_split`."""
        return "test"

    def _folder(self, split: SplitName) -> Path:
        return super()._folder("train" if split == "train" else "val")

    def read(self, split: SplitName) -> ImageSplit[ImageFiles]:
        """See `ImageDataModule.read`."""
        folder = self._folder(split)
        names = [] if split == "train" else image_names_in(folder)
        if not names:
            return super().read(split)
        where = find_annotations(self._base(), self.annotations, folder)
        return self._in_use(ImageFiles(folder, names), labels_of(names, where, self.class_names))


def find_annotations(base: Path, given: str | None, images: Path) -> Path:
    """The folder with the annotations: the given one, or one in or next to the folder that has the image folders.

    Raises:
        FileNotFoundError: There is none.
    """
    usual = Path("Annotations", "CLS-LOC", "val")
    above = [base.parent.parent / usual, base / usual] if base.parts[-2:] == ("Data", "CLS-LOC") else [base / usual]
    candidates = above if given is None else [Path(given).expanduser()]
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
    raise FileNotFoundError(
        f"{images} holds images without class folders, so their labels must be in {candidates[0]}/*.xml (or in the "
        "folder that `annotations` names), which does not exist"
    )


def labels_of(names: Sequence[str], annotations: Path, classes: Sequence[str]) -> Tensor:
    """The label of each image, int64, (images,); ILSVRC2012_val_00000001.JPEG has ILSVRC2012_val_00000001.xml.

    Raises:
        FileNotFoundError: An image has no annotation.
        ValueError: An annotation names no class, or a class without a training folder.
    """
    label_of = {wnid: label for label, wnid in enumerate(classes)}
    labels = []
    for name in names:
        file = annotations / f"{name.rpartition('.')[0]}.xml"
        wnid = _wnid(file)
        if wnid not in label_of:
            raise ValueError(f"{file} must name one of the {len(classes)} classes with a folder in train, got {wnid}")
        labels.append(label_of[wnid])
    return torch.tensor(labels)


def _wnid(file: Path) -> str:
    try:
        with open(file, "rb", buffering=0) as content:
            found = WNID.search(content.read(BEGINNING))
    except FileNotFoundError:
        raise FileNotFoundError(f"The annotation {file} of a validation image does not exist") from None
    if found is None:
        raise ValueError(f"{file} must hold an <object> whose <name> is a wnid, but has none in its first 2 kB")
    return found[1].decode()
