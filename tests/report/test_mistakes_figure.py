"""The picture of wrongly classified images."""

import numpy as np
import pytest

from asim_lightning.report.mistakes_figure import mistakes_figure


@pytest.mark.parametrize(("count", "channels"), [(1, 1), (5, 3), (36, 1)])
def test_a_figure_for_any_number_of_images(count: int, channels: int) -> None:
    images = [np.zeros((channels, 5, 7), np.float32)] * count
    figure = mistakes_figure(images, [("a name that is very much too long", "b", 0.99999)] * count, "Title")
    assert len(figure.axes) == count
    assert figure.axes[0].get_title() == "true a name that is ve…\nb >99.9 %"
