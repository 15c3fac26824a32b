"""Labels of ImageNet's validation pictures from their XML annotations, read where they lie."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

# The first object's class. A search of the file's beginning is many times faster than parsing 50,000 trees, and the
# objects that a validation picture is annotated with are all of its class.
WNID = re.compile(rb"<object>\s*<name>\s*(n\d{8})\s*</name>")
BEGINNING = 2048


def find_annotations(base: Path, given: str | None, pictures: Path) -> Path:
    """The folder with the annotations.

    Args:
        base: Folder that holds the pictures' folders.
        given: Where the user says that they are, or null.
        pictures: The folder of the pictures, for the message.

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
        f"{pictures} holds pictures without class folders, so their labels must be in {candidates[0]}/*.xml (or in the "
        "folder that `annotations` names), which does not exist."
    )


def labels_of(pictures: Sequence[str], annotations: Path, classes: Sequence[str]) -> Tensor:
    """The label of each picture.

    Args:
        pictures: File names, e.g. ILSVRC2012_val_00000001.JPEG.
        annotations: Folder with ILSVRC2012_val_00000001.xml and so on.
        classes: The wnids in the order of their labels.

    Returns:
        int64, (pictures,)

    Raises:
        FileNotFoundError: A picture has no annotation.
        ValueError: An annotation names no class, or one of which there is no training folder.
    """
    label_of = {name: label for label, name in enumerate(classes)}
    labels = []
    for picture in pictures:
        file = annotations / f"{picture.rpartition('.')[0]}.xml"
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
        raise FileNotFoundError(f"The annotation {file} of a validation picture does not exist.") from None
    if found is None:
        raise ValueError(f"{file} must hold an <object> whose <name> is a wnid, but has none in its first 2 kB.")
    return found[1].decode()
