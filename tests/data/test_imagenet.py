import shutil
from pathlib import Path

import pytest
import torch

from asim_lightning.data import ImageFolder, ImageNet
from tests.data import published_layouts as layouts
from tests.data.real_pictures import real_pictures

WNIDS = ("n00000001", "n00000002", "n00000003")


def gathered(data: ImageFolder) -> dict[str, tuple[int, torch.Tensor]]:
    """Label and image of each test picture by where it stands among the samples, as its file name tells."""
    pictures = data._split("test").images
    found = {}
    for images, labels, indices in data.test_dataloader():
        for image, label, index in zip(images, labels.tolist(), indices.tolist(), strict=True):
            found[pictures.path(index).stem[-8:]] = (label, image)
    return found


def test_class_folders_have_the_labels_of_the_thousand_wnids(real_imagenet: Path) -> None:
    data = ImageNet(str(real_imagenet / "folders"), image_size=40)
    assert data.num_classes == 1000
    found = gathered(data)
    assert [found[f"{number:08d}"][0] for number in range(20)] == [label for _, label in real_pictures("imagenet")]


@pytest.mark.parametrize("root", ["flat", "kaggle", "kaggle/Data/CLS-LOC"])
def test_a_flat_validation_folder_with_annotations_holds_the_same(real_imagenet: Path, root: str) -> None:
    expected = gathered(ImageNet(str(real_imagenet / "folders"), image_size=40))
    found = gathered(ImageNet(str(real_imagenet / root), image_size=40))
    for number in range(20):
        label, image = found[f"{number + 1:08d}"]
        assert label == expected[f"{number:08d}"][0]
        assert torch.equal(image, expected[f"{number:08d}"][1])


def test_annotations_may_lie_anywhere(real_imagenet: Path, tmp_path: Path) -> None:
    for name in ("train", "val"):
        (tmp_path / name).symlink_to(real_imagenet / "flat" / name)
    where = real_imagenet / "flat" / "Annotations" / "CLS-LOC" / "val"
    with pytest.raises(FileNotFoundError, match=f"labels must be in {tmp_path}/Annotations/CLS-LOC/val/"):
        ImageNet(str(tmp_path)).setup("test")
    assert len(gathered(ImageNet(str(tmp_path), annotations=str(where), image_size=40))) == 20


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    samples = layouts.plain(range(6), [0, 1, 2, 2, 1, 0], (10, 8))
    layouts.write_class_folders(tmp_path / "train", samples, WNIDS, ".JPEG")
    layouts.write_flat_validation(tmp_path / "val", tmp_path / "Annotations" / "CLS-LOC" / "val", samples, WNIDS)
    return tmp_path


def test_index_is_the_place_in_the_sorted_folder_and_beginnings_are_balanced(flat: Path) -> None:
    data = ImageNet(str(flat), image_size=8, test_images=3)
    _, labels, indices = next(iter(data.test_dataloader()))
    assert sorted(labels.tolist()) == [0, 1, 2]
    assert indices.tolist() == [[0, 1, 2][label] for label in labels.tolist()]
    assert len(data.val_dataloader().dataset) == 3
    assert len(data._splits) == 1


def test_a_wnid_that_train_lacks_is_named(flat: Path) -> None:
    shutil.rmtree(flat / "train" / "n00000003")
    assert ImageNet(str(flat)).num_classes == 2
    message = r"ILSVRC2012_val_00000003\.xml must name one of the 2 classes with a folder in train, got n00000003$"
    with pytest.raises(ValueError, match=message):
        ImageNet(str(flat)).setup("test")


def test_annotations_that_are_missing_or_name_nothing(flat: Path) -> None:
    annotation = flat / "Annotations" / "CLS-LOC" / "val" / "ILSVRC2012_val_00000002.xml"
    annotation.write_text("<annotation><object><name>a cat</name></object></annotation>")
    with pytest.raises(ValueError, match=r"00000002\.xml must hold an <object> whose <name> is a wnid, but has none"):
        ImageNet(str(flat)).setup("test")
    annotation.unlink()
    with pytest.raises(FileNotFoundError, match=r"annotation .*00000002\.xml of a validation image does not exist$"):
        ImageNet(str(flat)).setup("test")
