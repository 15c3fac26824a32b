"""Whole numbers of a layer's weight, and the forms in which engines multiply by them."""

from collections.abc import Callable, Hashable
from typing import TypeVar

import torch
from torch import Tensor

Form = TypeVar("Form")
_MOST_FORMS = 8
"""A macro takes up to three; a sweep over rows would fill the memory with those of all its points."""


class Weights:
    """Whole numbers that nobody may change, and what engines made of them: packed planes, bytes as the processor takes
    them. A form depends on bits, rows and geometry, but not on noise.

    Args:
        integers: float32. # (*weight), or (batch, *weight)
    """

    def __init__(self, integers: Tensor) -> None:
        self.integers = integers
        self._forms: dict[Hashable, object] = {}

    def form(self, key: Hashable, make: Callable[[Tensor], Form]) -> Form:
        """The form of a key, made where there is none.

        Args:
            key: What the form depends on beside the integers.
            make: Makes it of the integers.
        """
        if key in self._forms:
            return self._forms[key]  # type: ignore[return-value]
        with torch.inference_mode(False), torch.no_grad():
            made = make(self.integers)
        if len(self._forms) >= _MOST_FORMS:
            del self._forms[next(iter(self._forms))]
        self._forms[key] = made
        return made
