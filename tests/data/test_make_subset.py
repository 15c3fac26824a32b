from pathlib import Path

import pytest
import torch

from asim_lightning.data.fashion_files import read_split
from asim_lightning.data.make_subset import PER_CLASS, main, subset_indices

FULL = Path("/usr/share/datasets/fashion-mnist")
PACKAGED = Path(__file__).parents[2] / "asim_lightning" / "data" / "fashion_mnist"
needs_full_set = pytest.mark.skipif(not FULL.is_dir(), reason="the Debian package dataset-fashion-mnist is absent")


@pytest.mark.parametrize(("split", "count"), [("train", 10_000), ("test", 2_000)])
def test_embedded_subset_is_balanced_from_the_start(split, count: int) -> None:
    images, labels = read_split(None, split)
    assert images.shape == (count, 28, 28)
    assert torch.bincount(labels).tolist() == [PER_CLASS[split]] * 10
    blocks = labels.reshape(-1, 10).sort(dim=1).values
    assert torch.equal(blocks, torch.arange(10).expand_as(blocks))


def test_embedded_subset_is_small_and_carries_its_licence() -> None:
    assert sum(file.stat().st_size for file in PACKAGED.iterdir()) < 5.5e6
    assert "2017 Zalando SE" in (PACKAGED / "LICENSE").read_text(encoding="utf-8")


@needs_full_set
@pytest.mark.parametrize("split", ["train", "test"])
def test_embedded_images_are_those_of_the_full_set(split) -> None:
    full, embedded = read_split(str(FULL), split), read_split(None, split)
    positions = subset_indices(full.labels, split)
    assert len(set(positions.tolist())) == len(embedded.images)
    assert torch.equal(full.images[positions], embedded.images)
    assert torch.equal(full.labels[positions], embedded.labels)


@needs_full_set
def test_embedded_test_images_are_no_training_images() -> None:
    train = {image.numpy().tobytes() for image in read_split(None, "train").images}
    assert not any(image.numpy().tobytes() in train for image in read_split(None, "test").images)


def test_command_line_errors_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert capsys.readouterr().err == "Two folders are needed, SOURCE and DEST, got 0 arguments.\n"
    assert main([str(tmp_path / "absent"), str(tmp_path / "made")]) == 2
    error = capsys.readouterr().err
    assert "absent does not exist" in error
    assert error.count("\n") == 1


def test_too_few_images_of_a_class_are_refused(
    tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tiny_folder), str(tmp_path / "made")]) == 2
    assert capsys.readouterr().err == "At most 10 images can be drawn of class 0, which has no more, got 1000.\n"
