"""A user's samples for evaluation, each with its target and its index."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities.model_helpers import is_overridden
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._pytree import tree_map
from torch.utils.data import DataLoader, Dataset, IterableDataset, SequentialSampler, Subset

from asim_lightning.checks import check_whole
from asim_lightning.data.datasets import IndexedDataset
from asim_lightning.data.draws import drawing_from
from asim_lightning.data.loader import settings_of
from asim_lightning.data.samplers import evaluation_sampler
from asim_lightning.data.text import Text
from asim_lightning.nn.inputs import tensors_of

_BATCH = 64
_TRANSFERS = ("on_before_batch_transfer", "transfer_batch_to_device", "on_after_batch_transfer")
_ORDER = 0
"""Seed of the choice of samples if not all are used."""
_FORMS = "(inputs, targets), a Dataset, a DataLoader or a LightningDataModule"


class GivenData(LightningDataModule):
    """Samples of a data set; batches are ``(inputs, targets, indices)``, with a loader's batch size and collation.

    Args:
        given: A pair of inputs and targets, a data set of such pairs, a loader of a data set, or a data module with a
            ``test_dataloader``. Values after the target are left out.
        images: Number of samples, drawn at random, the same in every call; None: all.

    Raises:
        ValueError: A loader is shuffled, samples cannot be indexed or lack targets, there are too few, or a data module
            has hooks that change batches.
    """

    def __init__(self, given: Any, images: int | None = None) -> None:
        super().__init__()
        loader = _loader_of(given)
        self._samples, self._collate = _Indexed(loader.dataset), _Collate(loader.collate_fn)
        self._batch_size, self.num_workers = loader.batch_size or _BATCH, loader.num_workers
        self.all_test_images = count = len(self._samples)
        check_whole("`images`", 1 if images is None else images, 1)
        if count == 0 or (images or 0) > count:
            raise ValueError(f"`data` must have {images or 'one or more'} samples, got {count}")
        chosen = np.arange(count) if images is None else np.random.default_rng(_ORDER).permutation(count)[:images]
        self._places = sorted(chosen.tolist())
        self.example: Any = self._collate([self._samples[self._places[0]]])[0]
        """The first input, as a batch of one."""

    def test_indices(self) -> Tensor:
        """Index of each evaluated sample."""
        return torch.tensor(self._places)

    def first_test_batches(self, samples: int, size: int) -> DataLoader[Any]:
        """Batches of some samples in random order, always the same ones, whatever `images` is."""
        places = np.random.default_rng(_ORDER).permutation(self.all_test_images)[:samples].tolist()
        return DataLoader(Subset(self._samples, places), size, collate_fn=self._collate)

    def test_dataloader(self) -> DataLoader[Any]:
        """The evaluated samples, in their order."""
        samples = Subset(self._samples, self._places)
        sampler = evaluation_sampler(samples)
        return DataLoader(
            samples, self._batch_size, sampler=sampler, collate_fn=self._collate, num_workers=self.num_workers
        )


def with_indices(loaders: Any) -> Any:
    """A loader of ``(inputs, targets, indices)`` with the batches of a user's loader; for several loaders, several.

    A loader stays as it is if it is indexed already, if its samples or batches are not pairs, or if its samples cannot
    be indexed.
    """
    if isinstance(loaders, (list, tuple)):
        return [with_indices(each) for each in loaders]
    samples: Any = getattr(loaders, "dataset", None)
    is_usual = isinstance(loaders, DataLoader) and type(loaders).__iter__ is DataLoader.__iter__
    if not is_usual or loaders.batch_sampler is None:
        return loaders
    if isinstance(samples, (_Indexed, IterableDataset)):
        return loaders
    if not len(samples):
        return loaders
    with drawing_from(0):  # transforms may draw
        first = samples[0]
        if not _is_pair(first) or not _is_pair(loaders.collate_fn([first])):
            return loaders
    settings = {**settings_of(loaders), "collate_fn": _Collate(loaders.collate_fn)}
    return DataLoader(_Indexed(samples), generator=loaders.generator, **settings)


def _is_pair(given: Any) -> bool:
    return isinstance(given, (tuple, list)) and len(given) == 2


def groups_of(loader: Any) -> NDArray[np.int64] | None:
    """The group of each sample of a loader's data set by its index; None: each sample stands alone.

    A data set may have the attribute `groups`, a number or name for each sample in its order, such as the film of a
    frame, or the picture of a patch. Samples of a group belong together, so intervals resample them together.

    Raises:
        ValueError: `groups` has not one for each sample.
    """
    samples = getattr(loader, "dataset", None)
    while isinstance(samples, Subset):  # its samples keep their index
        samples = samples.dataset
    if isinstance(samples, (_Indexed, IndexedDataset)):
        samples = samples.dataset
    found = _groups_in_order(samples)
    return None if found is None else np.unique(found, return_inverse=True)[1].astype(np.int64)


def _groups_in_order(samples: Any) -> NDArray[Any] | None:
    """The group of each sample of a data set, in its order. # (samples,)"""
    if isinstance(samples, Subset):
        whole = _groups_in_order(samples.dataset)
        return None if whole is None else whole[list(samples.indices)]
    found = getattr(samples, "groups", None)
    if found is None:
        return None
    groups = np.asarray(found)
    if groups.ndim != 1 or len(groups) < len(samples):
        raise ValueError(f"`groups` of a data set must be one for each of {len(samples)} samples, got {groups.shape}")
    return groups


def input_of(data: Any) -> tuple[Any, Any]:
    """Shape of an input of a data module without its batch, and for whole numbers how many values they have.

    Of several inputs, both are lists or mappings.

    Raises:
        ValueError: Its batches are not inputs and targets.
    """
    channels, size = getattr(data, "in_channels", None), getattr(data, "image_size", None)
    if channels is not None and size is not None:
        return [channels, size, size], None
    if isinstance(data, Text):  # a batch need not have the last token of the vocabulary
        return [data.window], data.vocabulary
    trains = type(data).train_dataloader is not LightningDataModule.train_dataloader
    data.prepare_data()
    data.setup("fit" if trains else "test")
    batch = next(iter(data.train_dataloader() if trains else data.test_dataloader()))
    inputs = batch[0] if isinstance(batch, (list, tuple)) else None
    if inputs is None or not tensors_of(inputs):
        raise ValueError(f"batches of `data` must be (inputs, targets), got a {type(batch).__name__}")
    if isinstance(inputs, Mapping):  # a text in a sample has no shape
        inputs = {name: x for name, x in inputs.items() if isinstance(x, Tensor)}
    inputs = list(inputs) if isinstance(inputs, tuple) else inputs
    return tree_map(lambda x: list(x.shape[1:]), inputs), tree_map(_values_of, inputs)


def _values_of(x: Tensor) -> int | None:
    """Number of values of whole numbers; True of a mask."""
    if x.dtype == torch.bool:
        return True
    return None if x.is_floating_point() else int(x.max()) + 1


class _Indexed(Dataset[Any]):
    """A data set that gives each sample with its index."""

    def __init__(self, samples: Any) -> None:
        if not (hasattr(samples, "__len__") and hasattr(samples, "__getitem__")):
            raise ValueError(f"`data` must be {_FORMS}, with a length and indexable, got a {type(samples).__name__}")
        self.dataset = samples

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, place: int) -> tuple[Any, int]:
        sample = self.dataset[place]
        if not isinstance(sample, (tuple, list)) or len(sample) < 2:
            got = f"{len(sample)} value" if isinstance(sample, (tuple, list)) else f"a {type(sample).__name__}"
            raise ValueError(f"samples of `data` must be (input, target), got {got}; an accuracy needs targets")
        return sample, place


def _tensor_of(inputs: Any) -> Tensor:
    are_arrays = isinstance(inputs, list) and bool(inputs) and isinstance(inputs[0], (Tensor, np.ndarray))
    return torch.stack([*map(torch.as_tensor, inputs)]) if are_arrays else torch.as_tensor(inputs)


class _Pairs(Dataset[Any]):
    """Inputs and targets as a data set of pairs; several inputs are a tuple, a list or a mapping of tensors."""

    def __init__(self, inputs: Any, targets: Any) -> None:
        self._targets, count = torch.as_tensor(targets), len(targets)
        inputs = dict(inputs) if isinstance(inputs, Mapping) else inputs
        parts = list(inputs.values()) if isinstance(inputs, dict) else inputs
        are_arrays = isinstance(parts, (tuple, list)) and all(isinstance(x, (Tensor, np.ndarray)) for x in parts)
        # a list with a target an element holds samples, not inputs
        are_samples = isinstance(inputs, list) and len(inputs) == count and any(len(x) != count for x in parts)
        self._inputs = tree_map(torch.as_tensor, inputs) if are_arrays and not are_samples else _tensor_of(inputs)
        lengths = [x.shape[0] if x.dim() else 0 for x in tensors_of(self._inputs)]
        if set(lengths) != {count}:
            given = " and ".join(map(str, lengths))
            raise ValueError(f"`data` must have a target a sample, got {given} inputs and {count} targets")

    def __len__(self) -> int:
        return len(self._targets)

    def __getitem__(self, place: int) -> tuple[Any, Tensor]:
        return tree_map(lambda x: x[place], self._inputs), self._targets[place]


class _Collate:
    """Batches by a loader's collation, with the indices of their samples."""

    def __init__(self, collate: Any) -> None:
        self._collate = collate

    def __call__(self, samples: Sequence[tuple[Any, int]]) -> tuple[Any, Any, Tensor]:
        inputs, targets, *_ = self._collate([sample for sample, _ in samples])
        return inputs, targets, torch.tensor([index for _, index in samples])


def _loader_of(given: Any) -> DataLoader[Any]:
    if isinstance(given, LightningDataModule):
        if changing := [name for name in _TRANSFERS if is_overridden(name, given)]:
            raise ValueError(
                "`data` must change batches in its data set or collation, because its samples are taken apart, got a "
                f"{type(given).__name__} with {', '.join(changing)}"
            )
        given.prepare_data()
        given.setup("test")
        given = given.test_dataloader()
        if not isinstance(given, DataLoader):
            raise TypeError(f"`test_dataloader` of `data` must give one DataLoader, got a {type(given).__name__}")
    if isinstance(given, DataLoader):
        if not isinstance(given.sampler, SequentialSampler) and not isinstance(given.dataset, IterableDataset):
            raise ValueError(
                "`data` must be a DataLoader in the order of its data set, because noise depends on a sample's place, "
                f"got one with a {type(given.sampler).__name__}; leave out shuffle"
            )
        return given
    if isinstance(given, tuple):
        if len(given) != 2:
            raise ValueError(
                f"`data` must be {_FORMS}, got a tuple of {len(given)}; several inputs are ((a, b), targets)"
            )
        given = _Pairs(*given)
    return DataLoader(given, _BATCH)
