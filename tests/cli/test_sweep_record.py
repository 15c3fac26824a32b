"""What `asim sweep` does with the store that it finds."""

import contextlib
import sqlite3
import threading
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from asim_lightning.evaluation import store as stores
from tests.cli.conftest import DAMAGED, Asim, Run, main_in, stored_trials, sweep_of

STORE = Path("runs/tiny/runs.sqlite")


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory, run: Run) -> Path:
    """A finished sweep, computed with the modules that are loaded now: those of other tests count as a user's code."""
    folder = tmp_path_factory.mktemp("swept")
    main_in(folder, *sweep_of(run))
    return folder


def test_exports_are_written_whole_and_never_read_back(sweep: Path, asim: Asim, run: Run) -> None:
    names = ("results.csv", "settings.json", "cost.json")
    before = {name: (sweep / name).read_text() for name in names}
    (sweep / "results.csv").write_text(before["results.csv"].replace("0.", "1.")[:-30])
    (sweep / "settings.json").unlink()
    (sweep / "cost.json").write_text("{")
    answer = asim(*sweep_of(run))
    assert "record   all 4 trials are of an earlier run, seconds too; nothing is computed" in answer.out
    assert {name: (sweep / name).read_text() for name in names} == before


def test_fresh_computes_every_trial_anew(sweep: Path, asim: Asim, run: Run) -> None:
    before, rows = stored_trials(), (sweep / "results.csv").read_text().count("\n")
    answer = asim(*sweep_of(run), "--fresh")
    assert "of an earlier run" not in answer.out
    after = stored_trials()
    assert before.keys() == after.keys()
    assert not before.items() & after.items()  # each took other seconds
    assert (sweep / "results.csv").read_text().count("\n") == rows


def with_a_damaged_trial(content: bytes) -> bytes:
    place = content.rindex(b"\x78\x9c") + 8  # within what zlib has packed
    return content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :]


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda content: DAMAGED, "file is not a database"),
        (lambda content: content[: len(content) // 2], "database disk image is malformed"),
        (with_a_damaged_trial, "Error -3 while decompressing data"),
    ],
    ids=["no store", "half a store", "a trial"],
)
def test_a_damaged_store_is_set_aside(damage: Any, why: str, sweep: Path, asim: Asim, run: Run) -> None:
    STORE.write_bytes(damage(STORE.read_bytes()))
    aside = STORE.with_name("runs.sqlite.damaged")
    error = asim(*sweep_of(run)).error
    assert error.startswith(f"{STORE} was damaged ({why}")
    assert error.endswith(f") and is now {aside}; run the command again to start anew")
    assert asim(*sweep_of(run)).code == 0
    assert len(stored_trials()) == 4
    assert aside.is_file()


@pytest.mark.parametrize(
    ("pragma", "why"),
    [("max_page_count = 1", "database or disk is full"), ("query_only = 1", "attempt to write a readonly database")],
)
def test_a_store_that_cannot_be_written_keeps_its_trials(
    pragma: str, why: str, sweep: Path, asim: Asim, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect, before = sqlite3.connect, stored_trials()

    def limited(*arguments: Any, **named: Any) -> sqlite3.Connection:
        connection = connect(*arguments, **named)
        connection.execute(f"PRAGMA {pragma}")
        return connection

    monkeypatch.setattr(sqlite3, "connect", limited)
    assert asim(*sweep_of(run), "--fresh").error == f"{STORE} cannot be written: {why}"
    assert stored_trials() == before


def test_a_locked_store_is_waited_for(sweep: Path, asim: Asim, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("plotly")
    with contextlib.closing(sqlite3.connect(STORE, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN EXCLUSIVE")
        threading.Timer(0.2, lambda: other.execute("ROLLBACK")).start()
        assert asim("report", sweep).code == 0
        monkeypatch.setattr(stores, "_WAIT", 0.1)
        other.execute("BEGIN IMMEDIATE")  # as while another process writes a trial: it may be read
        assert asim("report", sweep).code == 0
        assert asim(*sweep_of(run)).error == f"{STORE} cannot be written: database is locked"
        other.execute("ROLLBACK")
        other.execute("BEGIN EXCLUSIVE")
        for command in (("report", str(sweep)), sweep_of(run)):
            assert asim(*command).error.endswith("runs.sqlite cannot be read: database is locked")
    assert not STORE.with_name("runs.sqlite.damaged").exists()


def test_trials_of_other_versions_are_said(sweep: Path, asim: Asim, run: Run) -> None:
    with contextlib.closing(sqlite3.connect(STORE)) as store, store:
        changed = "UPDATE documents SET run = 'sweep-00000000', content = replace(content, ?, ?)"
        store.execute(changed, (f'"torch": "{version("torch")}"', '"torch": "1.0"'))
    said = "sweep-00000000 is the same sweep by another torch, whose trials are not used"
    assert said in asim(*sweep_of(run)).out
    (STORE.parent / "records-0123" / "trials").mkdir(parents=True)
    said = "trials of an earlier version in runs/tiny/records-* are not read; delete them to free space"
    assert asim(*sweep_of(run)).out.count(said) == 1
