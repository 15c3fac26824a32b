"""Finished trials and points of a recipe's runs, with settings and commands, in one SQLite file."""

import json
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asim_lightning.evaluation.results import Outcomes

STORE = "runs.sqlite"
_VERSION = 2
_TABLES = (
    "trials (key TEXT, trial INTEGER, point TEXT, samples BLOB, outcomes BLOB, predictions BLOB, seconds REAL, "
    "engine TEXT, PRIMARY KEY (key, trial))",
    "points (run TEXT, point TEXT, trials INTEGER, result TEXT, PRIMARY KEY (run, point))",
    "documents (run TEXT, name TEXT, content TEXT, PRIMARY KEY (run, name))",
)
_WAIT = 60.0
"""Seconds that a transaction waits for other processes."""
_AT_ONCE = 500
"""Most keys of one query."""
_PARTS, _KINDS = "samples, outcomes, predictions", ("<i8", "<f4", "<i4")
"""The arrays of a trial, and the types of their numbers; the last may be missing."""
_OF_DAMAGE = ("malformed", "not a database")
"""SQLite's messages for a damaged file."""
_MOST_SAMPLES = 2**24
"""Most samples of a trial; a few kilobytes could expand to gigabytes."""


class _DamagedError(Exception):
    """The file holds something that this version does not write."""


class Store:
    """The file runs.sqlite of a recipe: trials by key; points and documents by run.

    A trial is found by the key of everything that decides its outcomes, whichever run asked for it. Every call is one
    transaction on a new connection. So a killed process leaves all of it or nothing, several processes may write at
    once, and nothing is open when a process forks. The first write renames the tables of an earlier version; they stay
    in the file, and are not read.

    Folder and file are made at the first write. If the file is removed after that, every call raises an OSError,
    because a new file would lack the earlier points. A file with damage, other tables or broken content is renamed,
    unless the store is `read_only`.
    """

    def __init__(self, folder: str | Path, read_only: bool = False) -> None:
        self.path, self._read_only, self._is_begun = Path(folder) / STORE, read_only, False
        self.earlier_version: int | None = None
        """The version of the tables in the file if it is an earlier one."""
        with self._transaction() as connection:
            version = _version_of(connection)
            tables = {text for (text,) in connection.execute("SELECT sql FROM main.sqlite_master")}
            lacking = [each for each in _TABLES if f"CREATE TABLE {each}" not in tables]
            if tables and lacking and version in (0, _VERSION):
                raise _DamagedError(f"it lacks the table {lacking[0].partition(',')[0]}, ...)")
        if version > _VERSION:
            raise ValueError(f"{self.path} must be of version {_VERSION}, got {version}; rename it to start over")
        if 0 < version < _VERSION:
            self.earlier_version = version

    def add(self, key: str, trial: int, outcomes: Outcomes, point: str = "", replaces: bool = False) -> Outcomes:
        """Store a trial, or more samples of it; return all known samples.

        The key is for everything that decides the outcomes except the number of the trial; `point` is a name for
        people. Of a sample that is known already, the first outcome stays, unless the new one `replaces` it.

        Raises:
            ValueError: There are more than 2^24 samples, or predictions, which no trial may have.
        """
        count = len(outcomes.value) if outcomes.prediction is None else outcomes.prediction.size
        if count > _MOST_SAMPLES:
            raise ValueError(f"a trial may have {_MOST_SAMPLES:,} samples, or tokens, at most, got {count:,}")
        with self._transaction(write=True) as connection:
            before = _trial(connection, key, trial)
            if before is not None and not replaces and np.isin(outcomes.sample_index, before.sample_index).all():
                return before
            if before is not None:
                outcomes = outcomes.joined(before) if replaces else before.joined(outcomes)
            row = (
                key, trial, point, _packed(np.diff(outcomes.sample_index, prepend=0), _KINDS[0]),
                _packed(outcomes.value, _KINDS[1]),
                None if outcomes.prediction is None else _packed(outcomes.prediction, _KINDS[2]),
                outcomes.seconds, outcomes.algorithm,
            )  # fmt: skip
            connection.execute(f"INSERT OR REPLACE INTO trials VALUES ({', '.join('?' * len(row))})", row)
        return outcomes

    def trial(self, key: str, trial: int) -> Outcomes | None:
        """A trial; None if it is not there, or if samples and outcomes differ in number."""
        with self._transaction() as connection:
            return _trial(connection, key, trial)

    def samples(self, keys: Iterable[str]) -> Iterator[tuple[str, int, bytes]]:
        """Key, number and samples of the trials of some keys; equal samples are equal bytes (`unpacked`).

        A trial whose samples and outcomes differ in number is left out.
        """
        keys = list(dict.fromkeys(keys))
        for start in range(0, len(keys), _AT_ONCE):
            some = keys[start : start + _AT_ONCE]
            asked = f"SELECT key, trial, {_PARTS} FROM trials WHERE key IN ({', '.join('?' * len(some))})"
            with self._transaction() as connection:
                found = [row for row in connection.execute(asked, some) if _arrays(row[2:]) is not None]
            yield from (row[:3] for row in found)

    def keep_point(self, run: str, point: str, trials: int, result: Mapping[str, Any]) -> None:
        """Store the result of a point of a run, unless the stored result has more trials."""
        query = (
            "INSERT INTO points VALUES (?, ?, ?, ?) ON CONFLICT (run, point) DO UPDATE SET trials = excluded.trials, "
            "result = excluded.result WHERE excluded.trials >= trials"
        )
        self._execute(query, run, point, trials, json.dumps(result), write=True)

    def point(self, run: str, point: str) -> Any:
        """The result of a point of a run; None if it is not there."""
        stored = self._values("SELECT result FROM points WHERE run = ? AND point = ?", run, point)
        return stored[0] if stored else None

    def remove_point(self, run: str, point: str) -> None:
        """Remove a point of a run; its trials stay."""
        self._execute("DELETE FROM points WHERE run = ? AND point = ?", run, point, write=True)

    def clear_points(self, run: str) -> None:
        """Remove all points of a run; their trials stay."""
        self._execute("DELETE FROM points WHERE run = ?", run, write=True)

    def points(self, run: str) -> list[Any]:
        """The results of the points of a run, in the order in which they were first finished."""
        return self._values("SELECT result FROM points WHERE run = ? ORDER BY rowid", run)

    def write(self, run: str, name: str, content: object) -> None:
        """Store a document of a run, such as its settings; it replaces one of the same name."""
        text = json.dumps(content, default=str)
        self._execute("INSERT OR REPLACE INTO documents VALUES (?, ?, ?)", run, name, text, write=True)

    def read(self, run: str, name: str) -> Any:
        """A document of a run; None if it is not there."""
        found = self._values("SELECT content FROM documents WHERE run = ? AND name = ?", run, name)
        return found[0] if found else None

    def documents_of(self, run: str, start: str) -> list[Any]:
        """The documents of a run whose names begin with a text."""
        query = "SELECT content FROM documents WHERE run = ? AND substr(name, 1, ?) = ? ORDER BY rowid"
        return self._values(query, run, len(start), start)

    def runs(self) -> list[str]:
        """Names of all runs that have a point."""
        return [run for (run,) in self._execute("SELECT DISTINCT run FROM points ORDER BY run")]

    def _execute(self, query: str, *values: str | int, write: bool = False) -> list[Any]:
        with self._transaction(write) as connection:
            return connection.execute(query, values).fetchall()

    def _values(self, query: str, *values: str | int) -> list[Any]:
        """The values of a column of JSON texts."""
        with self._transaction() as connection:
            try:
                return [json.loads(text) for (text,) in connection.execute(query, values)]
            except (ValueError, TypeError, RecursionError) as error:
                raise _DamagedError(f"a text is no JSON: {error}") from error

    @contextmanager
    def _transaction(self, write: bool = False) -> Iterator[sqlite3.Connection]:
        """A connection within a transaction, which is rolled back if it fails."""
        if self._is_begun and not self.path.exists():
            raise FileNotFoundError(f"{self.path} was removed while the command ran; run it again to start over")
        if write:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with closing(self._connected(write)) as connection, connection:
                connection.execute("BEGIN IMMEDIATE" if write else "BEGIN")
                if (version := _version_of(connection)) < _VERSION:
                    if write:
                        _rename_tables(connection, f"_{version}")
                        connection.execute(f"PRAGMA user_version = {_VERSION}")
                    for table in _TABLES:  # a reader may see a new, empty file of another process
                        connection.execute(f"CREATE {'' if write else 'TEMP '}TABLE {table}")
                yield connection
                self._is_begun |= write
        except _DamagedError as error:
            raise self.set_aside(error) from error
        except sqlite3.DatabaseError as error:
            if any(words in str(error) for words in _OF_DAMAGE) and not self._is_whole():
                raise self.set_aside(error) from error
            raise OSError(f"{self.path} cannot be {'written' if write else 'read'}: {error}") from error

    def _connected(self, write: bool) -> sqlite3.Connection:
        if not write and not self.path.exists():
            return sqlite3.connect(":memory:", isolation_level=None)
        # readers open it for writing, too, because SQLite then rolls back a killed process's half-written data
        address = f"{self.path.absolute().as_uri()}?mode={'rwc' if write else 'rw'}"
        return sqlite3.connect(address, timeout=_WAIT, isolation_level=None, uri=True)

    def _is_whole(self) -> bool:
        """Whether SQLite finds no fault in the file."""
        with suppress(sqlite3.DatabaseError), closing(self._connected(write=False)) as connection:
            return connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)  # type: ignore[no-any-return]
        return False

    def set_aside(self, error: Exception) -> ValueError:
        """The error for a damaged file, which is renamed unless the store is `read_only`."""
        if self._read_only:
            return ValueError(f"{self.path} is damaged ({error}); the command that wrote it computes it again")
        names = (self.path.with_suffix(f".sqlite.damaged{number or ''}") for number in count())
        aside = next(path for path in names if not path.exists())
        with suppress(FileNotFoundError):  # another command has set it aside
            self.path.rename(aside)
        return ValueError(f"{self.path} was damaged ({error}) and is now {aside}; run the command again to start over")


def _version_of(connection: sqlite3.Connection) -> int:
    """Version of the tables; 0: a new file, or one without a version."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _rename_tables(connection: sqlite3.Connection, ending: str) -> None:
    for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        connection.execute(f'ALTER TABLE "{name}" RENAME TO "{name}{ending}"')


def unpacked(samples: bytes) -> NDArray[np.int64]:
    """Indices of samples, rising."""
    return np.cumsum(_unpacked(samples, _KINDS[0]), dtype=np.int64)


def _packed(values: NDArray[Any], kind: str) -> bytes:
    return zlib.compress(values.astype(kind).tobytes())


def _unpacked(content: bytes, kind: str) -> NDArray[Any]:
    most = _MOST_SAMPLES * np.dtype(kind).itemsize
    try:
        unpacking = zlib.decompressobj()
        found = np.frombuffer(unpacking.decompress(content, most), kind)
    except (zlib.error, TypeError, ValueError) as error:
        raise _DamagedError(error) from error
    if not unpacking.eof:
        raise _DamagedError(f"a trial is cut off, or has more than {_MOST_SAMPLES:,} samples")
    return found


def _arrays(parts: Sequence[Any]) -> list[NDArray[Any]] | None:
    """Steps between samples, outcomes and, if known, predictions of a trial; None if they differ in number.

    There may be several predictions a sample. # (samples,), or (samples, places) of predictions
    """
    found = [_unpacked(part, kind) for part, kind in zip(parts[: 2 + (parts[2] is not None)], _KINDS, strict=False)]
    count = len(found[0])
    if len(found[1]) != count:
        return None
    if found[2:] and len(found[2]) != count:
        if not count or len(found[2]) % count:
            return None
        found[2] = found[2].reshape(count, -1)
    return found


def _trial(connection: sqlite3.Connection, key: str, trial: int) -> Outcomes | None:
    row = connection.execute(
        f"SELECT {_PARTS}, seconds, engine FROM trials WHERE key = ? AND trial = ?", (key, trial)
    ).fetchone()
    if row is None or (found := _arrays(row[:3])) is None:
        return None
    prediction = found[2].astype(np.int64) if len(found) > 2 else None
    return Outcomes(np.cumsum(found[0], dtype=np.int64), found[1], row[3], row[4], prediction)
