"""Makes the subset of Fashion-MNIST that is part of this package.

python -m asim_lightning.data.make_subset SOURCE DEST
"""

from __future__ import annotations

import sys
from pathlib import Path

from torch import Tensor

from asim_lightning.data.balanced import draw_balanced
from asim_lightning.data.fashion_files import NUM_CLASSES, PREFIX, read_split
from asim_lightning.data.idx import write_idx
from asim_lightning.data.splits import FileSplit

SEED = 2017
PER_CLASS: dict[FileSplit, int] = {"train": 1000, "test": 200}


def subset_indices(labels: Tensor, split: FileSplit) -> Tensor:
    """Indices of the images of the subset in the full split, int64, (images,).

    Args:
        labels: Labels of the full split, int64, (images,).
        split: Which split.
    """
    return draw_balanced(labels, PER_CLASS[split], NUM_CLASSES, SEED)


def make_subset(source: str, destination: str) -> None:
    """Draws the subset and writes its four gzipped IDX files.

    Args:
        source: A folder with the four IDX files of the full set.
        destination: The folder to write to; made where it does not exist.

    Raises:
        FileNotFoundError: The source or one of its files is missing.
        ValueError: A source file is corrupt or has too few images of a class.
    """
    folder = Path(destination)
    folder.mkdir(parents=True, exist_ok=True)
    for split in PER_CLASS:
        images, labels = read_split(source, split)
        chosen = subset_indices(labels, split)
        write_idx(folder / f"{PREFIX[split]}-images-idx3-ubyte.gz", images[chosen])
        write_idx(folder / f"{PREFIX[split]}-labels-idx1-ubyte.gz", labels[chosen].byte())


def main(arguments: list[str]) -> int:
    """The command line; returns the exit status."""
    if len(arguments) != 2:
        print(f"Two folders are needed, SOURCE and DEST, got {len(arguments)} arguments.", file=sys.stderr)
        return 2
    try:
        make_subset(*arguments)
    except (FileNotFoundError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
