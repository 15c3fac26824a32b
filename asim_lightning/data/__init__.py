"""Data modules whose samples carry their index, ``(image, label, index)``, and the parts they are built of."""

from asim_lightning.data.augmentation import RandomCropFlip
from asim_lightning.data.cifar import CIFAR10, CIFAR100
from asim_lightning.data.fashion import FashionMNIST
from asim_lightning.data.image_folder import ImageFolder
from asim_lightning.data.imagenet import ImageNet
from asim_lightning.data.images import InMemoryImages, Preparation
from asim_lightning.data.indexed import IndexedDataset
from asim_lightning.data.packaged import PackagedImageNet
from asim_lightning.data.samplers import evaluation_sampler, training_sampler

__all__ = [
    "CIFAR10",
    "CIFAR100",
    "FashionMNIST",
    "ImageFolder",
    "ImageNet",
    "InMemoryImages",
    "IndexedDataset",
    "PackagedImageNet",
    "Preparation",
    "RandomCropFlip",
    "evaluation_sampler",
    "training_sampler",
]
