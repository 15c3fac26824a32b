"""Images of a benchmark: real ones first, each batch the next ones."""

from types import SimpleNamespace

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from asim_lightning import CimClassifier
from asim_lightning.bench import images as module
from asim_lightning.bench import read_images
from asim_lightning.bench.images import random_images
from tests.bench.conftest import some_images

CPU = torch.device("cpu")


class Data:
    """Ten test images; the value of each is its number."""

    number = 10

    def test_dataloader(self) -> DataLoader:
        values = torch.arange(self.number)
        dataset = TensorDataset(values.float().view(-1, 1, 1, 1), values % 2, values + 50)
        return DataLoader(dataset, batch_size=4)


class Empty(Data):
    number = 0


@pytest.mark.parametrize("count", [1, 7, 99])
def test_the_first_test_images_are_read(count: int) -> None:
    read = read_images(Data(), count)
    number = min(count, 10)
    assert read.images.flatten().tolist() == list(range(number))
    assert read.ids.tolist() == list(range(50, 50 + number))
    assert read.source == f"{number} test images of Data"


def test_no_more_is_read_than_memory_takes_and_no_image_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_BYTES", 24)
    assert len(read_images(Data(), 99).images) == 6
    with pytest.raises(ValueError, match="at least one test image, got data without any"):
        read_images(Empty(), 3)


def test_batches_follow_each_other_and_wrap() -> None:
    images = some_images(5)
    numbers = [images.batch(number, 2, CPU)[1].tolist() for number in range(4)]
    assert numbers == [[100, 101], [102, 103], [104, 100], [101, 102]]
    x, ids = images.batch(0, 7, CPU)
    assert x.shape == (7, 1, 16, 16)
    assert torch.equal(x, images.images[ids - 100])


def test_random_images_have_the_shape_of_the_data(model: CimClassifier) -> None:
    data = SimpleNamespace(in_channels=1, image_size=20)
    found = random_images(model, data, 6, "there is no disk")
    assert found.images.shape == (6, 1, 20, 20)
    assert found.shape == (1, 20, 20)
    assert found.source == "6 random ones (standard normal), as there is no disk"
    assert torch.equal(found.images, random_images(model, data, 6, "").images)  # the same in every run
    assert not torch.equal(found.images[0], found.images[1])
    assert random_images(model, object(), 1, "").shape == (1, 16, 16)
    assert random_images(model, SimpleNamespace(in_channels=3, image_size=20), 1, "").shape == (1, 16, 16)
