"""Pictures of a confusion matrix, for few classes and for many, and of wrongly classified images."""

import numpy as np
import pytest

from asim_lightning.report.classifier_figures import confusion_figure, mistakes_figure


@pytest.mark.parametrize(("classes", "normalize"), [(2, True), (20, False), (21, True), (251, False), (1000, True)])
def test_a_figure_for_any_number_of_classes(classes: int, normalize: bool) -> None:
    counts = np.diag(np.arange(classes))  # class 0 has no images
    counts[-1, 0] = 1
    figure = confusion_figure(counts, [f"class {n}" for n in range(classes)], normalize, "Title")
    plot = figure.axes[0]
    assert len(plot.texts) == (classes**2 if classes <= 20 else 0)
    assert classes > 20 or [text.get_text() for text in plot.get_yticklabels()][-1] == f"class {classes - 1}"
    assert plot.get_ylim() == (classes - 0.5, -0.5)
    drawn = np.asarray(plot.images[0].get_array())
    assert drawn.shape[0] <= 250
    assert drawn[-1, 0] > 0  # no cell is lost
    assert np.isfinite(drawn).all()


@pytest.mark.parametrize(("count", "channels"), [(1, 1), (10, 3)])
def test_a_figure_for_any_number_of_images(count: int, channels: int) -> None:
    images = [np.zeros((channels, 5, 7), np.float32)] * count
    figure = mistakes_figure(images, [("a name that is very much too long", "b", 0.99999)] * count, "Title")
    assert len(figure.axes) == count
    assert figure.axes[0].get_title() == "true a name that is ve…\nb >99.9 %"
