"""A trial is found by its key only, and what a process wrote is there whole or not at all."""

import json
import multiprocessing
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import warnings
import zlib
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asim_lightning.evaluation.results import Outcomes, Result
from asim_lightning.evaluation.store import STORE, Store
from asim_lightning.evaluation.stored_rows import insert, salvaged, unpacked

WRITER = """
import sys
import numpy as np
from asim_lightning.evaluation.results import Outcomes
from asim_lightning.evaluation.store import Store
store = Store(sys.argv[1])
for trial in range(100000):
    store.add(sys.argv[2], trial, Outcomes(np.arange(500), np.ones(500, dtype=np.float32), 1.0, "exact"))
    print(trial, flush=True)
"""


def outcomes(first: int = 0, last: int = 5, value: float = 1.0, predicted: bool = True) -> Outcomes:
    index = np.arange(first, last)
    return Outcomes(index, np.full(last - first, value, np.float32), 1.5, "exact", index % 3 if predicted else None)


def same(found: Outcomes | None, expected: Outcomes) -> bool:
    assert found is not None
    return all(np.array_equal(value, getattr(found, name)) for name, value in vars(expected).items())


def test_a_trial_comes_back_by_its_key(tmp_path: Path) -> None:
    store = Store(tmp_path / "new")
    assert store.trial("a", 0) is None
    assert not (tmp_path / "new").exists()  # nothing is made before the first write
    store.add("a", 0, outcomes())
    store.add("a", 2, outcomes(value=0.25, predicted=False))
    again = Store(tmp_path / "new")
    assert same(again.trial("a", 0), outcomes())
    assert same(again.trial("a", 2), outcomes(value=0.25, predicted=False))
    assert again.trial("a", 1) is again.trial("b", 0) is None
    assert [(key, trial, unpacked(samples).tolist()) for key, trial, samples in again.samples(["b", "a"])] == [
        ("a", 0, [0, 1, 2, 3, 4]), ("a", 2, [0, 1, 2, 3, 4]),
    ]  # fmt: skip


def test_several_predictions_a_sample_come_back(tmp_path: Path) -> None:
    tokens = replace(outcomes(), prediction=np.arange(15).reshape(5, 3) - 1)
    Store(tmp_path).add("a", 0, tokens)
    assert same(Store(tmp_path).trial("a", 0), tokens)


def test_samples_of_a_trial_are_joined(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add("a", 0, outcomes(0, 4, value=0.0))
    first = store.add("a", 0, outcomes(2, 6))
    assert first.value.tolist() == [0, 0, 0, 0, 1, 1]
    assert same(store.add("a", 0, outcomes(0, 6)), first)  # which writes nothing
    whole = store.add("a", 0, outcomes(2, 6), replaces=True)
    assert whole.value.tolist() == [0, 0, 1, 1, 1, 1]
    assert (first.seconds, whole.algorithm) == (3.0, "exact")
    assert same(store.trial("a", 0), whole)


def test_points_keep_their_order_and_the_most_trials(tmp_path: Path) -> None:
    store = Store(tmp_path)
    rows = [Result({"adc_bits": bits}, "simulated", trials, 4, 0.5, 0.25, 0.75, 1.0, "exact") for bits, trials in
            ((8, 2), (7, 2), (8, 1), (7, 3))]  # fmt: skip
    for row in rows:
        store.keep_point(
            "sweep-1", str(row.axes), row.trials, {**vars(row), "difference": None, "decisions": {}, "measure": {}}
        )
    found = [Result.of_json(each) for each in store.points("sweep-1")]
    assert found == [rows[0], rows[3]]
    assert store.points("sweep-2") == []
    assert store.runs() == ["sweep-1"]


def test_documents(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for content in ({"a": 1}, {"a": 2}):
        store.write("sweep-1", "settings.json", content)
    store.write("sweep-1", "command 1", "x")
    assert store.read("sweep-1", "settings.json") == {"a": 2}
    assert store.read("sweep-2", "settings.json") is None
    assert store.documents_of("sweep-1", "command ") == ["x"]


@pytest.mark.process
def test_kill_9_while_trials_are_written_leaves_them_whole(tmp_path: Path) -> None:
    for key in "ab":
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), key], stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )  # fmt: skip
        assert process.stdout is not None
        written = int(process.stdout.readline())
        time.sleep(0.03)
        process.send_signal(signal.SIGKILL)
        written = max([written, *map(int, process.stdout.read().split())])
        process.wait()
        for read_only in (True, False):
            assert same(
                Store(tmp_path, read_only).trial(key, written),
                Outcomes(np.arange(500), np.ones(500, np.float32), 1.0, "exact"),
            )
        with sqlite3.connect(tmp_path / STORE) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def _write(folder: Path, key: str) -> None:
    store = Store(folder)
    for trial in range(40):
        store.add(key, trial, outcomes())


@pytest.mark.process
def test_processes_write_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_write, args=(tmp_path, key)) for key in "abc"]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert len(list(Store(tmp_path).samples("abc"))) == 120


def test_a_file_that_another_process_has_begun_is_empty(tmp_path: Path) -> None:
    (tmp_path / STORE).touch()
    store = Store(tmp_path)
    assert store.trial("a", 0) is store.read("x", "y") is None
    assert list(store.samples("a")) == store.points("x") == []
    store.add("a", 0, outcomes())
    assert same(Store(tmp_path).trial("a", 0), outcomes())


def test_a_damaged_store_is_set_aside_and_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / STORE).write_text("no database, " * 100)
    with pytest.raises(ValueError, match=r"runs.sqlite is damaged .*not a database"):
        Store(tmp_path, read_only=True)
    with pytest.warns(UserWarning, match=r"is now runs.sqlite.damaged: 0 rows are kept, others may be lost"):
        store = Store(tmp_path)
    assert (tmp_path / f"{STORE}.damaged").read_text().startswith("no database")
    store.add("a", 0, outcomes())
    assert Store(tmp_path).trial("a", 0) is not None


POINT = asdict(Result({"adc_bits": 8}, "simulated", 2, 4, 0.5, 0.25, 0.75, 1.0, "exact"))


CHANGES: dict[str, tuple[list[str], dict[str, Any]]] = {
    "UPDATE points SET result = ?": (["trial", "document"], {"value": "{broken"}),
    "UPDATE points SET result = replace(result, '0.25', '0.35')": (["trial", "document"], {}),
    "UPDATE points SET result = CAST(? AS TEXT)": (["trial", "document"], {"value": b"\xff{}"}),
    "UPDATE documents SET content = ?": (["trial", "point"], {"value": b"[" * 5000}),
    "UPDATE trials SET outcomes = ?": (["point", "document"], {"value": "text"}),
    "UPDATE trials SET trial = 1": (["point", "document"], {}),
    "UPDATE trials SET seconds = 2": (["point", "document"], {}),
    "DROP TABLE documents": (["trial", "point"], {}),
    "ALTER TABLE trials RENAME COLUMN key TO name": (["trial", "point", "document"], {}),
    "PRAGMA user_version = 2": (["trial", "point", "document"], {}),
    "PRAGMA user_version = 7": (["trial", "point", "document"], {}),
}


def known(store: Store) -> list[str]:
    """Which rows of `filled` are in a store; all others must not be."""
    trial, samples = store.trial("a", 0), list(store.samples("a"))
    assert trial is None or same(trial, outcomes())
    assert store.trial("a", 1) is None
    assert len(samples) == (trial is not None)
    found = {
        "trial": trial is not None,
        "point": store.points("x") == [json.loads(json.dumps(POINT))],
        "document": store.read("x", "y") == 3,
    }
    assert len(store.points("x")) == found["point"]
    return [name for name, is_known in found.items() if is_known]


def filled(folder: Path) -> Store:
    store = Store(folder)
    store.add("a", 0, outcomes())
    store.keep_point("x", "p", 1, POINT)
    store.write("x", "y", 3)
    return store


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("is_open", [False, True])
def test_a_store_with_other_content_keeps_its_other_rows(tmp_path: Path, change: str, is_open: bool) -> None:
    kept, values = CHANGES[change]
    store = filled(tmp_path)
    with closing(sqlite3.connect(tmp_path / STORE)) as connection, connection:
        connection.execute(change, list(values.values()))
    with pytest.raises(ValueError, match=r"runs.sqlite is damaged .* keeps the rows that can be read"):
        known(Store(tmp_path, read_only=True))
    lost = 3 - len(kept)
    with pytest.warns(
        UserWarning, match=f"{len(kept)} rows are kept, {lost} row{' is' if lost == 1 else 's are'} lost"
    ):
        assert known(store if is_open else Store(tmp_path)) == kept
    assert {path.name for path in tmp_path.iterdir()} == {STORE, f"{STORE}.damaged"}
    assert known(filled(tmp_path)) == ["trial", "point", "document"]
    assert known(Store(tmp_path, read_only=True)) == ["trial", "point", "document"]


@pytest.mark.parametrize(
    ("table", "values"),
    [
        ("trials", ("a", 0, "p", zlib.compress(bytes(8)), zlib.compress(b"abc"), None, 1.0, "exact")),
        ("trials", ("a", 0, "p", zlib.compress(bytes(16)), zlib.compress(bytes(4)), None, 1.0, "exact")),
        ("trials", ("a", 0, "p", zlib.compress(bytes(8 * (2**24 + 1))), zlib.compress(bytes(4)), None, 1.0, "exact")),
        ("points", ("x", "p", 1, "{broken")),
        ("documents", ("x", "y", "[" * 5000)),
    ],
)
def test_rows_of_another_program_are_left_out(tmp_path: Path, table: str, values: tuple[Any, ...]) -> None:
    store = filled(tmp_path)
    with closing(sqlite3.connect(tmp_path / STORE)) as connection, connection:
        insert(connection, table, *values)  # with its digest
    kept = {"trials": ["point", "document"], "points": ["trial", "document"], "documents": ["trial", "point"]}[table]
    with pytest.warns(UserWarning, match="2 rows are kept, 1 row is lost"):
        assert known(store) == kept


@pytest.mark.parametrize("seed", range(12))
def test_damage_costs_only_the_rows_whose_bytes_it_changes(tmp_path: Path, seed: int) -> None:
    store, draws = Store(tmp_path), np.random.default_rng(seed)
    written = {}
    for trial in range(40):
        size = int(draws.integers(5, 4000))  # some continue in other pages
        values = draws.random(size).astype(np.float32)
        written[trial] = Outcomes(np.arange(size), values, float(trial), "exact", draws.integers(0, 9, size))
        store.add("a", trial, written[trial])
    content = bytearray(store.path.read_bytes())
    before, pages = bytes(content), len(content) // 4096
    if seed % 3 == 0:
        content[int(draws.integers(len(content)))] ^= 1 << int(draws.integers(8))
    elif seed % 3 == 1:
        at = 4096 * int(draws.integers(1, pages))
        content[at : at + 4096] = bytes(4096)
    else:
        del content[int(draws.integers(4096, len(content))) :]
    store.path.write_bytes(content)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = {trial: Store(tmp_path).trial("a", trial) for trial in written}
    assert all(each is None or same(each, written[trial]) for trial, each in found.items())
    lost = sum(each is None for each in found.values())
    whole = {row[2] for row in salvaged(bytes(content)) if row[0] == "trials"}
    assert whole == {trial for trial, each in found.items() if each is not None}
    assert len(said) == (content != before and (tmp_path / f"{STORE}.damaged").exists())
    assert not said or f"{lost} row{' is' if lost == 1 else 's are'} lost" in str(said[0].message)
    assert seed % 3 or lost <= 1  # a flip
    assert same(Store(tmp_path).add("b", 0, outcomes()), outcomes())


def test_a_store_that_was_removed_is_not_begun_anew(tmp_path: Path) -> None:
    store = Store(tmp_path / "a")
    store.keep_point("x", "p", 1, {})
    shutil.rmtree(tmp_path / "a")
    for call in (lambda: store.points("x"), lambda: store.keep_point("x", "q", 1, {})):
        with pytest.raises(OSError, match="was removed while the command ran"):
            call()
    assert not (tmp_path / "a").exists()
    Store(tmp_path / "a").keep_point("x", "p", 1, {})


def test_tables_of_an_earlier_version_stay_and_are_not_read(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / STORE) as connection:
        connection.execute("CREATE TABLE trials (key TEXT, trial INTEGER)")
        connection.execute("INSERT INTO trials VALUES ('a', 0)")
        connection.execute("PRAGMA user_version = 1")
    store = Store(tmp_path)
    assert store.earlier_version == 1
    assert store.trial("a", 0) is None
    store.add("b", 0, outcomes())
    again = Store(tmp_path)
    assert again.earlier_version is None
    assert again.trial("a", 0) is None
    assert again.trial("b", 0) is not None
    with sqlite3.connect(tmp_path / STORE) as connection:
        assert connection.execute("SELECT key FROM trials_1").fetchall() == [("a",)]


def test_a_locked_or_other_store_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Store(tmp_path)
    opened.add("a", 0, outcomes())
    monkeypatch.setattr("asim_lightning.evaluation.store._WAIT", 0.05)
    with sqlite3.connect(tmp_path / STORE, isolation_level=None) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        with pytest.raises(OSError, match=r"runs.sqlite cannot be read: database is locked"):
            Store(tmp_path)
        with pytest.raises(OSError, match=r"runs.sqlite cannot be written: database is locked"):
            opened.add("a", 1, outcomes())
        connection.execute("ROLLBACK")
        assert Store(tmp_path).trial("a", 0) is not None
        connection.execute("DROP TABLE points")
        connection.execute("PRAGMA user_version = 7")
    with pytest.raises(ValueError, match="must be of version 3, got 7"):
        Store(tmp_path)
    assert list(tmp_path.glob("*.damaged")) == []
