"""Tests of layers begin with the same random numbers, and may watch what layers prepare."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from asim_lightning.engine import Program
from asim_lightning.nn.prepared import Memo


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Programs that were prepared, in order."""
    made: list[Any] = []
    own = Memo.of

    def of(self: Any, setting: Any, key: Any, make: Callable[[], Any]) -> Any:
        def spied() -> Any:
            value = make()
            made.extend([value] if isinstance(value, Program) else [])
            return value

        return own(self, setting, key, spied)

    monkeypatch.setattr(Memo, "of", of)
    return made
