import gzip
import shutil
import struct
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from asim_lightning.data import CIFAR10, FashionMNIST
from asim_lightning.data.fashion import DEVIATION, MEAN, SUBSET, read_idx, read_split
from tests.data.make_subset import PER_CLASS, make_subset
from tests.data.published_layouts import write_idx

FULL = Path("/usr/share/datasets/fashion-mnist")
needs_full_set = pytest.mark.skipif(not FULL.is_dir(), reason="the Debian package dataset-fashion-mnist is absent")


def gathered(loader: DataLoader) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return tuple(torch.cat(values) for values in zip(*loader, strict=True))


def byte_of(images: torch.Tensor) -> list[int]:
    """What an image of the tiny folder is filled with, which is where it stands in its file."""
    return ((images[:, 0, 14, 14] * DEVIATION + MEAN) * 255).round().int().tolist()


def test_embedded_subset_by_default() -> None:
    data = FashionMNIST()
    images, labels, indices = gathered(data.test_dataloader())
    assert (images.shape, images.dtype) == ((2000, 1, 28, 28), torch.float32)
    assert labels.dtype == indices.dtype == torch.int64
    assert (data.num_classes, data.in_channels, len(data.class_names)) == (10, 1, 10)
    assert abs(images.mean().item()) < 0.02
    assert abs(images.std().item() - 1) < 0.02


@pytest.mark.parametrize(("held_out", "size"), [(0, 28), (30, 32)])
def test_every_loader_yields_images_with_the_index_they_are_read_from(
    tiny_folder: Path, held_out: int, size: int
) -> None:
    data = FashionMNIST(str(tiny_folder), batch_size=7, eval_batch_size=9, held_out=held_out, image_size=size)
    for loader in (
        data.train_dataloader(),
        data.val_dataloader(),
        data.test_dataloader(),
        data.predict_dataloader(),
        data.calibration_dataloader(20),
    ):
        images, labels, indices = gathered(loader)
        assert images.shape[1:] == (1, size, size)
        assert byte_of(images) == indices.tolist()
        assert (indices % 10).tolist() == labels.tolist()


def test_held_out_images_are_balanced_and_kept_from_training_and_calibration(tiny_folder: Path) -> None:
    data = FashionMNIST(str(tiny_folder), held_out=30)
    _, labels, validation = gathered(data.val_dataloader())
    _, _, training = gathered(data.train_dataloader())
    _, _, calibration = gathered(data.calibration_dataloader())
    assert torch.bincount(labels).tolist() == [3] * 10
    assert sorted(validation.tolist() + training.tolist()) == list(range(100))
    assert sorted(calibration.tolist()) == sorted(training.tolist())
    other = FashionMNIST(str(tiny_folder), held_out=30, seed=1)
    assert gathered(other.val_dataloader())[2].tolist() != validation.tolist()
    with pytest.raises(ValueError, match=r"^`held_out` must be below 100 to leave training images .*, got 100$"):
        FashionMNIST(str(tiny_folder), held_out=100).setup("fit")


def test_without_held_out_images_validation_is_the_test_or_its_first_images(tiny_folder: Path) -> None:
    data = FashionMNIST(str(tiny_folder))
    assert gathered(data.val_dataloader())[2].tolist() == list(range(40))
    assert sorted(gathered(data.train_dataloader())[2].tolist()) == list(range(100))
    data = FashionMNIST(str(tiny_folder), test_images=12)
    for loader in (data.val_dataloader(), data.test_dataloader(), data.predict_dataloader()):
        assert gathered(loader)[2].tolist() == list(range(12))


def test_calibration_is_fixed_and_the_shorter_the_beginning_of_the_longer(tiny_folder: Path) -> None:
    data = FashionMNIST(str(tiny_folder))
    torch.manual_seed(0)
    images, _, indices = gathered(data.calibration_dataloader(64))
    torch.manual_seed(1)
    again, _, fewer = gathered(FashionMNIST(str(tiny_folder)).calibration_dataloader(16))
    assert len(indices) == 64
    assert torch.equal(images[:16], again)
    assert indices[:16].tolist() == fewer.tolist() != sorted(fewer.tolist())


@pytest.mark.parametrize(("data", "without"), [(FashionMNIST, False), (CIFAR10, "none")])
def test_augmentation_is_for_training_alone(data: Any, without: Any, noisy_cifar10: Path) -> None:
    root = None if data is FashionMNIST else str(noisy_cifar10)
    augmented, plain = data(root, held_out=10), data(root, held_out=10, augment=without)
    for split in ("train", "val", "test", "calibration"):
        first, second = (next(iter(getattr(each, f"{split}_dataloader")())) for each in (augmented, plain))
        assert first[2].tolist() == second[2].tolist()
        assert torch.equal(first[0], second[0]) == (split != "train")


@pytest.mark.parametrize("workers", [0, 1])
def test_loaders_keep_workers_and_pin_memory_for_cuda_alone(tiny_folder: Path, workers: int) -> None:
    data = FashionMNIST(str(tiny_folder), num_workers=workers)
    for device in (None, "cpu", "cuda"):
        if device:
            data.trainer = SimpleNamespace(strategy=SimpleNamespace(root_device=torch.device(device)))
        for loader in (data.train_dataloader(), data.val_dataloader(), data.calibration_dataloader()):
            assert loader.persistent_workers == (workers > 0)
            assert loader.pin_memory == (device == "cuda")


def test_files_unzipped_or_as_torchvision_lays_them(tiny_folder: Path, tmp_path: Path) -> None:
    expected = gathered(FashionMNIST(str(tiny_folder)).test_dataloader())
    raw = tmp_path / "below" / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for file in tiny_folder.glob("*.gz"):
        (raw / file.stem).write_bytes(gzip.decompress(file.read_bytes()))
    found = gathered(FashionMNIST(str(tmp_path / "below")).test_dataloader())
    assert all(torch.equal(left, right) for left, right in zip(expected, found, strict=True))


def test_setup_reads_what_the_stage_needs_and_reads_it_once(tiny_folder: Path) -> None:
    data = FashionMNIST(str(tiny_folder))
    data.setup("test")
    for file in tiny_folder.glob("t10k*"):
        file.unlink()
    data.setup("validate")
    assert len(data.test_dataloader().dataset) == 40
    for file in tiny_folder.glob("train*"):
        file.unlink()
    with pytest.raises(FileNotFoundError):
        data.setup("fit")


@pytest.mark.parametrize(
    "wrong",
    [
        {"batch_size": 0}, {"image_size": 20}, {"held_out": 15}, {"seed": -1},
    ],
)  # fmt: skip
def test_arguments_out_of_range_are_refused_at_once(wrong: dict[str, Any]) -> None:
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=rf"^`{name}` must be .*, got {value}$"):
        FashionMNIST(**wrong)


def test_missing_files_are_named_with_the_expected_tree(tiny_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=rf"{tmp_path}/absent does not exist .*; expected {tmp_path}/absent/\["):
        FashionMNIST(str(tmp_path / "absent")).setup()
    (tiny_folder / "train-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks train-labels-idx1-ubyte\[\.gz\]; expected "):
        FashionMNIST(str(tiny_folder)).setup()


def test_files_that_do_not_belong_together_are_named(tiny_folder: Path) -> None:
    labels, images = (tiny_folder / f"t10k-{name}-ubyte.gz" for name in ("labels-idx1", "images-idx3"))
    content = gzip.decompress(labels.read_bytes())
    labels.write_bytes(gzip.compress(content[:-1] + b"\x0a"))
    with pytest.raises(ValueError, match=r"must hold labels from 0 to 9, got 10$"):
        FashionMNIST(str(tiny_folder)).setup("test")
    shutil.copy(tiny_folder / "train-labels-idx1-ubyte.gz", labels)
    with pytest.raises(ValueError, match=rf"^{labels} .*for each of 40 images, got values of shape \(100,\)$"):
        FashionMNIST(str(tiny_folder)).setup("test")
    shutil.copy(labels, images)
    with pytest.raises(ValueError, match=r"must hold images of 28 x 28, got values of shape \(100,\)$"):
        FashionMNIST(str(tiny_folder)).setup("test")


@pytest.mark.parametrize("split", ["train", "test"])
def test_embedded_subset_is_balanced_from_the_start(split: Any) -> None:
    images, labels = read_split(SUBSET, split)
    assert images.shape == (10 * PER_CLASS[split], 28, 28)
    blocks = labels.reshape(-1, 10).sort(dim=1).values
    assert torch.equal(blocks, torch.arange(10).expand_as(blocks))


@needs_full_set
def test_embedded_subset_is_made_again_from_the_full_set(tmp_path: Path) -> None:
    make_subset(str(FULL), str(tmp_path))
    for file in tmp_path.iterdir():
        assert torch.equal(read_idx(file), read_idx(SUBSET / file.name))
    train = {image.numpy().tobytes() for image in read_split(FULL, "train")[0]}
    assert not any(image.numpy().tobytes() in train for image in read_split(SUBSET, "test")[0])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\3\4" + b"\0" * 20,
        struct.pack(">BBBBI", 0, 0, 0x0D, 1, 4) + b"\0" * 16,
        b"\0\0\x08\3\0\0",
        struct.pack(">BBBBI", 0, 0, 8, 1, 5) + b"\0" * 4,
        struct.pack(">BBBBI", 0, 0, 8, 1, 5) + b"\0" * 6,
        struct.pack(">BBBBI", 0, 0, 8, 1, 0),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    for file, written in ((tmp_path / "bad-idx", content), (tmp_path / "bad.gz", gzip.compress(content))):
        file.write_bytes(written)
        with pytest.raises(ValueError, match=f"^{file} must "):
            read_idx(file)


def test_a_damaged_gzip_file_is_refused_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "bad.gz"
    write_idx(file, torch.randint(0, 256, (4, 28, 28), dtype=torch.uint8))
    content = file.read_bytes()
    flipped = content[:900] + bytes(255 - byte for byte in content[900:904]) + content[904:]
    for damaged in (content[:900], flipped, b"hello" + content):
        file.write_bytes(damaged)
        with pytest.raises(ValueError, match=rf"^{file} must be a whole gzip file, but is truncated or corrupt "):
            read_idx(file)
