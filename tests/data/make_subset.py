"""Makes the subset of Fashion-MNIST that is part of the package: python -m tests.data.make_subset SOURCE DEST."""

import sys
from pathlib import Path

from torch import Tensor

from asim_lightning.data.fashion import NUM_CLASSES, PREFIX, read_split
from asim_lightning.data.splits import FileSplit, draw_balanced
from tests.data.published_layouts import write_idx

SEED = 2017
PER_CLASS: dict[FileSplit, int] = {"train": 1000, "test": 200}


def subset_indices(labels: Tensor, split: FileSplit) -> Tensor:
    """Indices of the images of the subset in the full split, int64, (images,)."""
    return draw_balanced(labels, PER_CLASS[split], NUM_CLASSES, SEED)


def make_subset(source: str, destination: str) -> None:
    """Draws the subset from the four IDX files of the full set, and writes its own."""
    folder = Path(destination)
    folder.mkdir(parents=True, exist_ok=True)
    for split in PER_CLASS:
        images, labels = read_split(source, split)
        chosen = subset_indices(labels, split)
        write_idx(folder / f"{PREFIX[split]}-images-idx3-ubyte.gz", images[chosen])
        write_idx(folder / f"{PREFIX[split]}-labels-idx1-ubyte.gz", labels[chosen].byte())


if __name__ == "__main__":
    make_subset(*sys.argv[1:])
