"""Figures of a classifier's mistakes: its confusion matrix, and images that it gets wrong."""

from collections.abc import Sequence
from math import ceil, sqrt

import numpy as np
import torch
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch.nn.functional import max_pool2d

_DOTS_AN_INCH = 100
_NUMBERED = 20
"""Most classes for which cells show a number, and axes the names."""
_MOST_CELLS = 250
"""Most cells along an axis that the figure's pixels can show."""
_CELL = (1.75, 2.05)
"""Width and height of an image with its two lines of text, inches."""
_LONGEST_NAME = 18


def confusion_figure(counts: NDArray[np.int64], names: Sequence[str], normalize: bool, title: str) -> Figure:
    """How often each class (row) was predicted as each class (column), in images or in percent of the row.

    Counts are images by true and predicted class. # (classes, classes)
    """
    classes = len(counts)
    images = counts.sum(axis=1, keepdims=True)  # (classes, 1)
    # a class without images has an empty row
    cells = 100.0 * counts / np.maximum(images, 1) if normalize else counts.astype(float)  # (classes, classes)
    top = 100.0 if normalize else max(float(np.max(cells)), 1.0)
    numbered = classes <= _NUMBERED
    figure = Figure(figsize=(9.0, 7.8), dpi=_DOTS_AN_INCH, layout="constrained")
    plot = figure.add_subplot()
    # with many classes, cells next to the diagonal are pale; a root of the value makes them visible
    scale = Normalize(0.0, top) if numbered else PowerNorm(0.4, 0.0, top)
    # else random cells smaller than a pixel would be left out
    side, end = -(-classes // _MOST_CELLS), classes - 0.5
    blocks = max_pool2d(torch.from_numpy(cells)[None], side, ceil_mode=True)[0].numpy()
    image = plot.imshow(blocks, cmap="Blues", norm=scale, interpolation="nearest", extent=(-0.5, end, end, -0.5))
    plot.set_xlabel("predicted class", fontsize=12)
    plot.set_ylabel("true class", fontsize=12)
    note = f"\neach dot: the largest of {side} x {side} cells" if side > 1 else ""
    plot.set_title(f"{title}{note}", fontsize=13, pad=10)
    bar = figure.colorbar(image, ax=plot, fraction=0.045, pad=0.02)
    bar.set_label("% of the true class" if normalize else "images", fontsize=11)
    if not numbered:
        return figure
    size = 10 if classes <= 12 else 8
    plot.set_xticks(range(classes), names, rotation=40, ha="right", rotation_mode="anchor", fontsize=size)
    plot.set_yticks(range(classes), names, fontsize=size)
    for (row, column), value in np.ndenumerate(cells):
        colour = "white" if float(scale(value)) > 0.55 else "black"
        number = f"{value:.1f}" if normalize and value < 9.95 else f"{value:.0f}"
        text = number if value else ""  # mistakes stand out better
        plot.text(column, row, text, ha="center", va="center", fontsize=size, color=colour)
    return figure


def mistakes_figure(
    images: Sequence[NDArray[np.float32]], captions: Sequence[tuple[str, str, float]], title: str
) -> Figure:
    """A grid of images, each below its true and its predicted class.

    Args:
        images: Values 0..1, one or three channels. # (channels, height, width) each
        captions: True class, predicted class, and the confidence in it, 0..1, of each image.
    """
    columns = max(3, ceil(sqrt(len(images))))
    rows = ceil(len(images) / columns)
    size = _CELL[0] * columns + 0.2, _CELL[1] * rows + 0.8
    figure = Figure(figsize=size, dpi=_DOTS_AN_INCH, layout="constrained")
    figure.suptitle(f"{title}\n(above each: the true class; the predicted one with its confidence)", fontsize=11)
    for place, (image, (true, predicted, confidence)) in enumerate(zip(images, captions, strict=True)):
        plot = figure.add_subplot(rows, columns, place + 1)
        pixels = image[0] if image.shape[0] == 1 else np.moveaxis(image[:3], 0, -1)  # (height, width[, 3])
        plot.imshow(pixels, cmap="gray", vmin=0.0, vmax=1.0, interpolation="nearest")
        # 99.96 % is not certain
        percent = ">99.9 %" if 0.9995 <= confidence < 1.0 else f"{100 * confidence:.3g} %"
        text = f"true {_short(true)}\n{_short(predicted)} {percent}"
        plot.set_title(text, fontsize=9, color="black", pad=3)
        plot.set_axis_off()
    return figure


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"
