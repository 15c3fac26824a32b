"""The figure of wrongly classified images."""

from collections.abc import Sequence
from math import ceil, sqrt

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

_DOTS = 100
_CELL = (1.75, 2.05)
"""Width and height of an image with its two lines of text, inches."""
_LONGEST = 18
"""Characters of a class's name that fit above an image."""


def mistakes_figure(
    images: Sequence[NDArray[np.float32]], captions: Sequence[tuple[str, str, float]], title: str
) -> Figure:
    """A grid of images, each below its true and its predicted class.

    Args:
        images: Values 0..1, one or three channels. # (channels, height, width) each
        captions: True class, predicted class, and the confidence in it, 0..1, of each image.
        title: Headline.
    """
    columns = max(3, ceil(sqrt(len(images))))
    rows = ceil(len(images) / columns)
    figure = Figure(
        figsize=(_CELL[0] * columns + 0.2, _CELL[1] * rows + 0.8), dpi=_DOTS, layout="constrained", facecolor="white"
    )
    FigureCanvasAgg(figure)
    figure.suptitle(f"{title}\n(above each: the true class; the predicted one with its confidence)", fontsize=11)
    for place, (image, (true, predicted, confidence)) in enumerate(zip(images, captions, strict=True)):
        plot = figure.add_subplot(rows, columns, place + 1)
        pixels = image[0] if image.shape[0] == 1 else np.moveaxis(image[:3], 0, -1)  # (height, width[, 3])
        plot.imshow(pixels, cmap="gray", vmin=0.0, vmax=1.0, interpolation="nearest")
        text = f"true {_short(true)}\n{_short(predicted)} {_percent(confidence)}"
        plot.set_title(text, fontsize=9, color="black", pad=3)
        plot.set_axis_off()
    return figure


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else name[: _LONGEST - 1] + "…"


def _percent(share: float) -> str:
    # 99.96 % is not certain
    return ">99.9 %" if 0.9995 <= share < 1.0 else f"{100 * share:.3g} %"
