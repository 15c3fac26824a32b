"""A name is held by one process at a time, and by none that has ended."""

import multiprocessing
from pathlib import Path
from typing import Any

from asim_lightning.evaluation.file_locks import FileLocks


def _take(path: Path, answers: Any) -> None:
    locks = FileLocks(path)
    answers.put([locks.take(name, wait=False) for name in "ab"])


def test_a_name_is_held_by_one_process(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    answers, locks = context.Queue(), FileLocks(tmp_path / "new" / "locks")
    assert locks.take("a", wait=False)
    process = context.Process(target=_take, args=(tmp_path / "new" / "locks", answers))
    process.start()
    assert answers.get(timeout=120) == [False, True]
    process.join()
    assert locks.take("b", wait=False)  # the other has ended
    locks.give("a")
    with locks.held("a"):
        assert (tmp_path / "new" / "locks").read_bytes() == b""
