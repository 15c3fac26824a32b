"""Pictures: normalisation, crops and folders, and what a recipe leaves to a data module."""

import re

import pytest

from asim_lightning import data
from asim_lightning.exchange.published.pictures import TASKS
from tests.exchange.published.configs import VGG, VIT
from tests.exchange.published.conftest import Made, values


@pytest.mark.parametrize("task", TASKS)
def test_a_data_modules_normalisation_and_crop_are_the_published_ones(task: str) -> None:
    published, module = TASKS[task], getattr(data, TASKS[task].module)
    assert (module.mean, module.deviation, module.margin) == (published.mean, published.deviation, published.margin)


def test_pictures(made: Made) -> None:
    other = "T.Compose([T.Resize((size, size)), T.ToTensor(), T.Normalize(mean=(.5, .5, .5), std=(.25, .25, 1))])"
    everywhere = dict.fromkeys(("transforms_train", "transforms_valid", "transforms_test"), other)
    recipe = made(**everywhere)
    data = values(recipe)["data"]["init_args"]
    assert data["normalize"] == {"mean": [0.5] * 3, "std": [0.25, 0.25, 1]}
    assert data["augment"] == "none"
    assert not any("transforms" in note for note in recipe.notes)
    flip = "T.Compose([T.RandomCrop(size, padding=4), T.RandomHorizontalFlip(), T.ToTensor(), T.Normalize(mean, std)])"
    assert values(made(transforms_train=flip))["data"]["init_args"]["augment"] == "crop_flip"
    noted = made(transforms_train="T.Compose([T.RandAugment()])", transforms_test="T.Compose([T.ToTensor()])").notes
    assert sum("transforms_" in note for note in noted) == 3
    noted = made(**VIT, transforms_train=None).notes
    assert not any("transforms_" in note for note in noted)


def test_folders(made: Made) -> None:
    def root(**folders: str | None) -> tuple[str, int]:
        recipe = made(**folders)
        noted = [note for note in recipe.notes if re.match(r"cfg\.\w+_dir = ", note)]
        return values(recipe)["data"]["init_args"]["root"], len(noted)

    assert root(train_dir=r"E:\c\train", valid_dir=r"E:\c\test", test_dir=r"E:\c\test") == ("E:/c", 0)
    assert root(train_dir="/c/train", valid_dir="/c/val", test_dir="/c/test") == ("/c", 1)
    assert root(train_dir="/c/training", test_dir="/d/test") == ("/d", 1)
    assert root(train_dir="/c/training", test_dir="/d/testing") == ("data", 2)
    assert root(train_dir="it's: a #\n\x85'/train") == ("it's: a #\n\x85'", 0)
    hundred = made(**VGG, train_dir="c/train_images", valid_dir="c/test_images", test_dir="c/test_images")
    assert values(hundred)["data"]["init_args"]["root"] == "c"
