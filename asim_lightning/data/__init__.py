"""Data modules whose samples carry their index, ``(image, label, index)``, and the parts they are built of."""

from asim_lightning.data.augmentation import RandomCropFlip
from asim_lightning.data.fashion import FashionMNIST
from asim_lightning.data.images import InMemoryImages, Preparation
from asim_lightning.data.indexed import IndexedDataset
from asim_lightning.data.samplers import evaluation_sampler, training_sampler

__all__ = [
    "FashionMNIST",
    "InMemoryImages",
    "IndexedDataset",
    "Preparation",
    "RandomCropFlip",
    "evaluation_sampler",
    "training_sampler",
]
