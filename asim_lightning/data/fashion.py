"""Fashion-MNIST as a Lightning data module: the embedded subset, or the full set from a folder."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from asim_lightning.checks import check_at_least
from asim_lightning.data.augmentation import RandomCropFlip
from asim_lightning.data.balanced import draw_balanced
from asim_lightning.data.fashion_files import IMAGE_SIZE, NUM_CLASSES, read_split
from asim_lightning.data.image_data_module import ImageDataModule
from asim_lightning.data.prepared_images import InMemoryImages, Preparation
from asim_lightning.data.splits import ImageSplit, SplitName

# Of the 60,000 training images, in 0..1; also used for the subset, so that checkpoints fit both.
MEAN = 0.2860
DEVIATION = 0.3530

CLASS_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


class FashionMNIST(ImageDataModule):
    """Grey images of clothing, 28 x 28, ten classes; batches are ``[images, labels, indices]``.

    images: float32, (batch, 1, image_size, image_size), normalised; labels: int64, (batch,); indices: int64, (batch,),
    which number the images in their file. Use it with ``Trainer(use_distributed_sampler=False)``: the loaders share the
    images out over the processes themselves.

    Attributes:
        num_classes: 10.
        in_channels: 1.
        class_names: What the labels 0 to 9 mean.
        mean: Mean of the pixels, in 0..1.
        deviation: Standard deviation of the pixels, in 0..1.
    """

    num_classes = NUM_CLASSES
    in_channels = 1
    class_names = CLASS_NAMES
    mean = (MEAN,)
    deviation = (DEVIATION,)

    def __init__(
        self,
        root: str | None = None,
        batch_size: int = 128,
        eval_batch_size: int = 100,
        num_workers: int = 0,
        held_out: int = 0,
        test_images: int | None = None,
        image_size: int = IMAGE_SIZE,
        augment: bool = True,
        seed: int = 0,
    ) -> None:
        """Checks the arguments; reads nothing yet.

        Args:
            root: Folder with the four IDX files, gzipped or not, directly or in FashionMNIST/raw below it; null uses
                the embedded subset of 10,000 training and 2,000 test images.
            batch_size: Training images a batch, on each process.
            eval_batch_size: Images a batch in validation, test, prediction and calibration, on each process.
            num_workers: Processes that prepare batches; 0 is fast enough for this data set.
            held_out: This many training images, equally many of each class, become the validation set; 0 validates
                on the test images.
            test_images: Use only the first so many test images; null uses all.
            image_size: Height and width in pixels, 28 or more; zeros are added around the image.
            augment: Shift training images by up to 2 pixels and mirror half of them.
            seed: Decides which images are held out, the order of training and calibration images, and, with epoch and
                index of an image, its augmentation.

        Raises:
            ValueError: An argument is out of its range.
        """
        if held_out < 0 or held_out % NUM_CLASSES:
            raise ValueError(f"held_out must be 0 or a positive multiple of the {NUM_CLASSES} classes, got {held_out}.")
        super().__init__(batch_size, eval_batch_size, num_workers, held_out, test_images, seed)
        check_at_least("image_size", image_size, IMAGE_SIZE)
        self.root = root
        self.image_size = image_size
        self.augment = augment

    def _read(self, split: SplitName) -> ImageSplit[Tensor]:
        images, labels = read_split(self.root, "train" if split == "train" else "test")
        return ImageSplit(images[:, None], labels, torch.arange(len(images)))

    def _dataset(self, split: ImageSplit[Any], indices: Tensor, augment: bool) -> InMemoryImages:
        augmentation = RandomCropFlip() if augment and self.augment else None
        preparation = Preparation(self.image_size, MEAN, DEVIATION, augmentation, self.seed)
        return InMemoryImages(split.images, split.labels, indices, preparation)

    def _held_out_limit(self, labels: Tensor) -> int:
        return NUM_CLASSES * int(torch.bincount(labels, minlength=NUM_CLASSES).min())

    def _draw_held_out(self, labels: Tensor) -> Tensor:
        # Not `spread`, as other data modules do: which images are held out is fixed by what was trained before.
        return draw_balanced(labels, self.held_out // NUM_CLASSES, NUM_CLASSES, self.seed)
