"""The base of this package's data modules: which images each loader reads, and in which order."""

from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, Subset

from asim_lightning.checks import check_whole
from asim_lightning.data.datasets import Sample
from asim_lightning.data.loader import TrainingLoader
from asim_lightning.data.samplers import evaluation_sampler, training_sampler
from asim_lightning.data.splits import ImageSplit, SplitName, shuffled, spread


class ImageDataModule(LightningDataModule):
    """Labelled images; batches are ``[images, labels, indices]``, float32, int64 and int64.

    Use it with ``Trainer(use_distributed_sampler=False)``: the loaders divide the images among the processes
    themselves. A subclass implements `read` and `dataset`, and sets the attributes. It may also override
    `validation_split`, `held_out_limit` and `draw_held_out`.

    Attributes:
        num_classes: Labels are 0 to num_classes - 1.
        in_channels: Channels of an image.
        image_size: Height and width of an image, pixels.

    Examples:
        >>> import torch
        >>> from asim_lightning.data import ImageDataModule, ImageSplit, InMemoryImages, Preparation
        >>> class Black(ImageDataModule):
        ...     num_classes, in_channels, image_size = 2, 1, 8
        ...     def read(self, split):
        ...         return ImageSplit(torch.zeros(9, 1, 8, 8, dtype=torch.uint8), torch.arange(9) % 2, torch.arange(9))
        ...     def dataset(self, split, indices, augment):
        ...         return InMemoryImages(split.images, split.labels, indices, Preparation(8, mean=0.5, deviation=0.5))
        ...
        >>> next(iter(Black(eval_batch_size=4).test_dataloader()))[0].shape
        torch.Size([4, 1, 8, 8])
    """

    num_classes: int
    in_channels: int
    image_size: int

    def __init__(
        self,
        batch_size: int = 128,
        eval_batch_size: int = 100,
        num_workers: int = 0,
        held_out: int = 0,
        test_images: int | None = None,
        seed: int = 0,
    ) -> None:
        """Check the arguments; read nothing yet.

        Args:
            batch_size: Training images a batch, on each process.
            eval_batch_size: Images a batch in validation, test, prediction and calibration, on each process.
            num_workers: Processes that prepare batches.
            held_out: Number of training images that become the validation set; 0 validates on the images of
                `validation_split`.
            test_images: Use only this many first test images; null uses all.
            seed: Decides which images are held out, and the order of training and calibration images.

        Raises:
            ValueError: An argument is out of its range.
        """
        super().__init__()
        check_whole("`batch_size`", batch_size, 1)
        check_whole("`eval_batch_size`", eval_batch_size, 1)
        check_whole("`num_workers`", num_workers, 0)
        check_whole("`held_out`", held_out, 0)
        check_whole("`test_images`", 1 if test_images is None else test_images, 1)
        check_whole("`seed`", seed, 0, 2**32 - 1)
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.num_workers = num_workers
        self.held_out = held_out
        self.test_images = test_images
        self.seed = seed
        self._splits: dict[SplitName, ImageSplit[Any]] = {}
        self._training_loader: DataLoader[Sample] | None = None
        self._resumed: dict[str, Any] = {}

    def __getstate__(self) -> dict[str, Any]:
        """The settings, without images: a copy, also in another process, reads the images itself."""
        return {**vars(self), "trainer": None, "_splits": {}, "_training_loader": None}

    @property
    def described(self) -> str:
        """The data in a line for a command to print; empty: the settings say it all."""
        return ""

    def setup(self, stage: str | None = None) -> None:
        """Read the images that the stage needs, once; the loaders call it if nobody did.

        Args:
            stage: fit, validate, test, predict, or null for all.

        Raises:
            FileNotFoundError: The folder or one of its files is missing.
            ValueError: A file is corrupt, or held_out or test_images asks for more images than there are.
        """
        if stage in ("fit", None) or (stage == "validate" and self.held_out):
            self._split("train")
        if stage in ("fit", "validate", None) and not self.held_out:
            self._split(self.validation_split())
        if stage in ("test", "predict", None):
            self._split("test")

    def train_dataloader(self) -> DataLoader[Sample]:
        """Shuffled, augmented training images."""
        dataset = self.dataset(self._split("train"), self._training_and_held_out()[0], augment=True)
        sampler = training_sampler(dataset, self.seed, with_epoch=True)
        self._training_loader = self._loader(dataset, self.batch_size, sampler, TrainingLoader)
        self._training_loader.held_out = self.held_out  # type: ignore[attr-defined]
        self.load_state_dict(self._resumed)
        return self._training_loader

    def state_dict(self) -> dict[str, Any]:
        """Batches taken in the epoch (0 at its end, even if it is limited), and the settings that decide the order."""
        if self._training_loader is None:
            return {}
        state: dict[str, Any] = self._training_loader.state_dict()  # type: ignore[attr-defined]
        whole = len(self._training_loader) if self.trainer is None else self.trainer.num_training_batches
        return {**state, "batches": 0 if state["batches"] >= whole else state["batches"]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue in the middle of an epoch, as `state_dict` says.

        Lightning also gives the loader its own state, except if it asked for the loader before it read the checkpoint,
        as it does to count the steps of a learning rate schedule.

        Raises:
            ValueError: The rest of the epoch would be read in another order (`TrainingLoader`).
        """
        loader, self._resumed = self._training_loader, dict(state_dict)
        if loader is not None and self._resumed:
            loader.load_state_dict(self._resumed)  # type: ignore[attr-defined]
            self._resumed = {}

    def val_dataloader(self) -> DataLoader[Sample]:
        """The held-out training images; if none are held out, the validation or test images."""
        if not self.held_out:
            return self._evaluation_loader(self.validation_split())
        dataset = self.dataset(self._split("train"), self._training_and_held_out()[1], augment=False)
        return self._loader(dataset, self.eval_batch_size, evaluation_sampler(dataset))

    def test_dataloader(self) -> DataLoader[Sample]:
        """The test images, always in the same order, each once over all processes."""
        return self._evaluation_loader("test")

    predict_dataloader = test_dataloader

    def first_test_batches(self, samples: int, size: int) -> DataLoader[Sample]:
        """Batches of the first test images in the order of their loader, even if `test_images` is smaller."""
        split = self._split("test")
        return DataLoader(self.dataset(split, split.order[:samples], augment=False), size)

    def test_split(self) -> ImageSplit[Any]:
        """All test images with their labels and their order, even if `test_images` is smaller."""
        return self._split("test")

    def test_indices(self) -> Tensor:
        """Indices of the test images in the order of their loader, int64; `test_images` takes the first of them."""
        return self.test_split().order[: self.test_images]

    @property
    def all_test_images(self) -> int:
        """Number of all test images, whatever `test_images` is."""
        return len(self._split("test").order)

    def calibration_dataloader(self, images: int = 512) -> DataLoader[Sample]:
        """Training images for fitting input ranges: not augmented, not held out, always in the same order.

        Every process gets all of them, so that every process fits the same ranges. If there are fewer, all are used.
        """
        indices = self._training_and_held_out()[0]
        dataset = self.dataset(self._split("train"), indices, augment=False)
        chosen = shuffled(len(indices), self.seed)[:images].tolist()
        return self._loader(Subset(dataset, chosen), self.eval_batch_size)

    def read(self, split: SplitName) -> ImageSplit[Any]:
        """The images of a split, their labels, and their order in evaluation; called once a split.

        Args:
            split: "train", "test", or another name that `validation_split` gives.

        Raises:
            FileNotFoundError: The folder or one of its files is missing.
            ValueError: A file is corrupt.
        """
        raise NotImplementedError

    def dataset(self, split: ImageSplit[Any], indices: Tensor, augment: bool) -> Dataset[Sample]:
        """A data set of some images of a split, with samples ``(image, label, index)``.

        Args:
            split: What `read` gave.
            indices: The images of the data set, in its order, int64. # (samples,)
            augment: Whether training images are augmented.
        """
        raise NotImplementedError

    def validation_split(self) -> SplitName:
        """Name of the split to validate on if no training images are held out."""
        return "test"

    def held_out_limit(self, labels: Tensor) -> int:
        """Smallest number of held-out images that is refused.

        Args:
            labels: Label of each training image in use, int64. # (images in use,)
        """
        return 1 + int((torch.bincount(labels) - 1).clamp(min=0).sum())

    def draw_held_out(self, labels: Tensor) -> Tensor:
        """Draw `held_out` images, with classes as balanced as possible. Each class keeps an image for training.

        Args:
            labels: Label of each training image in use, int64. # (images in use,)

        Returns:
            Indices into `labels`, int64. # (held_out,)
        """
        order = spread(labels, self.seed, shuffle=True)
        # the last image of each class stays in training; `held_out_limit` relies on it
        last = np.zeros(1 + int(labels.max()), dtype=np.int64)  # (classes,)
        last[labels[order].numpy()] = order.numpy()  # NumPy keeps the last of several values for one element
        return order[~torch.isin(order, torch.from_numpy(last[labels.unique().numpy()]))][: self.held_out]

    def _split(self, name: SplitName) -> ImageSplit[Any]:
        if name not in self._splits:
            split = self.read(name)
            count = len(split.order)
            if name == "train":
                limit = max(self.held_out_limit(split.labels[split.order]), 1)
                if self.held_out >= limit:
                    raise ValueError(
                        f"`held_out` must be below {limit} to leave training images of every class, got {self.held_out}"
                    )
            elif self.test_images is not None and self.test_images > count:
                raise ValueError(
                    f"`test_images` must be 1 to {count}, the number of test images, got {self.test_images}"
                )
            self._splits[name] = split
        return self._splits[name]

    def _training_and_held_out(self) -> tuple[Tensor, Tensor]:
        """Indices of the images to train on, ascending, and of the held-out images, in evaluation's order; int64."""
        split = self._split("train")
        readable = split.order.sort().values
        held = torch.zeros(len(split.labels), dtype=torch.bool)  # (images,)
        if self.held_out:
            held[readable[self.draw_held_out(split.labels[readable])]] = True
        return readable[~held[readable]], split.order[held[split.order]]

    def _evaluation_loader(self, name: SplitName) -> DataLoader[Sample]:
        split = self._split(name)
        dataset = self.dataset(split, split.order[: self.test_images], augment=False)
        return self._loader(dataset, self.eval_batch_size, evaluation_sampler(dataset))

    def _loader(
        self,
        dataset: Any,
        batch_size: int,
        sampler: Sampler[Any] | None = None,
        kind: type[DataLoader[Sample]] = DataLoader,
    ) -> DataLoader[Sample]:
        strategy = getattr(self.trainer, "strategy", None)
        return kind(
            dataset,
            batch_size=batch_size,
            sampler=sampler,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=strategy is not None and strategy.root_device.type == "cuda",
        )
