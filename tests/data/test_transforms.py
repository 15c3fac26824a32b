import itertools

import pytest
import torch
from torchvision.transforms.v2 import functional as torchvision_functional

from asim_lightning.data import RandomCropFlip
from asim_lightning.data.draws import sample_keys
from asim_lightning.data.transforms import crop_and_flip


def test_crop_and_flip_equals_torchvision_image_by_image() -> None:
    padding = 2
    cases = list(itertools.product(range(2 * padding + 1), range(2 * padding + 1), (False, True)))
    images = torch.randint(0, 256, (len(cases), 3, 6, 7), dtype=torch.uint8)
    rows, columns, flips = (torch.tensor(values) for values in zip(*cases, strict=True))
    result = crop_and_flip(images, padding, rows, columns, flips)
    for image, got, (row, column, flip) in zip(images, result, cases, strict=True):
        expected = torchvision_functional.pad(image, [padding])
        expected = torchvision_functional.crop(expected, row, column, 6, 7)
        if flip:
            expected = torchvision_functional.horizontal_flip(expected)
        torch.testing.assert_close(got, expected, rtol=0, atol=0)


@pytest.mark.parametrize(("options", "share"), [({}, 0.5), ({"flip_probability": 0.2}, 0.2)])
def test_images_of_a_batch_are_drawn_apart_and_evenly(options: dict[str, float], share: float) -> None:
    # One bright pixel right of the middle: where it lands tells the shift and the flip.
    images = torch.zeros(5000, 1, 16, 16, dtype=torch.uint8)
    images[:, 0, 8, 12] = 1
    keys = sample_keys(0, torch.zeros(5000).long(), torch.arange(5000))
    landed = RandomCropFlip(padding=2, **options)(images, keys).flatten(1)
    assert landed.sum(dim=1).eq(1).all()
    rows, columns = landed.argmax(dim=1) // 16, landed.argmax(dim=1) % 16
    flipped = columns < 8
    assert flipped.float().mean().item() == pytest.approx(share, abs=0.03)  # standard error 0.007
    places = torch.bincount(5 * (rows - 6) + torch.where(flipped, 15 - columns, columns) - 10, minlength=25)
    assert len(places) == 25
    assert places.min() > 140
    assert places.max() < 260
