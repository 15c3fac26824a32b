"""Twenty real pictures each of CIFAR-10, CIFAR-100 and ImageNet, out of the package foolbox, which is not imported."""

import importlib.util
import re
from pathlib import Path

import pytest
from PIL import Image

from tests.data.published_layouts import Labelled


def real_pictures(dataset: str) -> Labelled:
    """The pictures of cifar10, cifar100 or imagenet with their labels; skips the test where there are none."""
    package = importlib.util.find_spec("foolbox")
    if package is None or not package.submodule_search_locations:
        pytest.skip("needs the pictures in the package foolbox (pip install foolbox --no-deps)")
    found = []
    for file in sorted(Path(package.submodule_search_locations[0], "data").iterdir()):
        name = re.fullmatch(rf"{dataset}_\d+_(\d+)\.(png|jpg)", file.name)
        if name:
            with Image.open(file) as picture:
                found.append((picture.convert("RGB"), int(name[1])))
    if len(found) != 20:
        pytest.skip(f"needs the 20 pictures of {dataset} in the package foolbox, found {len(found)}")
    return found
