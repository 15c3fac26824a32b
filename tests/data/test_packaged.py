"""Twenty real ImageNet pictures of an installed package: labels, transform, messages."""

from pathlib import Path

import pytest
from PIL import Image

from asim_lightning.data import PackagedImageNet
from asim_lightning.resources import local_path
from tests.data.real_pictures import real_pictures

NAME = "tf_efficientnet_lite0"


def as_evaluated(**options: object) -> PackagedImageNet:
    return PackagedImageNet(normalize="pretrained", pretrained_cfg=NAME, eval_batch_size=20, **options)  # type: ignore


def write(folder: Path, *names: str) -> str:
    for shade, name in enumerate(names):
        Image.new("RGB", (8, 8), (shade, shade, shade)).save(folder / name)
    return str(folder)


def test_the_twenty_pictures_and_their_labels() -> None:
    expected = [label for _, label in real_pictures("imagenet")]
    data = as_evaluated()
    for loader in (data.val_dataloader(), data.test_dataloader(), data.predict_dataloader()):
        images, labels, indices = next(iter(loader))
        assert images.shape == (20, 3, 224, 224)
        assert (labels.tolist(), indices.tolist()) == (expected, list(range(20)))
    assert data.num_classes == 1000


def test_other_files_do_not_count(tmp_path: Path) -> None:
    names = ("imagenet_10_7.png", "imagenet_02_999.JPG", "imagenet_03_1000.png", "cifar10_00_3.png", "imagenet_1.png")
    data = PackagedImageNet(write(tmp_path, *names), image_size=8)
    _, labels, _ = next(iter(data.test_dataloader()))
    assert labels.tolist() == [999, 7]
    _, _, indices = next(iter(data.calibration_dataloader()))  # on the pictures that are evaluated
    assert sorted(indices.tolist()) == [0, 1]


def test_messages(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^PackagedImageNet has images to evaluate and none to train on; a fit "):
        PackagedImageNet(str(tmp_path)).train_dataloader()
    with pytest.raises(ValueError, match=r"^`held_out` must be 0, because PackagedImageNet has .* to train on, got 3$"):
        PackagedImageNet(held_out=3)
    with pytest.raises(FileNotFoundError, match=r"must hold images named imagenet_NUMBER_LABEL\.jpg, but holds none"):
        PackagedImageNet(str(tmp_path)).setup("test")
    with pytest.raises(FileNotFoundError, match=r"'no_such_package', which is not installed; pip install '\.\[real\]'"):
        PackagedImageNet("package:no_such_package/data").setup("test")


def test_files_in_packages() -> None:
    assert local_path("package:asim_lightning/data/colour.py").name == "colour.py"
    with pytest.raises(FileNotFoundError, match=r"^package:asim_lightning/nosuch must name a file of the package"):
        local_path("package:asim_lightning/nosuch")
    for name in ("no-such.package", "json.decoder", ""):
        with pytest.raises(FileNotFoundError, match="which is not installed"):
            local_path(f"package:{name}/x")
