import itertools

import torch
from torchvision.transforms.v2 import functional as torchvision_functional

from asim_lightning.data import RandomCropFlip
from asim_lightning.data.augmentation import crop_and_flip


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


def test_images_of_a_batch_are_drawn_apart_and_evenly() -> None:
    # One bright pixel right of the middle: where it lands tells the shift and the flip.
    images = torch.zeros(5000, 1, 16, 16, dtype=torch.uint8)
    images[:, 0, 8, 12] = 1
    torch.manual_seed(0)
    landed = RandomCropFlip(padding=2)(images).flatten(1)
    assert landed.sum(dim=1).eq(1).all()
    rows, columns = landed.argmax(dim=1) // 16, landed.argmax(dim=1) % 16
    flipped = columns < 8
    assert 0.47 < flipped.float().mean() < 0.53  # standard error 0.007
    places = torch.bincount(5 * (rows - 6) + torch.where(flipped, 15 - columns, columns) - 10, minlength=25)
    assert len(places) == 25
    assert places.min() > 140
    assert places.max() < 260


def test_the_draws_come_from_torchs_default_generator() -> None:
    images = torch.randint(0, 256, (32, 1, 28, 28), dtype=torch.uint8)
    torch.manual_seed(3)
    first, second = RandomCropFlip()(images), RandomCropFlip()(images)
    torch.manual_seed(3)
    assert torch.equal(RandomCropFlip()(images), first)
    assert not torch.equal(first, second)
