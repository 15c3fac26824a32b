import shutil
from pathlib import Path

import pytest
import torch

from asim_lightning.data import ImageFolder
from tests.data import published_layouts as layouts

CLASSES = ("cat", "dog", "emu")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Twelve training and six validation pictures."""
    layouts.write_class_folders(
        tmp_path / "train", layouts.plain(range(100, 112), [0] * 6 + [1] * 4 + [2] * 2, (20, 10)), CLASSES
    )
    layouts.write_class_folders(
        tmp_path / "val", layouts.plain(range(200, 206), [0, 0, 0, 1, 1, 1], (10, 20)), CLASSES[:2]
    )
    return tmp_path


def shades(data: ImageFolder, images: torch.Tensor) -> list[int]:
    """What a picture of one shade is filled with."""
    return ((images[:, 0, 4, 4] * data.deviation[0] + data.mean[0]) * 255).round().int().tolist()


def test_samples_carry_label_and_place_in_the_listing(root: Path) -> None:
    data = ImageFolder(str(root), image_size=8, augment="none", batch_size=50, eval_batch_size=50)
    assert (data.num_classes, data.in_channels, data.class_names) == (3, 3, list(CLASSES))  # before setup
    images, labels, indices = next(iter(data.train_dataloader()))
    assert images.shape == (12, 3, 8, 8)
    assert shades(data, images) == [100 + index for index in indices.tolist()]
    assert labels.tolist() == [0 if i < 6 else 1 if i < 10 else 2 for i in indices.tolist()]
    images, labels, indices = next(iter(data.test_dataloader()))
    assert shades(data, images) == [200 + index for index in indices.tolist()]
    assert labels.reshape(3, 2).sort(dim=1).values.tolist() == [[0, 1]] * 3  # spread over the classes


def test_held_out_pictures_are_as_equal_as_can_be_and_leave_one_of_each_class(root: Path) -> None:
    for held_out, expected in ((3, [1, 1, 1]), (5, [2, 2, 1]), (9, [5, 3, 1])):
        data = ImageFolder(str(root), image_size=8, augment="none", held_out=held_out, batch_size=50)
        _, labels, held = next(iter(data.val_dataloader()))
        assert torch.bincount(labels, minlength=3).tolist() == expected
        _, _, training = next(iter(data.train_dataloader()))
        _, _, calibration = next(iter(data.calibration_dataloader()))
        assert sorted(held.tolist() + training.tolist()) == list(range(12))
        assert sorted(calibration.tolist()) == sorted(training.tolist())
    with pytest.raises(ValueError, match=r"^`held_out` must be below 10 .*, got 10$"):
        ImageFolder(str(root), held_out=10).setup("fit")
    with pytest.raises(ValueError, match=r"^`test_images` must be 1 to 6, the number of test images, got 7$"):
        ImageFolder(str(root), test_images=7).setup("test")


@pytest.mark.parametrize("name", ["val", "valid", "test"])
def test_one_folder_serves_validation_and_test(root: Path, name: str) -> None:
    (root / "val").rename(root / name)
    data = ImageFolder(str(root), image_size=8)
    assert len(data.val_dataloader().dataset) == len(data.test_dataloader().dataset) == 6
    assert len(data._splits) == 1


def test_validation_and_test_folders_side_by_side(root: Path) -> None:
    layouts.write_class_folders(root / "test", layouts.plain([7, 8], [2, 0]), CLASSES)
    data = ImageFolder(str(root), image_size=8)
    data.setup("fit")
    assert len(data.val_dataloader().dataset) == 6
    assert len(data.test_dataloader().dataset) == 2


def test_a_half_unpacked_folder_is_refused_with_the_expected_tree(root: Path) -> None:
    shutil.rmtree(root / "val")
    ImageFolder(str(root), held_out=3).setup("fit")
    with pytest.raises(FileNotFoundError, match=f"^The folder {root} lacks val or valid or test; expected "):
        ImageFolder(str(root)).setup("fit")
    with pytest.raises(FileNotFoundError, match=f"^The folder {root} lacks test or valid or val; "):
        ImageFolder(str(root), held_out=3).setup("test")
    shutil.rmtree(root / "train")
    with pytest.raises(FileNotFoundError, match=f"^The folder {root} lacks train; "):
        _ = ImageFolder(str(root)).num_classes


def test_corrupt_pictures_are_named_when_read_or_left_out_and_the_others_keep_their_index(root: Path) -> None:
    complete = ImageFolder(str(root), image_size=8)
    before = next(iter(complete.test_dataloader()))
    for name in ("cat/00000001.png", "dog/00000004.png"):
        victim = root / "val" / name
        victim.write_bytes(victim.read_bytes()[:-30])
    with pytest.raises(ValueError, match=r"val/.*\.png must be a whole image, but is corrupt or of another"):
        list(complete.test_dataloader())
    data = ImageFolder(str(root), image_size=8, skip_corrupt=True)
    with pytest.warns(UserWarning, match=r"^2 of 6 images are corrupt and left out, first .*cat/00000001\.png$"):
        data.setup("test")
    after = next(iter(data.test_dataloader()))
    kept = ~torch.isin(before[2], torch.tensor([1, 4]))
    assert after[2].tolist() == before[2][kept].tolist()
    assert torch.equal(after[0], before[0][kept])
    with pytest.raises(ValueError, match=r"`test_images` must be 1 to 4, "), pytest.warns(UserWarning, match="corrupt"):
        ImageFolder(str(root), test_images=5, skip_corrupt=True).setup("test")
