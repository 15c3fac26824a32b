"""Finished trials and points of a recipe's runs, with settings and commands, in one SQLite file."""

import json
import os
import sqlite3
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from asim_lightning.evaluation.results import Outcomes
from asim_lightning.evaluation.stored_rows import (
    KINDS,
    MOST_SAMPLES,
    TABLES,
    DamagedError,
    insert,
    packed,
    read_trial,
    salvaged,
    whole_rows,
)
from asim_lightning.whole_file import write_whole

STORE = "runs.sqlite"
_VERSION = 3
_WAIT = 60.0
"""Seconds that a transaction waits for other processes."""
_AT_ONCE = 500
"""Most keys of one query."""
_FORMAT = bytes([1, 1, 0, 64, 32, 32])
"""Bytes 18 to 23 of a file with a journal, without reserved bytes in its pages."""
_COUNT = 68
"""Place of SQLite's application_id in a file, which holds the number of rows."""
_OF_DAMAGE = ("malformed", "not a database", "decode to UTF-8", "unsupported file format")
"""SQLite's messages for a damaged file."""
T = TypeVar("T")


class Store:
    """The file runs.sqlite of a recipe: trials by key; points and documents by run.

    A trial is found by the key of everything that decides its outcomes, whichever run asked for it. Every call is one
    transaction on a new connection. So a killed process leaves all of it or nothing, several processes may write at
    once, and nothing is open when a process forks. The first write renames the tables of an earlier version; they stay
    in the file, and are not read.

    Folder and file are made at the first write. If the file is removed after that, every call raises an OSError,
    because a new file would lack the earlier points.

    Each row has a digest. A file with damage, other tables or broken content is set aside under another name, and the
    store goes on with a new file of all rows whose digests are right, with a warning that says how many rows are lost.
    A `read_only` store raises a ValueError instead.
    """

    def __init__(self, folder: str | Path, read_only: bool = False) -> None:
        self.path, self._read_only, self._is_begun = Path(folder) / STORE, read_only, False
        self.earlier_version: int | None = None
        """The version of the tables in the file if it is an earlier one."""
        version = self._do(self._checked)
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
        if count > MOST_SAMPLES:
            raise ValueError(f"a trial may have {MOST_SAMPLES:,} samples, or tokens, at most, got {count:,}")

        def joined(connection: sqlite3.Connection) -> Outcomes:
            before, every = read_trial(connection, key, trial), outcomes
            if before is not None and not replaces and np.isin(outcomes.sample_index, before.sample_index).all():
                return before
            if before is not None:
                every = outcomes.joined(before) if replaces else before.joined(outcomes)
            insert(
                connection, "trials", key, trial, point, packed(np.diff(every.sample_index, prepend=0), KINDS[0]),
                packed(every.value, KINDS[1]),
                None if every.prediction is None else packed(every.prediction, KINDS[2]),
                float(every.seconds), every.algorithm,
            )  # fmt: skip
            return every

        return self._do(joined, write=True)

    def trial(self, key: str, trial: int) -> Outcomes | None:
        """A trial; None if it is not there."""
        return self._do(lambda connection: read_trial(connection, key, trial))

    def samples(self, keys: Iterable[str]) -> Iterator[tuple[str, int, bytes]]:
        """Key, number and samples of the trials of some keys; equal samples are equal bytes (`unpacked`)."""
        keys = list(dict.fromkeys(keys))
        for start in range(0, len(keys), _AT_ONCE):
            some = keys[start : start + _AT_ONCE]
            asked = f"WHERE key IN ({', '.join('?' * len(some))})"
            found = self._rows("trials", asked, *some)
            yield from ((key, trial, samples) for key, trial, _, samples, *_ in found)

    def keep_point(self, run: str, point: str, trials: int, result: Mapping[str, Any]) -> None:
        """Store the result of a point of a run, unless the stored result has more trials."""
        update = "trials = excluded.trials, result = excluded.result, digest = excluded.digest"
        kept = f"ON CONFLICT (run, point) DO UPDATE SET {update} WHERE excluded.trials >= trials"
        text = json.dumps(result)
        self._do(lambda connection: insert(connection, "points", run, point, trials, text, kept=kept), write=True)

    def point(self, run: str, point: str) -> Any:
        """The result of a point of a run; None if it is not there."""
        stored = self._values("points", "WHERE run = ? AND point = ?", run, point)
        return stored[0] if stored else None

    def remove_point(self, run: str, point: str) -> None:
        """Remove a point of a run; its trials stay."""
        self._execute("DELETE FROM points WHERE run = ? AND point = ?", run, point, write=True)

    def clear_points(self, run: str) -> None:
        """Remove all points of a run; their trials stay."""
        self._execute("DELETE FROM points WHERE run = ?", run, write=True)

    def points(self, run: str) -> list[Any]:
        """The results of the points of a run, in the order in which they were first finished."""
        return self._values("points", "WHERE run = ? ORDER BY rowid", run)

    def write(self, run: str, name: str, content: object) -> None:
        """Store a document of a run, such as its settings; it replaces one of the same name."""
        text = json.dumps(content, default=str)
        self._do(lambda connection: insert(connection, "documents", run, name, text), write=True)

    def read(self, run: str, name: str) -> Any:
        """A document of a run; None if it is not there."""
        found = self._values("documents", "WHERE run = ? AND name = ?", run, name)
        return found[0] if found else None

    def documents_of(self, run: str, start: str) -> list[Any]:
        """The documents of a run whose names begin with a text."""
        return self._values(
            "documents", "WHERE run = ? AND substr(name, 1, ?) = ? ORDER BY rowid", run, len(start), start
        )

    def runs(self) -> list[str]:
        """Names of all runs that have a point."""
        return [run for (run,) in self._execute("SELECT DISTINCT run FROM points ORDER BY run")]

    def _execute(self, query: str, *values: str | int, write: bool = False) -> list[Any]:
        return self._do(lambda connection: connection.execute(query, values).fetchall(), write)

    def _rows(self, table: str, condition: str, *values: str | int) -> list[Sequence[Any]]:
        """The rows of a table that meet a condition."""
        return self._do(lambda connection: [*whole_rows(connection, table, condition, *values)])

    def _values(self, table: str, condition: str, *values: str | int) -> list[Any]:
        """The last values, which are JSON, of rows that meet a condition."""
        rows = self._rows(table, condition, *values)
        try:
            return [json.loads(row[-1]) for row in rows]
        except (ValueError, RecursionError) as error:
            self.mend(error)
        return [json.loads(row[-1]) for row in self._rows(table, condition, *values)]

    def _do(self, work: Callable[[sqlite3.Connection], T], write: bool = False) -> T:
        """Do some work in a transaction on a new connection; a failure rolls it back. Damage is mended once."""
        for is_last in (False, True):
            file = self._file()
            if self._is_begun and not self.path.exists():
                raise FileNotFoundError(f"{self.path} was removed while the command ran; run it again to start over")
            if write:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with closing(self._connected(write)) as connection, connection:
                    connection.execute("PRAGMA secure_delete = ON")  # else freed pages keep rows that were replaced
                    connection.execute("BEGIN IMMEDIATE" if write else "BEGIN")
                    self._make_tables(connection, write)
                    found = work(connection)
                    if write:
                        connection.execute(f"PRAGMA application_id = {_count(connection)}")
                self._is_begun |= write
                return found
            except (DamagedError, sqlite3.DatabaseError, UnicodeDecodeError) as error:  # the last of a damaged message
                if is_last or (isinstance(error, sqlite3.DatabaseError) and self._is_whole()):
                    raise OSError(f"{self.path} cannot be {'written' if write else 'read'}: {error}") from error
                if self._file() == file:  # else another process has mended it
                    self.mend(error)
        raise AssertionError("the loop returns or raises")

    def _make_tables(self, connection: sqlite3.Connection, write: bool) -> None:
        """Make the tables in a new file, or next to those of an earlier version."""
        version = self._version(connection)
        if version == _VERSION:
            return
        if write:
            _rename_tables(connection, f"_{version}")
            connection.execute(f"PRAGMA user_version = {_VERSION}")
        for name, columns in TABLES.items():  # a reader may see a new, empty file of another process
            connection.execute(f"CREATE {'' if write else 'TEMP '}TABLE {name} {columns}")

    def _version(self, connection: sqlite3.Connection) -> int:
        """Version of the tables in the file; 0: a new file. Refuses a later one, and tables of none."""
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        tables = {text for (text,) in connection.execute("SELECT sql FROM main.sqlite_master")}
        lacking = [name for name, columns in TABLES.items() if f"CREATE TABLE {name} {columns}" not in tables]
        if not lacking and version != _VERSION:
            raise DamagedError(f"its tables are of version {_VERSION}, but it says {version}")
        if tables and lacking and version in (0, _VERSION):
            raise DamagedError(f"it lacks the table {lacking[0]}")
        if version > _VERSION:
            raise ValueError(f"{self.path} must be of version {_VERSION}, got {version}; rename it to start over")
        return version

    def _checked(self, connection: sqlite3.Connection) -> int:
        """Version of the tables before this command, if the file has no damage."""
        version = int(connection.execute("PRAGMA main.user_version").fetchone()[0])
        if self.path.exists() and version == _VERSION:
            with self.path.open("rb") as file:
                if file.read(len(_FORMAT) + 18)[18:] != _FORMAT:
                    raise DamagedError("its header is damaged")
            (fault,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
            if fault != "ok":
                raise DamagedError(fault.splitlines()[-1])
            for table in TABLES:
                for _ in whole_rows(connection, table):
                    pass
        return version

    def _connected(self, write: bool) -> sqlite3.Connection:
        if not write and not self.path.exists():
            return sqlite3.connect(":memory:", isolation_level=None)
        # readers open it for writing, too, because SQLite then rolls back a killed process's half-written data
        address = f"{self.path.absolute().as_uri()}?mode={'rwc' if write else 'rw'}"
        return sqlite3.connect(address, timeout=_WAIT, isolation_level=None, uri=True)

    def _file(self) -> int | None:
        """Number of the file in its file system; None if there is no file."""
        return self.path.stat().st_ino if self.path.exists() else None

    def _is_whole(self) -> bool:
        """Whether the file has no damage, as far as it can be opened."""
        try:
            with closing(self._connected(write=False)) as connection, connection:
                connection.execute("BEGIN")
                self._make_tables(connection, write=False)
                self._checked(connection)
        except (DamagedError, UnicodeDecodeError):
            return False
        except sqlite3.DatabaseError as error:
            return not any(words in str(error) for words in _OF_DAMAGE)
        return True

    def mend(self, error: Exception) -> None:
        """Set a damaged file aside, and put a new one with its whole rows in its place.

        Raises:
            ValueError: The store is `read_only`.
        """
        if self._read_only:
            said = "the command that wrote it keeps the rows that can be read"
            raise ValueError(f"{self.path} is damaged ({error}); {said}") from error
        with self.path.open("rb") as file:
            content, place = file.read(), os.fstat(file.fileno()).st_ino
        rows = salvaged(content)
        for number in count():
            aside = self.path.with_suffix(f".sqlite.damaged{number or ''}")
            if not aside.exists():
                break
        with tempfile.TemporaryDirectory() as folder:
            new = Store(folder)
            new._do(lambda connection: _insert_all(connection, rows), write=True)
            whole = new.path.read_bytes()
        if self._file() != place:  # another process was faster
            return
        aside.write_bytes(content)
        journal = Path(f"{self.path}-journal")  # SQLite would apply it to the new file
        if journal.exists():
            journal.rename(f"{aside}-journal")
        write_whole(self.path, lambda file: file.write(whole))
        lost = int.from_bytes(content[_COUNT : _COUNT + 4], "big") - len(rows)
        said = f"{lost:,} row{'s are' if lost != 1 else ' is'} lost" if 0 <= lost < 2**24 else "others may be lost"
        kept = f"{len(rows):,} row{'s are' if len(rows) != 1 else ' is'} kept"
        why = str(error).partition(" with text")[0]
        warnings.warn(f"{self.path} was damaged ({why}) and is now {aside.name}: {kept}, {said}", stacklevel=2)


def _count(connection: sqlite3.Connection) -> int:
    """Number of all rows."""
    return sum(int(connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0]) for name in TABLES)


def _insert_all(connection: sqlite3.Connection, rows: Iterable[Sequence[Any]]) -> None:
    for row in rows:
        insert(connection, *row)


def _rename_tables(connection: sqlite3.Connection, ending: str) -> None:
    for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        connection.execute(f'ALTER TABLE "{name}" RENAME TO "{name}{ending}"')
