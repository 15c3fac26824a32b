"""Fashion-MNIST as a Lightning data module: the embedded subset, or the full set from a folder."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from asim_lightning.data.augmentation import RandomCropFlip
from asim_lightning.data.balanced import draw_balanced, shuffled
from asim_lightning.data.folder import IMAGE_SIZE, NUM_CLASSES, Split, read_split
from asim_lightning.data.images import InMemoryImages, Preparation, Sample
from asim_lightning.data.samplers import evaluation_sampler, training_sampler

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


class FashionMNIST(LightningDataModule):
    """Grey images of clothing, 28 x 28, ten classes; batches are ``[images, labels, indices]``.

    images: float32, (batch, 1, image_size, image_size), normalised; labels: int64, (batch,); indices: int64, (batch,),
    where each image stands in the file it was read from. Use it with ``Trainer(use_distributed_sampler=False)``: the
    loaders share the images out over the processes themselves.

    Attributes:
        num_classes: 10.
        in_channels: 1.
        class_names: What the labels 0 to 9 mean.
    """

    num_classes = NUM_CLASSES
    in_channels = 1
    class_names = CLASS_NAMES

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
            seed: Decides which images are held out, and the order of training and calibration images.

        Raises:
            ValueError: An argument is out of its range.
        """
        super().__init__()
        _at_least("batch_size", batch_size, 1)
        _at_least("eval_batch_size", eval_batch_size, 1)
        _at_least("num_workers", num_workers, 0)
        _at_least("image_size", image_size, IMAGE_SIZE)
        _at_least("test_images", 1 if test_images is None else test_images, 1)
        if held_out < 0 or held_out % NUM_CLASSES:
            raise ValueError(f"held_out must be 0 or a positive multiple of the {NUM_CLASSES} classes, got {held_out}.")
        if not 0 <= seed < 2**32:
            raise ValueError(f"seed must be 0 to 2^32 - 1, got {seed}.")
        self.root = root
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.num_workers = num_workers
        self.held_out = held_out
        self.test_images = test_images
        self.image_size = image_size
        self.augment = augment
        self.seed = seed
        self._train: Split | None = None
        self._test: Split | None = None

    def setup(self, stage: str | None = None) -> None:
        """Reads the images that the stage needs, once; the loaders call it where nobody did.

        Args:
            stage: fit, validate, test, predict, or null for all.

        Raises:
            FileNotFoundError: The folder or one of its files is missing.
            ValueError: A file is corrupt, or held_out or test_images asks for more images than there are.
        """
        if stage in ("fit", None) or (stage == "validate" and self.held_out):
            self._training_split()
        if stage in ("test", "predict", None) or not self.held_out:
            self._test_split()

    def train_dataloader(self) -> DataLoader[Sample]:
        """Shuffled, augmented training images."""
        dataset = self._training_images(self._split_positions()[0], augment=self.augment)
        sampler = training_sampler(dataset, self.seed)
        return self._loader(dataset, self.batch_size, sampler=sampler)

    def val_dataloader(self) -> DataLoader[Sample]:
        """The held-out training images in order, or the test images where none are held out."""
        if not self.held_out:
            return self.test_dataloader()
        dataset = self._training_images(self._split_positions()[1], augment=False)
        return self._loader(dataset, self.eval_batch_size, sampler=evaluation_sampler(dataset))

    def test_dataloader(self) -> DataLoader[Sample]:
        """The test images in order, each once over all processes."""
        images, labels = self._test_split()
        count = len(images) if self.test_images is None else self.test_images
        dataset = InMemoryImages(images[:, None], labels, torch.arange(count), self._preparation(augment=False))
        return self._loader(dataset, self.eval_batch_size, sampler=evaluation_sampler(dataset))

    def predict_dataloader(self) -> DataLoader[Sample]:
        """The test images, as in :meth:`test_dataloader`."""
        return self.test_dataloader()

    def calibration_dataloader(self, images: int = 512) -> DataLoader[Sample]:
        """Training images for fitting input ranges: not augmented, none of them held out, always in the same order.

        Every process gets all of them, so that every process fits the same ranges.

        Args:
            images: How many; all there are where they are fewer.

        Raises:
            ValueError: ``images`` is below 1.
        """
        _at_least("images", images, 1)
        dataset = self._training_images(self._split_positions()[0], augment=False)
        chosen = Subset(dataset, shuffled(len(dataset), self.seed)[:images].tolist())
        return self._loader(chosen, self.eval_batch_size)

    def _training_split(self) -> Split:
        if self._train is None:
            train = read_split(self.root, "train")
            available = NUM_CLASSES * int(torch.bincount(train.labels, minlength=NUM_CLASSES).min())
            if self.held_out >= max(available, 1):
                raise ValueError(
                    f"held_out must be below {available} to leave training images of every class, got {self.held_out}."
                )
            self._train = train
        return self._train

    def _test_split(self) -> Split:
        if self._test is None:
            test = read_split(self.root, "test")
            if self.test_images is not None and self.test_images > len(test.images):
                raise ValueError(
                    f"test_images must be 1 to {len(test.images)}, the test images there are, got {self.test_images}."
                )
            self._test = test
        return self._test

    def _split_positions(self) -> tuple[Tensor, Tensor]:
        """Positions of the images to train on and of the held-out ones, int64, both ascending."""
        labels = self._training_split().labels
        validation = draw_balanced(labels, self.held_out // NUM_CLASSES, NUM_CLASSES, self.seed)
        held = torch.zeros(len(labels), dtype=torch.bool)  # (images,)
        held[validation] = True
        return torch.nonzero(~held).flatten(), torch.nonzero(held).flatten()

    def _training_images(self, positions: Tensor, augment: bool) -> InMemoryImages:
        images, labels = self._training_split()
        return InMemoryImages(images[:, None], labels, positions, self._preparation(augment))

    def _preparation(self, augment: bool) -> Preparation:
        return Preparation(self.image_size, MEAN, DEVIATION, RandomCropFlip() if augment else None)

    def _loader(self, dataset: Any, batch_size: int, sampler: Any = None) -> DataLoader[Sample]:
        return DataLoader(
            dataset,
            batch_size=batch_size,
            sampler=sampler,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
        )


def _at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}.")
