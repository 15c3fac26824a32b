"""Fashion-MNIST as a Lightning data module: the embedded subset, or the full set from a folder of IDX files."""

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from asim_lightning.checks import check_whole
from asim_lightning.data.datasets import InMemoryImages, Preparation
from asim_lightning.data.image_data_module import ImageDataModule
from asim_lightning.data.splits import FileSplit, ImageSplit, SplitName, draw_balanced
from asim_lightning.data.transforms import RandomCropFlip

IMAGE_SIZE = 28
NUM_CLASSES = 10
SUBSET = Path(__file__).parent / "fashion_mnist"
"""Folder of the embedded subset."""
PREFIX: dict[FileSplit, str] = {"train": "train", "test": "t10k"}
"""Beginning of the published file names."""

# Computed from the 60,000 training images, in 0..1; also used for the subset, so that checkpoints fit both.
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
    the numbers of the images in their file. Use it with ``Trainer(use_distributed_sampler=False)``: the loaders divide
    the images among the processes themselves.

    Examples:
        >>> from asim_lightning.data import FashionMNIST
        >>> images, labels, indices = next(iter(FashionMNIST(test_images=100, eval_batch_size=50).test_dataloader()))
        >>> images.shape, indices[:3].tolist()
        (torch.Size([50, 1, 28, 28]), [0, 1, 2])
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
        """Check the arguments; read nothing yet.

        Args:
            root: Folder with the four IDX files, gzipped or not, directly or in FashionMNIST/raw below it; null uses
                the embedded subset of 10,000 training and 2,000 test images.
            batch_size: Training images a batch, on each process.
            eval_batch_size: Images a batch in validation, test, prediction and calibration, on each process.
            num_workers: Processes that prepare batches; 0 is fast enough for this data set.
            held_out: Number of training images, equally many of each class, that become the validation set; 0
                validates on the test images.
            test_images: Use only this many first test images; null uses all.
            image_size: Height and width in pixels, 28 or more; zeros are added around the image.
            augment: Shift training images by up to 2 pixels and mirror half of them.
            seed: Decides which images are held out, the order of training and calibration images, and, with epoch and
                index of an image, its augmentation.

        Raises:
            ValueError: An argument is out of its range.
        """
        if held_out < 0 or held_out % NUM_CLASSES:
            raise ValueError(
                f"`held_out` must be 0 or a positive multiple of the {NUM_CLASSES} classes, got {held_out}"
            )
        super().__init__(batch_size, eval_batch_size, num_workers, held_out, test_images, seed)
        check_whole("`image_size`", image_size, IMAGE_SIZE)
        self.root = root
        self.image_size = image_size
        self.augment = augment

    def read(self, split: SplitName) -> ImageSplit[Tensor]:
        """See `ImageDataModule.read`."""
        root = SUBSET if self.root is None else self.root
        images, labels = read_split(root, "train" if split == "train" else "test")
        return ImageSplit(images[:, None], labels, torch.arange(len(images)))

    def dataset(self, split: ImageSplit[Any], indices: Tensor, augment: bool) -> InMemoryImages:
        """See `ImageDataModule.dataset`."""
        augmentation = RandomCropFlip() if augment and self.augment else None
        preparation = Preparation(self.image_size, MEAN, DEVIATION, augmentation, self.seed)
        return InMemoryImages(split.images, split.labels, indices, preparation)

    def held_out_limit(self, labels: Tensor) -> int:
        """See `ImageDataModule.held_out_limit`; each class has equally many held-out images."""
        return NUM_CLASSES * int(torch.bincount(labels, minlength=NUM_CLASSES).min())

    def draw_held_out(self, labels: Tensor) -> Tensor:
        """See `ImageDataModule.draw_held_out`."""
        # not `spread`, as in other data modules: earlier trainings have fixed which images are held out.
        return draw_balanced(labels, self.held_out // NUM_CLASSES, NUM_CLASSES, self.seed)


def read_split(root: str | Path, split: FileSplit) -> tuple[Tensor, Tensor]:
    """Images, uint8, (images, 28, 28), and labels, int64, (images,), in the order of the files.

    Raises:
        FileNotFoundError: The folder or one of its files is missing.
        ValueError: A file is corrupt, or images and labels do not belong together.
    """
    image_file = _find(root, f"{PREFIX[split]}-images-idx3-ubyte")
    label_file = _find(root, f"{PREFIX[split]}-labels-idx1-ubyte")
    images, labels = read_idx(image_file), read_idx(label_file)
    if images.shape[1:] != (IMAGE_SIZE, IMAGE_SIZE):
        raise ValueError(f"{image_file} must hold images of 28 x 28, got values of shape {tuple(images.shape)}")
    if labels.shape != images.shape[:1]:
        raise ValueError(
            f"{label_file} must hold one label for each of {len(images)} images, got values of shape "
            f"{tuple(labels.shape)}"
        )
    if int(labels.max()) >= NUM_CLASSES:
        raise ValueError(f"{label_file} must hold labels from 0 to {NUM_CLASSES - 1}, got {int(labels.max())}")
    return images, labels.long()


def _find(root: str | Path, name: str) -> Path:
    folder = Path(root).expanduser()
    for below in (folder, folder / "FashionMNIST" / "raw"):
        # the uncompressed file first: torchvision leaves both, and the uncompressed one reads faster.
        for file in (below / name, below / f"{name}.gz"):
            if file.is_file():
                return file
    lacking = f"lacks {name}[.gz]" if folder.is_dir() else "does not exist or is not a folder"
    raise FileNotFoundError(
        f"The Fashion-MNIST folder {folder} {lacking}; expected "
        f"{folder}/[FashionMNIST/raw/]{{train,t10k}}-{{images-idx3,labels-idx1}}-ubyte[.gz]"
    )


def read_idx(file: Path) -> Tensor:
    """The uint8 tensor in an IDX file, which may end in ``.gz``: a big-endian header of magic number and shape, values.

    Raises:
        ValueError: The file is truncated, corrupt or of another format.
    """
    try:
        content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{file} must be a whole gzip file, but is truncated or corrupt ({error})") from error
    dimensions = content[3] if len(content) > 3 else 0
    start = 4 + 4 * dimensions
    if content[:3] != b"\0\0\x08" or dimensions == 0 or len(content) < start:
        raise ValueError(f"{file} must be an IDX file of unsigned bytes, but begins with 0x{content[:4].hex()}")
    shape = struct.unpack(f">{dimensions}I", content[4:start])
    size, held = math.prod(shape), len(content) - start
    if held != size or size == 0:
        raise ValueError(
            f"{file} must hold {size} bytes for the shape {shape} that its header declares (at least one), but holds "
            f"{held}: it is truncated or corrupt"
        )
    return torch.frombuffer(bytearray(content), dtype=torch.uint8, offset=start).reshape(shape)
