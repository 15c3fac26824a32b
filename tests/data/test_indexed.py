from pathlib import Path

import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, IterableDataset, Subset, TensorDataset
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from asim_lightning.data import IndexedDataset

PAIRS = TensorDataset(torch.arange(6.0), torch.arange(6) % 2)


def test_sample_gains_its_index() -> None:
    dataset = IndexedDataset(PAIRS)
    assert len(dataset) == 6
    assert dataset[4] == (torch.tensor(4.0), torch.tensor(0), 4)
    assert dataset[-1][2] == 5


def test_a_subset_keeps_the_index_of_the_whole() -> None:
    _, _, indices = next(iter(DataLoader(Subset(IndexedDataset(PAIRS), [5, 1, 3]), batch_size=3)))
    assert indices.tolist() == [5, 1, 3]
    assert indices.dtype == torch.int64


def test_image_folder(tmp_path: Path) -> None:
    for number, name in enumerate(("cat", "cat", "dog")):
        (tmp_path / name).mkdir(exist_ok=True)
        Image.new("L", (5, 4), number).save(tmp_path / name / f"{number}.png")
    folder = ImageFolder(str(tmp_path), transform=v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]))
    images, labels, indices = next(iter(DataLoader(IndexedDataset(folder), batch_size=3)))
    assert images.shape == (3, 3, 4, 5)
    assert labels.tolist() == [0, 0, 1]
    assert indices.tolist() == [0, 1, 2]


def test_iteration_ends() -> None:
    assert [index for _, _, index in IndexedDataset(PAIRS)] == [0, 1, 2, 3, 4, 5]
    with pytest.raises(IndexError, match=r"The index must be -6 to 5, got 6\."):
        IndexedDataset(PAIRS)[6]


def test_other_data_sets_are_refused() -> None:
    class Endless(IterableDataset):
        def __iter__(self):
            return iter(())

    with pytest.raises(ValueError, match=r"dataset must have a length and be indexable, got Endless\."):
        IndexedDataset(Endless())
    with pytest.raises(ValueError, match=r"samples of TensorDataset must be \(image, label\) pairs, got 1 values\."):
        IndexedDataset(TensorDataset(torch.arange(3)))[0]
