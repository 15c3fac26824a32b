"""Images for timing inference: test images of the data, since sparsity affects speed, or random ones."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from asim_lightning.classifier import CimClassifier
from asim_lightning.classifier.batches import unpack
from asim_lightning.data.given import with_indices
from asim_lightning.nn.inputs import shapes_text

_MOST_BYTES = 2**30


@dataclass(frozen=True)
class BenchImages:
    """Images for timing; each repeat takes the next ones."""

    images: Tensor
    """float32. # (images, channels, height, width)"""
    ids: Tensor
    """Sample id of each image, which keys its noise, int64. # (images,)"""
    source: str
    """Origin of the images, in words."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one image. # (channels, height, width)"""
        return tuple(self.images.shape[1:])

    def batch(self, number: int, size: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Batch `number`, 0, 1, ..., of `size` images, and their sample ids; after the last image follows the first."""
        places = (torch.arange(size) + number * size) % len(self.images)
        return self.images[places].to(device), self.ids[places].to(device)


def read_images(data: Any, count: int) -> BenchImages:
    """The first `count` test images of a data module that is set up, or as many of them as 1 GB holds.

    Raises:
        ValueError: There is no test image, or a batch is not (images, labels, indices).
    """
    images, ids, found = [], [], 0
    for batch in with_indices(data.test_dataloader()):
        part, _, indices = unpack(batch, None)
        if not isinstance(part, Tensor):
            raise ValueError(f"asim bench times networks with one input, got inputs of shapes {shapes_text(part)}")
        count = min(count, _most(part.shape[1:]))
        images.append(part[: count - found])
        ids.append(indices[: count - found])
        found += len(images[-1])
        if found >= count:
            break
    if not found:
        raise ValueError("asim bench needs at least one test image, got data without any")
    read = torch.cat(images)
    return BenchImages(read, torch.cat(ids), f"{len(read):,} test images of {type(data).__name__}")


def random_images(model: CimClassifier, data: Any, count: int, why: str) -> BenchImages:
    """Standard normal images, at most 1 GB, of the shape of a data module's images, else of the network's.

    `in_channels` and `image_size` of the data count; `why` says why there are no real images.
    """
    shape = _image_shape(model, data)
    number = min(count, _most(shape))
    images = torch.randn(number, *shape, generator=torch.Generator().manual_seed(0))
    return BenchImages(images, torch.arange(number), f"{number:,} random ones (standard normal), as {why}")


def _most(shape: Any) -> int:
    return max(1, _MOST_BYTES // (4 * math.prod(shape)))


def _image_shape(model: CimClassifier, data: Any) -> tuple[int, int, int]:
    configured = getattr(model.backbone, "pretrained_cfg", None) or {}
    given = tuple(configured.get("input_size") or (3, 224, 224))
    channels = model.in_channels or getattr(data, "in_channels", None) or given[0]
    fits = getattr(data, "in_channels", channels) == channels
    size = (getattr(data, "image_size", None) if fits else None) or model.hparams["backbone"]["image_size"] or given[1]
    return int(channels), int(size), int(size)
