"""Lightning data modules of labelled images and of texts, and the data sets, samplers and loaders that they consist of.

Image: pixels, as a file, a PIL image, uint8 or, prepared for the network, float32.
Split: the images of train, val or test, in the order in which they are listed.
Index: the number of an image in its whole split, even if only a part is used; simulated noise is keyed by it.
Sample: one item of a data set, ``(image, label, index)``.
Position: the number of a sample in a data set; samplers yield it, with the epoch in its high bits in training.
Deviation: standard deviation of the pixels of a channel.
"""

from typing import TYPE_CHECKING

from asim_lightning.lazy import lazy

if TYPE_CHECKING:
    from asim_lightning.data.cifar import CIFAR10, CIFAR100
    from asim_lightning.data.colour import ColourDataModule
    from asim_lightning.data.datasets import IndexedDataset, InMemoryImages, Preparation
    from asim_lightning.data.fashion import FashionMNIST
    from asim_lightning.data.image_data_module import ImageDataModule
    from asim_lightning.data.image_folder import ImageFolder
    from asim_lightning.data.imagenet import ImageNet
    from asim_lightning.data.packaged import PackagedImageNet
    from asim_lightning.data.samplers import evaluation_sampler, training_sampler
    from asim_lightning.data.splits import ImageSplit
    from asim_lightning.data.text import Text
    from asim_lightning.data.transforms import RandomCropFlip

_FILES = {
    "CIFAR10": "cifar",
    "CIFAR100": "cifar",
    "ColourDataModule": "colour",
    "FashionMNIST": "fashion",
    "ImageDataModule": "image_data_module",
    "ImageFolder": "image_folder",
    "ImageNet": "imagenet",
    "ImageSplit": "splits",
    "InMemoryImages": "datasets",
    "IndexedDataset": "datasets",
    "PackagedImageNet": "packaged",
    "Preparation": "datasets",
    "RandomCropFlip": "transforms",
    "Text": "text",
    "evaluation_sampler": "samplers",
    "training_sampler": "samplers",
}
__all__ = [
    "CIFAR10",
    "CIFAR100",
    "ColourDataModule",
    "FashionMNIST",
    "ImageDataModule",
    "ImageFolder",
    "ImageNet",
    "ImageSplit",
    "InMemoryImages",
    "IndexedDataset",
    "PackagedImageNet",
    "Preparation",
    "RandomCropFlip",
    "Text",
    "evaluation_sampler",
    "training_sampler",
]

# a command reads one data set
__getattr__ = lazy(__name__, _FILES)
