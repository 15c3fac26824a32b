"""Batches of a data module, images for calibration, and seeds for the random numbers of a batch."""

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

from torch import Tensor

from asim_lightning.nn.inputs import Inputs, batch_size, some_of

Batch = tuple[Inputs, Any, Tensor]
"""Inputs, targets, and each sample's index in its split. # (batch, ...), (batch, ...), (batch,)"""


def unpack(batch: Any, num_classes: int | None) -> Batch:
    """Images, labels and indices of a batch; refuses other batches, and labels outside the classes.

    Labels on a GPU are not checked, because the check takes time there.
    """
    if not isinstance(batch, (list, tuple)) or len(batch) != 3:
        kind = f"{len(batch)} values" if isinstance(batch, (list, tuple)) else f"a {type(batch).__name__}"
        raise ValueError(
            "Batches must be (images, labels, indices), as data sets in asim_lightning.data.IndexedDataset give them, "
            f"got {kind}"
        )
    images, labels, ids = batch
    if num_classes is None or labels.device.type != "cpu" or not labels.numel():
        return images, labels, ids
    if not 0 <= int(labels.min()) <= int(labels.max()) < num_classes:
        given = f"{int(labels.min())}..{int(labels.max())}"
        raise ValueError(f"Labels must be 0..{num_classes - 1}, as `model.num_classes` says, got {given}")
    return images, labels, ids


def calibration_images_of(data: Any, count: int) -> Iterator[Inputs]:
    """Batches of `count` training images for input ranges, from the calibration_dataloader of a data module or trainer,
    else from its train_dataloader. # (batch, ...) each
    """
    if hasattr(data, "calibration_dataloader"):
        yield from (batch[0] for batch in data.calibration_dataloader(count))
        return
    loader = data.train_dataloader
    loader = loader() if callable(loader) and not isinstance(loader, Iterable) else loader
    if loader is None:
        raise ValueError("Input ranges are fitted to training images, and the data has none")
    yield from first_of(loader, count)


def first_of(batches: Iterable[Any], count: int) -> Iterator[Inputs]:
    """Inputs of the first `count` samples of batches (inputs, ...)."""
    for batch in batches:
        yield some_of(batch[0], slice(count))
        count -= batch_size(batch[0])
        if count <= 0:
            return


def finite(loss: Tensor, step: int, lr: float) -> Tensor:
    """The training loss, unless it is NaN or infinite; a GPU is asked only in the first steps, because it would wait.

    Raises:
        ValueError: It is not finite.
    """
    if (loss.device.type == "cpu" or step < 8) and not bool(loss.detach().isfinite()):
        raise ValueError(
            f"the training loss must stay finite, got {float(loss):g} at step {step}; lower `model.optimizer.lr` (now "
            f"{lr:g}), clip gradients by --trainer.gradient_clip_val 1, or look for NaN in the inputs"
        )
    return loss


def step_seed(seed: int, step: int, batch: int, rank: int) -> int:
    """Seed of torch's generators for a batch in training: dropout, drop path, mixup.

    A 63-bit hash, so that no two steps, batches of a step or processes draw the same or neighbouring numbers.
    """
    digest = hashlib.blake2s(f"{seed} {step} {batch} {rank}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
