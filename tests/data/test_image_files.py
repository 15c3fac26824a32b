from pathlib import Path

import pytest
from PIL import Image
from torchvision.datasets import ImageFolder

from asim_lightning.data.image_files import class_names, image_names_in, list_class_folders
from tests.data import published_layouts as layouts


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    samples = layouts.plain(range(6), [2, 0, 2, 1, 0, 2], (4, 3))
    layouts.write_class_folders(tmp_path, samples, ("a", "b", "c"))
    (tmp_path / "c" / "deeper").mkdir()
    samples[0][0].save(tmp_path / "c" / "deeper" / "0.JPEG")
    (tmp_path / "c" / "notes.txt").write_text("no picture")
    (tmp_path / "README").write_text("no folder")
    return tmp_path


def test_listing_is_that_of_torchvision(folder: Path) -> None:
    expected = ImageFolder(str(folder))
    names = class_names(folder)
    pictures, labels = list_class_folders(folder, names)
    assert names == expected.classes
    assert labels.tolist() == expected.targets
    assert [str(pictures.path(i)) for i in range(len(pictures))] == [path for path, _ in expected.samples]
    assert pictures[3].getpixel((0, 0)) == (0, 0, 0)
    assert pictures[3].size == (4, 3)


def test_empty_classes_count_and_hidden_folders_do_not(folder: Path) -> None:
    (folder / "aa").mkdir()
    (folder / ".cache").mkdir()
    Image.new("RGB", (4, 3)).save(folder / "b" / ".hidden.png")
    Image.new("RGB", (4, 3)).save(folder / "b" / "B.GIF")
    assert class_names(folder) == ["a", "aa", "b", "c"]
    assert image_names_in(folder) == []
    assert image_names_in(folder / "b") == ["00000003.png", "B.GIF"]
    pictures, labels = list_class_folders(folder, class_names(folder))
    assert [pictures.path(i).name for i, label in enumerate(labels) if label == 2] == ["00000003.png", "B.GIF"]
    assert set(labels.tolist()) == {0, 2, 3}


def test_errors(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must be named as the 2 classes, a to b, got c$"):
        list_class_folders(folder, ["a", "b"])
    with pytest.raises(FileNotFoundError, match=r"The folder .*/absent does not exist or is not a folder$"):
        class_names(tmp_path / "absent")
    with pytest.raises(FileNotFoundError, match=r"must hold a folder of images for each class "):
        class_names(folder / "a")
    (tmp_path / "empty" / "a").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r"must hold images in its class folders, but all of them are empty$"):
        list_class_folders(tmp_path / "empty", ["a"])
