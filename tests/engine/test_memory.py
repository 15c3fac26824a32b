"""Free memory, as the system says it."""

from pathlib import Path

import pytest
import torch

from asim_lightning.engine import memory


def test_free_memory_of_the_machine() -> None:
    assert 0 < memory.free_bytes(torch.device("cpu")) < 2**62


@pytest.mark.parametrize(("most", "free"), [("3000", 1000), ("1000", 0), ("max", None)])
def test_a_container_has_less(most: str, free: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "memory.max").write_text(f"{most}\n")
    (tmp_path / "memory.current").write_text("2000\n")
    monkeypatch.setattr(memory, "_GROUP", tmp_path)
    found = memory.free_bytes(torch.device("cpu"))
    assert found == free if free is not None else found > 3000
