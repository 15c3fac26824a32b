"""The integers of a layer's weight, and the packed forms of them that engines need."""

from collections.abc import Callable, Hashable
from typing import TypeVar

import torch
from torch import Tensor

Form = TypeVar("Form")
_MOST_FORMS = 8
"""Most forms that are kept: a macro needs up to three; a sweep over rows would fill the memory with those of all its
points."""


class Weights:
    """Integers, which nobody may change, and the forms that engines made of them, such as packed bit planes or bytes in
    the processor's layout. A form depends on bits, rows and geometry, but not on noise.

    Args:
        integers: float32. # (*weight), or (batch, *weight)
    """

    def __init__(self, integers: Tensor) -> None:
        self.integers = integers
        self._forms: dict[Hashable, object] = {}

    def form(self, key: Hashable, make: Callable[[Tensor], Form]) -> Form:
        """The form of a key, made at its first use.

        Args:
            key: What the form depends on beside the integers.
            make: Makes the form of the integers.
        """
        forms = self._forms
        if key in forms:
            return forms[key]  # type: ignore[return-value]
        with torch.inference_mode(False), torch.no_grad():
            made = make(self.integers)
        # a new dictionary, as other threads may be reading the one before
        self._forms = {**dict(list(forms.items())[-_MOST_FORMS + 1 :]), key: made}
        return made
