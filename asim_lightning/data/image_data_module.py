"""The base of this package's data modules: which images each loader reads, and in which order."""

from __future__ import annotations

from typing import Any

import numpy
import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, Subset

from asim_lightning.checks import check_at_least
from asim_lightning.data.datasets import Sample
from asim_lightning.data.loader import TrainingLoader
from asim_lightning.data.samplers import evaluation_sampler, training_sampler
from asim_lightning.data.splits import ImageSplit, SplitName, shuffled, spread


class ImageDataModule(LightningDataModule):
    """Labelled images; batches are ``[images, labels, indices]``, float32, int64 and int64.

    Use it with ``Trainer(use_distributed_sampler=False)``: the loaders divide the images among the processes
    themselves. A subclass reads a split (``_read``), makes data sets of it (``_dataset``), and sets:

    Attributes:
        num_classes: Labels are 0 to num_classes - 1.
        in_channels: Channels of an image.
    """

    num_classes: int
    in_channels: int

    def __init__(
        self,
        batch_size: int,
        eval_batch_size: int,
        num_workers: int,
        held_out: int,
        test_images: int | None,
        seed: int,
    ) -> None:
        """Checks the arguments, which the subclasses describe; reads nothing."""
        super().__init__()
        check_at_least("batch_size", batch_size, 1)
        check_at_least("eval_batch_size", eval_batch_size, 1)
        check_at_least("num_workers", num_workers, 0)
        check_at_least("held_out", held_out, 0)
        check_at_least("test_images", 1 if test_images is None else test_images, 1)
        if not 0 <= seed < 2**32:
            raise ValueError(f"seed must be 0 to 2^32 - 1, got {seed}.")
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

    def setup(self, stage: str | None = None) -> None:
        """Reads the images that the stage needs, once; the loaders call it if nobody did.

        Args:
            stage: fit, validate, test, predict, or null for all.

        Raises:
            FileNotFoundError: The folder or one of its files is missing.
            ValueError: A file is corrupt, or held_out or test_images asks for more images than there are.
        """
        if stage in ("fit", None) or (stage == "validate" and self.held_out):
            self._split("train")
        if stage in ("fit", "validate", None) and not self.held_out:
            self._split(self._validation_split())
        if stage in ("test", "predict", None):
            self._split("test")

    def train_dataloader(self) -> DataLoader[Sample]:
        """Shuffled, augmented training images."""
        dataset = self._dataset(self._split("train"), self._training_and_held_out()[0], augment=True)
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
        """Continues in the middle of an epoch, as `state_dict` says.

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
            return self._evaluation_loader(self._validation_split())
        dataset = self._dataset(self._split("train"), self._training_and_held_out()[1], augment=False)
        return self._loader(dataset, self.eval_batch_size, evaluation_sampler(dataset))

    def test_dataloader(self) -> DataLoader[Sample]:
        """The test images, always in the same order, each once over all processes."""
        return self._evaluation_loader("test")

    predict_dataloader = test_dataloader

    def first_test_batches(self, samples: int, size: int) -> DataLoader[Sample]:
        """Batches of the first test images in the order of their loader, even if `test_images` is smaller."""
        split = self._split("test")
        return DataLoader(self._dataset(split, split.order[:samples], augment=False), size)

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
        dataset = self._dataset(self._split("train"), indices, augment=False)
        chosen = shuffled(len(indices), self.seed)[:images].tolist()
        return self._loader(Subset(dataset, chosen), self.eval_batch_size)

    def _read(self, split: SplitName) -> ImageSplit[Any]:
        raise NotImplementedError

    def _dataset(self, split: ImageSplit[Any], indices: Tensor, augment: bool) -> Dataset[Sample]:
        raise NotImplementedError

    def _validation_split(self) -> SplitName:
        return "test"

    def _held_out_limit(self, labels: Tensor) -> int:
        return 1 + int((torch.bincount(labels) - 1).clamp(min=0).sum())

    def _draw_held_out(self, labels: Tensor) -> Tensor:
        order = spread(labels, self.seed, shuffle=True)
        # The last image of each class stays in training; _held_out_limit relies on it.
        last = numpy.zeros(1 + int(labels.max()), dtype=numpy.int64)  # (classes,)
        last[labels[order].numpy()] = order.numpy()  # NumPy keeps the last of several values for one element
        return order[~torch.isin(order, torch.from_numpy(last[labels.unique().numpy()]))][: self.held_out]

    def _split(self, name: SplitName) -> ImageSplit[Any]:
        if name not in self._splits:
            split = self._read(name)
            count = len(split.order)
            if name == "train":
                limit = max(self._held_out_limit(split.labels[split.order]), 1)
                if self.held_out >= limit:
                    raise ValueError(
                        f"held_out must be below {limit} to leave training images of every class, got {self.held_out}."
                    )
            elif self.test_images is not None and self.test_images > count:
                raise ValueError(
                    f"test_images must be 1 to {count}, the number of test images, got {self.test_images}."
                )
            self._splits[name] = split
        return self._splits[name]

    def _training_and_held_out(self) -> tuple[Tensor, Tensor]:
        """Indices of the images to train on, ascending, and of the held-out images, in evaluation's order; int64."""
        split = self._split("train")
        readable = split.order.sort().values
        held = torch.zeros(len(split.labels), dtype=torch.bool)  # (images,)
        if self.held_out:
            held[readable[self._draw_held_out(split.labels[readable])]] = True
        return readable[~held[readable]], split.order[held[split.order]]

    def _evaluation_loader(self, name: SplitName) -> DataLoader[Sample]:
        split = self._split(name)
        dataset = self._dataset(split, split.order[: self.test_images], augment=False)
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
