"""Labels of ImageNet's validation images, read from their XML annotations."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

# The first object's class. A search of the file's beginning is many times faster than parsing 50,000 trees, and the
# objects that a validation image is annotated with are all of its class.
WNID = re.compile(rb"<object>\s*<name>\s*(n\d{8})\s*</name>")
BEGINNING = 2048


def find_annotations(base: Path, given: str | None, images: Path) -> Path:
    """The folder with the annotations.

    Args:
        base: Folder that holds the folders of images.
        given: The folder that the user names, or null.
        images: Folder of the validation images, for the message.

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
        "folder that `annotations` names), which does not exist."
    )


def labels_of(names: Sequence[str], annotations: Path, classes: Sequence[str]) -> Tensor:
    """The label of each image.

    Args:
        names: File names of the images, e.g. ILSVRC2012_val_00000001.JPEG.
        annotations: Folder with ILSVRC2012_val_00000001.xml and so on.
        classes: The wnids in the order of their labels.

    Returns:
        int64, (images,)

    Raises:
        FileNotFoundError: An image has no annotation.
        ValueError: An annotation names no class, or one without a training folder.
    """
    label_of = {wnid: label for label, wnid in enumerate(classes)}
    labels = []
    for name in names:
        file = annotations / f"{name.rpartition('.')[0]}.xml"
        wnid = _wnid(file)
        if wnid not in label_of:
            raise ValueError(
                f"{file} must name one of the {len(classes)} classes that train has folders of, got {wnid}."
            )
        labels.append(label_of[wnid])
    return torch.tensor(labels)


def _wnid(file: Path) -> str:
    try:
        with open(file, "rb", buffering=0) as content:
            found = WNID.search(content.read(BEGINNING))
    except FileNotFoundError:
        raise FileNotFoundError(f"The annotation {file} of a validation image does not exist.") from None
    if found is None:
        raise ValueError(f"{file} must hold an <object> whose <name> is a wnid, but has none in its first 2 kB.")
    return found[1].decode()
