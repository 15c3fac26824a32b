"""What a recipe leaves to a data module is what the published code does."""

import pytest

from asim_lightning import data
from asim_lightning.exchange.published.picture_settings import TASKS


@pytest.mark.parametrize("task", TASKS)
def test_a_data_modules_normalisation_and_crop_are_the_published_ones(task: str) -> None:
    published, module = TASKS[task], getattr(data, TASKS[task].module)
    assert (module.mean, module.deviation, module.margin) == (published.mean, published.deviation, published.margin)
    assert published.classes in (None, module.num_classes)
