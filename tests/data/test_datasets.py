from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Subset, TensorDataset

from asim_lightning.data import ImageDataModule, ImageSplit, IndexedDataset, InMemoryImages, Preparation
from asim_lightning.data.draws import POSITION_BITS, sample_keys
from asim_lightning.data.splits import SplitName


@pytest.fixture
def bytes_of_images() -> torch.Tensor:
    return torch.randint(0, 256, (20, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_a_sample_is_normalised_and_keeps_its_index(bytes_of_images: torch.Tensor) -> None:
    dataset = InMemoryImages(bytes_of_images, torch.arange(20) % 3, torch.tensor([4, 17]), Preparation(28, 0.25, 0.5))
    image, label, index = dataset[1]
    assert (len(dataset), label, index) == (2, 17 % 3, 17)
    assert type(label) is int
    assert type(index) is int
    torch.testing.assert_close(image, (bytes_of_images[17] / 255 - 0.25) / 0.5)


@pytest.mark.parametrize(("size", "before", "after"), [(29, 0, 1), (32, 2, 2)])
def test_padding_is_black_and_around(bytes_of_images: torch.Tensor, size: int, before: int, after: int) -> None:
    dataset = InMemoryImages(bytes_of_images, torch.zeros(20).long(), torch.arange(20), Preparation(size, 0.0, 1.0))
    image = dataset[0][0]
    assert image.shape == (1, size, size)
    inside = image[:, before : size - after, before : size - after]
    torch.testing.assert_close(inside, bytes_of_images[0] / 255)
    assert image.sum().item() == pytest.approx(inside.sum().item())


def test_augmentation_sees_bytes_of_the_padded_size_and_the_key_of_each_image(bytes_of_images: torch.Tensor) -> None:
    seen = []

    def remember(images: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        seen.append((images.dtype, tuple(images.shape), keys.tolist()))
        return images

    preparation = Preparation(32, 0.0, 1.0, remember, seed=9)
    dataset = InMemoryImages(bytes_of_images, torch.zeros(20).long(), torch.tensor([3, 8, 5]), preparation)
    dataset.__getitems__([1, (6 << POSITION_BITS) + 2])
    keys = sample_keys(9, torch.tensor([0, 6]), torch.tensor([8, 5]))
    assert seen == [(torch.uint8, (2, 1, 32, 32), keys.tolist())]


def test_a_wrapped_data_set_yields_its_index_also_in_a_subset() -> None:
    dataset = IndexedDataset(TensorDataset(torch.arange(6.0), torch.arange(6) % 2))
    assert len(dataset) == 6
    assert dataset[4] == (torch.tensor(4.0), torch.tensor(0), 4)
    assert dataset[-1][2] == 5
    assert [index for _, _, index in dataset] == [0, 1, 2, 3, 4, 5]
    _, _, indices = next(iter(DataLoader(Subset(dataset, [5, 1, 3]), batch_size=3)))
    assert indices.tolist() == [5, 1, 3]
    assert indices.dtype == torch.int64


class Shades(ImageDataModule):
    """A user's data module: grey images that are as bright as their class."""

    num_classes = 4
    in_channels = 1

    def read(self, split: SplitName) -> ImageSplit[Any]:
        labels = torch.arange(40 if split == "train" else 8) % self.num_classes
        images = (60 * labels)[:, None, None, None].expand(-1, 1, 6, 6).to(torch.uint8)
        return ImageSplit(images, labels, torch.arange(len(labels)))

    def dataset(self, split: ImageSplit[Any], indices: Tensor, augment: bool) -> InMemoryImages:
        return InMemoryImages(split.images, split.labels, indices, Preparation(6, 0.0, 1.0))


def test_a_users_module_gives_two_methods_and_has_defaults() -> None:
    data = Shades(held_out=8)
    data.setup("fit")
    (images, labels, indices), *rest = data.val_dataloader()
    assert not rest
    assert torch.equal(images, (labels[:, None, None, None] * 60 / 255).expand(-1, 1, 6, 6))
    assert labels.bincount().tolist() == [2, 2, 2, 2]
    trained = torch.cat([batch[2] for batch in data.train_dataloader()])
    assert sorted([*trained.tolist(), *indices.tolist()]) == list(range(40))
    assert data.test_indices().tolist() == list(range(8))
    assert Shades().batch_size == 128
