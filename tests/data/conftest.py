"""Data sets to read: a tiny Fashion-MNIST, a noisy CIFAR-10, and real pictures in all published layouts."""

from pathlib import Path

import pytest
import torch
from timm.data import ImageNetInfo

from tests.data import published_layouts as layouts
from tests.data.real_pictures import real_pictures


@pytest.fixture
def tiny_folder(tmp_path: Path) -> Path:
    """Four IDX files, 100 training and 40 test images, image i filled with byte i."""
    for prefix, count in (("train", 100), ("t10k", 40)):
        numbers = torch.arange(count)
        images = numbers[:, None, None].expand(count, 28, 28)
        layouts.write_idx(tmp_path / f"{prefix}-images-idx3-ubyte.gz", images.to(torch.uint8))
        layouts.write_idx(tmp_path / f"{prefix}-labels-idx1-ubyte.gz", (numbers % 10).to(torch.uint8))
    return tmp_path


@pytest.fixture(scope="session")
def noisy_cifar10(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 training and 20 test images of random pixels, image i of class i % 10."""
    root = tmp_path_factory.mktemp("noisy")
    layouts.write_cifar10_pickles(root, layouts.noisy(60, 10), layouts.noisy(20, 10))
    return root


@pytest.fixture(scope="session")
def real_cifar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pickles of both sets, CIFAR10/ with class folders and Cifar100/ with tables; training and test are alike."""
    root = tmp_path_factory.mktemp("real_cifar")
    ten, hundred = real_pictures("cifar10"), real_pictures("cifar100")
    layouts.write_cifar10_pickles(root, ten, ten)
    layouts.write_cifar100_pickles(root, hundred, hundred)
    for half in ("train", "test"):
        layouts.write_class_folders(root / "CIFAR10" / half, ten, layouts.CIFAR10_CLASSES)
        layouts.write_table(root / "Cifar100", half, hundred)
    return root


@pytest.fixture(scope="session")
def real_imagenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three roots: valid/ with class folders, val/ flat with Annotations, and Kaggle's Data/CLS-LOC."""
    root, wnids = tmp_path_factory.mktemp("real_imagenet"), list(map(ImageNetInfo().index_to_label_name, range(1000)))
    pictures = [(picture.resize((60, 48)), label) for picture, label in real_pictures("imagenet")]  # not square
    layouts.write_class_folders(root / "folders" / "train", pictures, wnids, ".JPEG")
    layouts.write_class_folders(root / "folders" / "valid", pictures, wnids, ".JPEG")
    flat, kaggle = root / "flat", root / "kaggle"
    layouts.write_flat_validation(flat / "val", flat / "Annotations" / "CLS-LOC" / "val", pictures, wnids)
    (flat / "train").symlink_to(root / "folders" / "train")
    below = kaggle / "Data" / "CLS-LOC"
    layouts.write_flat_validation(below / "val", kaggle / "Annotations" / "CLS-LOC" / "val", pictures, wnids)
    (below / "train").symlink_to(root / "folders" / "train")
    return root
