"""A name is held by one process at a time, and by none that has ended."""

import multiprocessing
from pathlib import Path
from typing import Any

from asim_lightning.evaluation.file_locks import FileLocks


def _take(path: Path, answers: Any) -> None:
    locks = FileLocks(path)
    answers.put([locks.take(name, wait=False) for name in "ab"])


def others(path: Path) -> list[bool]:
    """Whether another process gets the names a and b."""
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    process = context.Process(target=_take, args=(path, answers))
    process.start()
    found: list[bool] = answers.get(timeout=120)
    process.join()
    return found


def test_a_name_is_held_by_one_process(tmp_path: Path) -> None:
    path = tmp_path / "new" / "locks"
    locks = FileLocks(path)
    assert locks.take("a", wait=False)
    assert others(path) == [False, True]
    assert locks.take("b", wait=False)  # the other has ended
    locks.give("a")
    assert others(path) == [True, False]
    assert path.read_bytes() == b""


def test_locks_that_end_leave_the_names_of_other_ones_in_the_process(tmp_path: Path) -> None:
    """As an old sweep in a notebook that Python collects while another sweep runs."""
    old, locks = FileLocks(tmp_path / "locks"), FileLocks(tmp_path / "locks")
    old.take("b", wait=False)
    locks.take("a", wait=False)
    old.give("b")
    del old
    assert others(tmp_path / "locks") == [False, True]


def test_a_file_that_was_removed_is_made_anew(tmp_path: Path) -> None:
    locks = FileLocks(tmp_path / "locks")
    locks.take("a", wait=False)
    (tmp_path / "locks").unlink()
    assert locks.take("a", wait=False)
    assert others(tmp_path / "locks") == [False, True]
