"""Transforms, normalisation and augmentation, as all colour data modules share them."""

from pathlib import Path
from typing import Any

import numpy
import pytest
import timm.data
import torch
from PIL import Image
from timm.models import get_pretrained_cfg
from torchvision import transforms as published  # the first version, as the published code uses it
from torchvision.transforms import v2

from asim_lightning.data import CIFAR10, CIFAR100, ImageFolder, ImageNet
from asim_lightning.data.draws import POSITION_BITS
from asim_lightning.data.transforms import published_training

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def picture(data: Any, split: str, index: int) -> Image.Image:
    found = data._split(split).images[index]
    return Image.fromarray(found.permute(1, 2, 0).contiguous().numpy()) if isinstance(found, torch.Tensor) else found


@pytest.mark.parametrize(
    ("kind", "size", "squashed", "mean", "deviation"),
    [
        (CIFAR10, 32, 32, (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
        (CIFAR100, 32, 32, (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
        (ImageNet, 224, 256, *IMAGENET),
        (ImageFolder, 224, 256, *IMAGENET),
    ],
)
def test_published_size_and_normalisation(kind: Any, size: int, squashed: int, mean: Any, deviation: Any) -> None:
    data = kind("anywhere")
    assert (data.image_size, data.mean, data.deviation) == (size, mean, deviation)
    assert round(size * data.margin) == squashed


@pytest.mark.parametrize(("size", "normalize"), [(32, "published"), (40, {"mean": [0.1, 0.2, 0.3], "std": [1, 2, 4]})])
@pytest.mark.parametrize("kind", [CIFAR10, ImageNet])
def test_test_images_are_those_of_the_published_transform(
    noisy_cifar10: Path, real_imagenet: Path, kind: Any, size: int, normalize: Any
) -> None:
    """Pictures that are not square are squashed, too."""
    root = str(noisy_cifar10 if kind is CIFAR10 else real_imagenet / "folders")
    data = kind(root, image_size=size, normalize=normalize)
    assert normalize == "published" or data.deviation == (1, 2, 4)
    reference = published.Compose(
        [published.Resize((size, size)), published.ToTensor(), published.Normalize(data.mean, data.deviation)]
    )
    images, _, indices = next(iter(data.test_dataloader()))
    expected = torch.stack([reference(picture(data, "test", index)) for index in indices.tolist()])
    torch.testing.assert_close(images, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["vit_base_patch32_224", "resnet18.a1_in1k", "efficientnet_lite0"])
def test_pretrained_test_images_are_those_of_timm(real_imagenet: Path, name: str) -> None:
    config = timm.data.resolve_data_config({}, pretrained_cfg=get_pretrained_cfg(name).to_dict())
    data = ImageNet(str(real_imagenet / "folders"), normalize="pretrained", pretrained_cfg=name, eval_batch_size=4)
    reference = timm.data.create_transform(**config, is_training=False)
    images, _, indices = next(iter(data.test_dataloader()))
    expected = torch.stack([reference(picture(data, "test", index)) for index in indices.tolist()])
    assert images.shape == (4, 3, 224, 224)
    torch.testing.assert_close(images, expected, rtol=0, atol=1e-6)


def test_a_pretrained_network_at_another_size(noisy_cifar10: Path) -> None:
    data = CIFAR10(str(noisy_cifar10), image_size=32, normalize="pretrained", pretrained_cfg="vit_base_patch32_224")
    assert (data.mean, data.deviation) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    larger = picture(data, "test", 3).resize((35, 35), Image.Resampling.BICUBIC)  # 32 / 0.9
    expected = numpy.asarray(larger.crop((2, 2, 34, 34))).transpose(2, 0, 1) / 255 * 2 - 1
    torch.testing.assert_close(next(iter(data.test_dataloader()))[0][3].numpy(), expected.astype(numpy.float32))
    assert CIFAR10("anywhere", normalize="pretrained", pretrained_cfg="resnet18").image_size == 224


def test_published_training_transform_keeps_to_the_published_draws() -> None:
    """Draw for draw the published chain, which differs in the CenterCrop that changes nothing."""
    jitters = [{"brightness": 0.5}, {"contrast": 0.5}, {"saturation": 0.5}, {"hue": 0.3}]
    chain = v2.Compose(
        [
            v2.RandomChoice([v2.ColorJitter(**jitter) for jitter in jitters]),
            v2.Resize((40, 40)),
            v2.CenterCrop(40),
            v2.RandomCrop(35, padding=4),
            v2.RandomHorizontalFlip(),
            v2.RandomRotation(15),
            v2.PILToTensor(),
        ]
    )
    image = Image.fromarray(numpy.random.RandomState(0).randint(0, 256, (50, 60, 3), dtype=numpy.uint8))
    results = set()
    for seed in range(12):
        torch.manual_seed(seed)
        expected = chain(image)
        torch.manual_seed(seed)
        result = published_training(35, 40)(image)
        assert torch.equal(result, expected)
        results.add(result.numpy().tobytes())
    assert len(results) == 12


@pytest.mark.process
@pytest.mark.parametrize(("augment", "size"), [("published", 32), ("crop_flip", 36)])
def test_augmentation_is_a_function_of_seed_epoch_and_index(noisy_cifar10: Path, augment: str, size: int) -> None:
    def epoch_of(epoch: int, **options: Any) -> dict[int, torch.Tensor]:
        arguments = {"batch_size": 16, "augment": augment, "image_size": size, **options}
        data = CIFAR10(str(noisy_cifar10), **arguments)
        torch.manual_seed(epoch + sum(map(ord, str(options))))  # must make no difference
        loader = data.train_dataloader()
        loader.sampler.set_epoch(epoch)
        return {index: image for images, _, ids in loader for image, index in zip(images, ids.tolist(), strict=True)}

    def differing(left: dict[int, torch.Tensor], right: dict[int, torch.Tensor]) -> int:
        return sum(not torch.equal(left[index], right[index]) for index in left)

    first = epoch_of(3)
    assert len(first) == 60
    for options in ({"batch_size": 1}, {"batch_size": 60}, {"num_workers": 1, "batch_size": 7}):
        assert differing(first, epoch_of(3, **options)) == 0
    for other in (epoch_of(4), epoch_of(3, seed=1), epoch_of(3, augment="none")):
        assert differing(first, other) > 50
    dataset = CIFAR10(str(noisy_cifar10), augment=augment, image_size=size).train_dataloader().dataset
    assert torch.equal(dataset[(3 << POSITION_BITS) + 17][0], first[17])


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("augment", {"augment": "all"}),
        ("image_size", {"image_size": 0}),
        ("normalize", {"normalize": {"mean": [0, 0, 0], "std": [1, 1, 0]}}),
        ("pretrained_cfg", {"pretrained_cfg": "resnet18"}),
        ("pretrained_cfg", {"normalize": "pretrained", "pretrained_cfg": "no_such_network"}),
    ],
)
def test_arguments_out_of_range_are_refused_at_once(name: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"^`{name}` must "):
        CIFAR10("anywhere", **arguments)
