"""Integers of a layer's weight, kept while the weight stays as it is."""

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

_SAMPLES = 1024


@dataclass(eq=False)
class _Record:
    weight: "weakref.ref[Tensor]"
    key: Any
    view: Tensor
    """Some numbers of the weight, as they are now."""
    sample: Tensor
    """The same numbers, as they were."""
    integers: Tensor
    scale: Tensor
    matrix: Tensor | None = None
    scales: tuple[Any, tuple[float, Tensor]] | None = None

    def holds(self, w: Tensor, key: Any) -> bool:
        return self.weight() is w and self.key == key and torch.equal(self.view, self.sample)


class KeptWeight:
    """The integers of one weight and their scale: the same tensor objects as long as the weight is unchanged.

    torch counts changes of a tensor, but none that are made through ``.data``; of these, changes of a hundredth of the
    weight or more are seen by 1024 of its numbers, and changes of single numbers may not be: write those under
    ``torch.no_grad()``, or call `forget`. Copies and pickles are empty.
    """

    def __init__(self) -> None:
        self._record: _Record | None = None

    def forget(self) -> None:
        """Keep nothing."""
        self._record = None

    def of(self, w: Tensor, settings: Any, quantize: Callable[[], tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """The kept integers and scale, quantised anew where anything changed.

        Args:
            w: The weight.
            settings: What else the integers depend on.
            quantize: Computes integers and scale.
        """
        if w.is_inference() or w.is_meta:  # torch counts no changes of these
            self.forget()
            return quantize()
        key = (w.data_ptr(), w._version, w.dtype, w.device, w.shape, w.stride(), settings)
        record = self._record
        if record is None or not record.holds(w, key):
            self.forget()
            with torch.inference_mode(False), torch.no_grad():
                view = _some_of(w)
                record = _Record(weakref.ref(w), key, view, view.clone(), *quantize())
            self._record = record
        return record.integers, record.scale

    def matrix(self, integers: Tensor) -> Tensor:
        """The integers as a matrix, one row an output: the same object each time for those kept."""
        record = self._record
        if record is None or integers is not record.integers:
            return integers.flatten(1)
        if record.matrix is None:
            with torch.inference_mode(False), torch.no_grad():
                record.matrix = integers.flatten(1)
        return record.matrix

    def scales(self, key: Any, compute: Callable[[], tuple[float, Tensor]]) -> tuple[float, Tensor]:
        """An input scale and what one count is worth with it, kept for one key."""
        record = self._record
        if record is None:
            return compute()
        kept = record.scales
        if kept is None or kept[0] != key:
            with torch.inference_mode(False), torch.no_grad():
                record.scales = kept = key, compute()
        return kept[1]

    def __deepcopy__(self, memo: Any) -> "KeptWeight":
        return KeptWeight()

    def __reduce__(self) -> Any:
        return KeptWeight, ()


def _some_of(w: Tensor) -> Tensor:
    """A view of evenly spaced numbers of a tensor, or of all where it does not lie in one piece."""
    w = w.detach()
    if w.dim() == 4 and w.is_contiguous(memory_format=torch.channels_last):
        w = w.permute(0, 2, 3, 1)
    return w.view(-1)[:: max(1, -(-w.numel() // _SAMPLES))] if w.is_contiguous() else w
