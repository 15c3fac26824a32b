"""Tests of layers begin with the same random numbers, and may watch what layers prepare."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from asim_lightning.nn.prepared import Programs


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Programs that were prepared, in order."""
    made: list[Any] = []
    own = Programs.of

    def of(self: Programs, macro: Any, product: Any, prepare: Callable[[], Any]) -> Any:
        def spied() -> Any:
            made.append(prepare())
            return made[-1]

        return own(self, macro, product, spied)

    monkeypatch.setattr(Programs, "of", of)
    return made
