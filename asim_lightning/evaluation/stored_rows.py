"""The rows of a store: their tables, digests, and the arrays of a trial as bytes."""

import json
import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asim_lightning.evaluation.results import Outcomes, Result
from asim_lightning.evaluation.salvage import Value, digest_of_row, rows_in

TABLES = {
    "trials": "(key TEXT, trial INTEGER, point TEXT, samples BLOB, outcomes BLOB, predictions BLOB, seconds REAL, "
    "engine TEXT, digest BLOB, PRIMARY KEY (key, trial))",
    "points": "(run TEXT, point TEXT, trials INTEGER, result TEXT, digest BLOB, PRIMARY KEY (run, point))",
    "documents": "(run TEXT, name TEXT, content TEXT, digest BLOB, PRIMARY KEY (run, name))",
}
"""Columns of the tables; the first two are the key of a row."""
_BY_LENGTH = {columns.partition(", PRIMARY")[0].count(",") + 1: name for name, columns in TABLES.items()}
KINDS = ("<i8", "<f4", "<i4")
"""Types of the numbers of samples, outcomes and predictions; the last may be missing."""
MOST_SAMPLES = 2**24
"""Most samples of a trial; a few kilobytes could expand to gigabytes."""


class DamagedError(Exception):
    """The file holds something that this version does not write."""


def insert(connection: sqlite3.Connection, table: str, *values: Value, kept: str = "") -> None:
    """Insert a row with its digest; it replaces one of the same key, unless `kept` says when to keep which."""
    digest = digest_of_row(table, *values)
    row = ", ".join("?" * (len(values) + 1))
    verb = "INSERT" if kept else "INSERT OR REPLACE"
    connection.execute(f"{verb} INTO {table} VALUES ({row}) {kept}", (*values, digest))


def whole_rows(
    connection: sqlite3.Connection, table: str, condition: str = "", *values: str | int
) -> Iterator[Sequence[Any]]:
    """Rows of a table without their digests, which are checked."""
    for *row, digest in connection.execute(f"SELECT * FROM {table} {condition}", values):
        if digest != digest_of_row(table, *row):
            raise DamagedError(f"a row of {table} is not as it was written")
        yield row


def salvaged(content: bytes) -> list[tuple[Any, ...]]:
    """The whole rows in the content of a damaged file, each after the name of its table, in the order of writing."""
    found = dict[tuple[Any, ...], tuple[tuple[bool, int], list[Any]]]()
    for is_counted, number, (*row, digest) in rows_in(content):
        table = _BY_LENGTH.get(len(row) + 1)
        if table == "trials" and isinstance(row[6], int):
            row[6] = float(row[6])  # SQLite stores a whole number of seconds as one
        if table is not None and digest == digest_of_row(table, *row) and _is_readable(table, row):
            rank, before = (is_counted, number), found.get((table, row[0], row[1]))
            if before is None or rank >= before[0]:
                found[table, row[0], row[1]] = rank, row
    return [(table, *row) for (table, *_), (_, row) in sorted(found.items(), key=lambda each: each[1][0][1])]


def _is_readable(table: str, row: Sequence[Any]) -> bool:
    """Whether the content of a row is as this version writes it."""
    try:
        if table == "trials":
            _arrays(row[3:6])
        else:
            content = json.loads(row[-1])
            if table == "points":
                Result.of_json(content)
    except (DamagedError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return False
    return True


def unpacked(samples: bytes) -> NDArray[np.int64]:
    """Indices of samples, rising."""
    return np.cumsum(_unpacked(samples, KINDS[0]), dtype=np.int64)


def packed(values: NDArray[Any], kind: str) -> bytes:
    """Numbers of one of the `KINDS`, compressed."""
    return zlib.compress(values.astype(kind).tobytes())


def _unpacked(content: bytes, kind: str) -> NDArray[Any]:
    most = MOST_SAMPLES * np.dtype(kind).itemsize
    try:
        unpacking = zlib.decompressobj()
        found = np.frombuffer(unpacking.decompress(content, most), kind)
    except (zlib.error, TypeError, ValueError) as error:
        raise DamagedError(error) from error
    if not unpacking.eof:
        raise DamagedError(f"a trial is cut off, or has more than {MOST_SAMPLES:,} samples")
    return found


def _arrays(parts: Sequence[Any]) -> list[NDArray[Any]]:
    """Steps between samples, outcomes and, if known, predictions of a trial.

    There may be several predictions a sample. # (samples,), or (samples, places) of predictions
    """
    found = [_unpacked(part, kind) for part, kind in zip(parts[: 2 + (parts[2] is not None)], KINDS, strict=False)]
    count = len(found[0])
    if len(found[1]) != count or (found[2:] and len(found[2]) % max(1, count)):
        raise DamagedError("samples and outcomes of a trial differ in number")
    if found[2:] and len(found[2]) != count:
        found[2] = found[2].reshape(count, -1)
    return found


def read_trial(connection: sqlite3.Connection, key: str, trial: int) -> Outcomes | None:
    """A trial; None if it is not there."""
    for row in whole_rows(connection, "trials", "WHERE key = ? AND trial = ?", key, trial):
        found = _arrays(row[3:6])
        prediction = found[2].astype(np.int64) if len(found) > 2 else None
        return Outcomes(np.cumsum(found[0], dtype=np.int64), found[1], row[6], row[7], prediction)
    return None
