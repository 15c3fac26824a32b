"""Colour images with the published transforms: the base of CIFAR, ImageNet and image folders."""

from typing import Any

from torch import Tensor
from torch.utils.data import Dataset

from asim_lightning.checks import check_choice, check_whole
from asim_lightning.data.datasets import InMemoryImages, Preparation, Sample, TransformedImages
from asim_lightning.data.image_data_module import ImageDataModule
from asim_lightning.data.image_files import TensorAsPilImages
from asim_lightning.data.splits import ImageSplit
from asim_lightning.data.transforms import (
    PADDING,
    RandomCropFlip,
    pretrained_evaluation,
    pretrained_input,
    published_evaluation,
    published_training,
)

AUGMENTATIONS = ("published", "crop_flip", "none")
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)


class ColourDataModule(ImageDataModule):
    """Labelled colour images, float32, (batch, 3, image_size, image_size), normalised.

    A subclass implements `read`, and may set:

    Attributes:
        mean: The published mean of each channel, in 0..1.
        deviation: The published standard deviation of each channel, in 0..1.
        size: Height and width in pixels if `image_size` is null.
        margin: Size to which training images are squashed before their crop, over the size of the crop.

    Examples:
        >>> import torch
        >>> from asim_lightning.data import ColourDataModule, ImageSplit
        >>> class Black(ColourDataModule):
        ...     num_classes = 2
        ...     def read(self, split):
        ...         return ImageSplit(torch.zeros(8, 3, 9, 9, dtype=torch.uint8), torch.arange(8) % 2, torch.arange(8))
        ...
        >>> next(iter(Black("unused", image_size=9).test_dataloader()))[0].shape
        torch.Size([8, 3, 9, 9])
    """

    in_channels = 3
    mean: tuple[float, ...] = IMAGENET_MEAN
    deviation: tuple[float, ...] = IMAGENET_DEVIATION
    size = 224
    margin = 256 / 224

    @classmethod
    def tree(cls, root: str) -> str:
        """The layout expected below root; empty if it is not known."""
        return ""

    def __init__(
        self,
        root: str,
        batch_size: int = 128,
        eval_batch_size: int = 100,
        num_workers: int = 0,
        held_out: int = 0,
        test_images: int | None = None,
        image_size: int | None = None,
        augment: str = "published",
        normalize: dict[str, list[float]] | str = "published",
        pretrained_cfg: str | None = None,
        skip_corrupt: bool = False,
        seed: int = 0,
    ) -> None:
        """Check the arguments; read nothing yet.

        Args:
            root: Folder of the data set.
            batch_size: Training images a batch, on each process.
            eval_batch_size: Images a batch in validation, test, prediction and calibration, on each process.
            num_workers: Processes that prepare batches.
            held_out: Number of training images that become the validation set, with classes as balanced as possible; 0
                validates on the validation or test images.
            test_images: Validate, test and predict only on this many first images; null uses all. If the images are
                listed class by class, evaluation reads one of each class, then a second of each, and so on (classes in
                a random order that never changes), so that the first images have balanced classes.
            image_size: Height and width in pixels; null takes the data set's, 32 or 224, or with `normalize:
                pretrained` the network's.
            augment: Augmentation of training images: `published` (jitter of one colour property, crop, mirror, turn),
                `crop_flip` (shift by up to 4 pixels and mirror half; much cheaper) or `none`.
            normalize: `published` (mean and deviation of the data set), `pretrained` (of the network `pretrained_cfg`,
                with its resizing and middle crop instead of the published squash), or a mapping of `mean` and `std` to
                three numbers each.
            pretrained_cfg: Name of a network of timm, for `normalize: pretrained`.
            skip_corrupt: Leave out images that cannot be decoded, with a warning that counts them. Setup decodes all
                images for this, which takes minutes for ImageNet. Without it, reading a corrupt image is an error that
                names it.
            seed: Decides which images are held out, the order of training and calibration images, and, with epoch and
                index of an image, its augmentation.

        Raises:
            ValueError: An argument is out of its range.
        """
        super().__init__(batch_size, eval_batch_size, num_workers, held_out, test_images, seed)
        check_choice("`augment`", augment, AUGMENTATIONS)
        check_whole("`image_size`", 1 if image_size is None else image_size, 1)
        self.root = root
        self.augment = augment
        self.skip_corrupt = skip_corrupt
        self._set_normalization(normalize, pretrained_cfg)
        self.image_size = image_size or (self.network.size if self.network else self.size)

    def _set_normalization(self, normalize: dict[str, list[float]] | str, pretrained_cfg: str | None) -> None:
        if (normalize == "pretrained") != (pretrained_cfg is not None):
            raise ValueError(
                "`pretrained_cfg` must name a network of timm if normalize is pretrained, and be null otherwise, got "
                f"{pretrained_cfg!r} with normalize {normalize!r}"
            )
        self.network = None if pretrained_cfg is None else pretrained_input(pretrained_cfg)
        if self.network is not None:
            self.mean, self.deviation = self.network.mean, self.network.deviation
        elif normalize != "published":
            own = normalize if isinstance(normalize, dict) else {}
            self.mean, self.deviation = (tuple(map(float, own.get(key, ()))) for key in ("mean", "std"))
            if len(own) != 2 or not len(self.mean) == len(self.deviation) == 3 or min(self.deviation) <= 0:
                raise ValueError(
                    "`normalize` must be published, pretrained, or a mapping of mean and std to three numbers "
                    f"each, std above 0, got {normalize!r}"
                )

    def dataset(self, split: ImageSplit[Any], indices: Tensor, augment: bool) -> Dataset[Sample]:
        """See `ImageDataModule.dataset`."""
        augmentation = self.augment if augment else "none"
        shift = RandomCropFlip(PADDING) if augmentation == "crop_flip" else None
        preparation = Preparation(self.image_size, self.mean, self.deviation, shift, self.seed)
        in_memory = isinstance(split.images, Tensor)
        own_size = in_memory and split.images.shape[-2:] == (self.image_size, self.image_size)
        if own_size and augmentation != "published" and self.network is None:
            return InMemoryImages(split.images, split.labels, indices, preparation)
        if augmentation == "published":
            interpolation = self.network.interpolation if self.network else "bilinear"
            transform = published_training(self.image_size, round(self.image_size * self.margin), interpolation)
        elif self.network is not None:
            transform = pretrained_evaluation(self.image_size, self.network)
        else:
            transform = published_evaluation(self.image_size)
        images = TensorAsPilImages(split.images) if in_memory else split.images
        return TransformedImages(images, split.labels, indices, transform, preparation)
