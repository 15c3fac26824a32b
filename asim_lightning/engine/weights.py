"""A layer's integer weights, and the packed forms that engines need."""

from collections.abc import Callable, Hashable
from typing import TypeVar

import torch
from torch import Tensor

Form = TypeVar("Form")
_MOST_FORMS = 8
"""Most forms in memory: a macro needs up to three, but a sweep over rows needs new ones for each point."""


class Weights:
    """Integers, which must not change, and the forms that engines made of them, such as packed bit planes. A form
    depends on bits, rows and geometry, but not on noise.

    Args:
        integers: float32. # (*weight), or (batch, *weight)
    """

    def __init__(self, integers: Tensor) -> None:
        self.integers = integers
        self._forms: dict[Hashable, object] = {}

    def form(self, key: Hashable, make: Callable[[Tensor], Form]) -> Form:
        """The form of a key, made at its first use.

        Args:
            key: Everything besides the integers that the form depends on.
        """
        forms = self._forms
        if key in forms:
            return forms[key]  # type: ignore[return-value]
        with torch.inference_mode(False), torch.no_grad():
            made = make(self.integers)
        # a new dictionary, because other threads may read the old one
        self._forms = {**dict(list(forms.items())[-_MOST_FORMS + 1 :]), key: made}
        return made
