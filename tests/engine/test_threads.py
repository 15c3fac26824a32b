"""torch's threads: whether the system grants all of them, and work on one each."""

import os
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from asim_lightning.engine.threads import one_thread_each, openmp, whole_team

COUNT = "from asim_lightning.engine.threads import whole_team; print(*map(whole_team, (1, 2, 3)))"


@pytest.mark.process
@pytest.mark.skipif(openmp() is None, reason="torch has threads of another kind")
def test_a_limit_of_the_system_is_found() -> None:
    environment = os.environ | {"OMP_THREAD_LIMIT": "2"}
    done = subprocess.run([sys.executable, "-c", COUNT], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "True True False"


def test_without_openmp_nothing_is_held_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asim_lightning.engine.threads.openmp", lambda: None)
    assert whole_team.__wrapped__(3)


def test_each_unit_runs_with_one_thread_and_all_come_back_in_order(set_threads: Callable[[int], None]) -> None:
    set_threads(3)

    def work(unit: int) -> Tensor:
        return torch.tensor([unit, torch.get_num_threads()])

    assert torch.stack(one_thread_each(work, range(7))).tolist() == [[unit, 1] for unit in range(7)]
    assert torch.get_num_threads() == 3


def test_an_error_is_raised_and_the_number_of_threads_comes_back(set_threads: Callable[[int], None]) -> None:
    set_threads(2)

    def wrong(unit: int) -> Tensor:
        raise ValueError(f"unit {unit}")

    with pytest.raises(ValueError, match=r"^unit 4$"):
        one_thread_each(wrong, [4])
    assert torch.get_num_threads() == 2
