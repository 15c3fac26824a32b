"""CSV files of measured columns: means and deviations of codes by count, or single reads."""

import csv
import hashlib
import math
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asim_lightning.resources import shipped_folder

FEWEST_READS = 20
"""Fewest reads of a count: of fewer that all gave one code, nothing is known of another."""
MOST_BYTES = 2**26
MOST_CODE = 2**16 - 1
"""Largest code of any ADC that a macro may have."""
_FALL = 0.5  # codes that a mean may lie below that of the count before: noise of the measurement, DNL of the converter
_LAYOUTS = {frozenset(("count", "mean", "std")): "moments", frozenset(("count", "code")): "reads"}
_ALLOWED = "count,mean,std or count,code, either with a further column `column`"


@dataclass(frozen=True, eq=False)
class Measurement:
    """Codes of one converter at every count from 0 to the last.

    Either moments or reads are there.
    """

    mean: NDArray[np.float64]
    """Mean code. # (counts,)"""
    std: NDArray[np.float64]
    """Standard deviation of the codes. # (counts,)"""
    reads: NDArray[np.int64] | None
    """How often each code was read, from code 0 to the largest; None where moments were given. # (counts, codes)"""


def find_measured(file: object) -> Path:
    """Where a file is: at its path, else, by name or as configs/NAME, beside the shipped recipes.

    Raises:
        ValueError: It is not there, or is no regular file.
    """
    wanted = "`file` of a measured column must be a CSV file"
    if not isinstance(file, str) or not file.strip() or "\0" in file:
        raise ValueError(f"{wanted}, got {file!r}")
    path, shipped = Path(file), shipped_folder("configs")
    try:
        if path.is_file():
            return path
        if path.parts[:-1] in ((), ("configs",)) and (shipped / path.name).is_file():
            return shipped / path.name
        kind = "a folder" if path.is_dir() else "a pipe or a device" if path.exists() else "which is not there"
    except OSError as error:  # a name of any length
        raise ValueError(f"{wanted}, got {file!r:.200}: {error.strerror}") from None
    near = [*path.parent.glob("*.csv"), *shipped.glob("*.csv")] if path.parent.is_dir() else []
    found = get_close_matches(path.name, [each.name for each in near], n=1)
    raise ValueError(f"{wanted}, got {file!r}, {kind}" + (f"; nearest: {found[0]}" if found else ""))


def content_of(file: object) -> tuple[bytes, str]:
    """Bytes of a file, and their digest as `macro.column_args.content` has it.

    Raises:
        ValueError: The file is not there, cannot be read, or is too large.
    """
    path = find_measured(file)
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise ValueError(f"{file} must be a CSV file of at most {MOST_BYTES} bytes, got {size}")
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror}") from None
    # with letters before it, so that no reader of YAML takes the digest for a number
    return content, f"sha256-{hashlib.sha256(content).hexdigest()[:16]}"


def read_measurement(content: bytes, name: str, converter: int | None) -> Measurement:
    """The measurement in a file.

    Args:
        content: What the file holds.
        name: The file, for messages.
        converter: Which converter, by the file's column `column`; None where it has none.

    Raises:
        ValueError: The file is no such table, counts are missing, twice or read too few times, a value is no number or
            out of range, a mean falls by more than half a code from one count to the next, or the converter is unknown.
    """
    lines = _lines(content, name)
    layout, header = _header(lines, name)
    rows = _rows(lines[1:], header, name)
    chosen = _of_converter(rows, "column" in header, converter, name)
    whole = np.array([row["count"] for row in chosen])
    counts = whole.astype(np.int64)  # (rows,)
    missing = sorted(set(range(int(counts.max()) + 1)) - set(counts.tolist()))
    if missing:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise ValueError(
            f"{name} must have every count from 0 to its last, {counts.max()}; {missing[0]} is missing{more}"
        )
    measurement = _moments(chosen, counts, name) if layout == "moments" else _reads(chosen, counts, name)
    _check_rise(measurement, name)
    return measurement


def converters_in(content: bytes, name: str) -> list[int]:
    """Numbers of the converters in a file, rising.

    Args:
        content: What the file holds.
        name: The file, for messages.

    Raises:
        ValueError: The file is no such table, or has no column `column`.
    """
    lines = _lines(content, name)
    header = _header(lines, name)[1]
    if "column" not in header:
        raise ValueError(f"`converter` must be left out, as {name} has no column `column`, got 'each'")
    return sorted({int(row["column"]) for row in _rows(lines[1:], header, name)})


def _lines(content: bytes, name: str) -> list[tuple[int, list[str]]]:
    """Fields of each line that is neither empty nor a comment, with its number."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{name} must be a CSV file, got one that is no text in UTF-8") from None
    if "\0" in text:
        raise ValueError(f"{name} must be a CSV file, got one that is no text in UTF-8")
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()[:1] not in ("", "#")]
    if not lines:
        raise ValueError(f"{name} must have the header {_ALLOWED}, and a line for each count or read, got nothing")
    try:
        return [(number, [field.strip() for field in next(csv.reader([line]))]) for number, line in lines]
    except csv.Error as error:
        raise ValueError(f"{name} must be a CSV file: {error}") from None


def _header(lines: list[tuple[int, list[str]]], name: str) -> tuple[str, list[str]]:
    number, header = lines[0]
    layout = _LAYOUTS.get(frozenset(header) - {"column"})
    if layout is None or len(set(header)) < len(header):
        raise ValueError(f"{name}, line {number}: the header must be {_ALLOWED}, got {','.join(header):.100}")
    if len(lines) == 1:
        raise ValueError(f"{name} must have a line for each count or read below its header, got none")
    return layout, header


def _rows(lines: list[tuple[int, list[str]]], header: list[str], name: str) -> list[dict[str, float]]:
    rows = []
    for number, fields in lines:
        if len(fields) != len(header):
            raise ValueError(f"{name}, line {number} must have {len(header)} fields, got {len(fields)}")
        row = {}
        for key, text in zip(header, fields, strict=True):
            value = _number(text)
            whole, most = key in ("count", "code", "column"), MOST_CODE if key in ("code", "mean") else 2**20
            if not (0 <= value <= most) or (whole and value != int(value)):
                allowed = f"a {'whole ' if whole else ''}number, 0..{most}"
                raise ValueError(f"{name}, line {number}: {key} must be {allowed}, got {text[:60]!r}")
            row[key] = value
        rows.append(row)
    return rows


def _number(text: str) -> float:
    try:
        return float(text) if "_" not in text else math.nan
    except ValueError:
        return math.nan


def _of_converter(
    rows: list[dict[str, float]], has_column: bool, converter: int | None, name: str
) -> list[dict[str, float]]:
    if not has_column:
        if converter is not None:
            raise ValueError(f"`converter` must be left out, as {name} has no column `column`, got {converter}")
        return rows
    known = sorted({int(row["column"]) for row in rows})
    if converter not in known:
        shown = ", ".join(map(str, known[:8])) + (f" and {len(known) - 8} more" if len(known) > 8 else "")
        given = "none" if converter is None else repr(converter)
        raise ValueError(f"`converter` must be one of those in {name}, {shown}, or in a macro `each`, got {given}")
    return [row for row in rows if row["column"] == converter]


def _moments(rows: list[dict[str, float]], counts: NDArray[np.int64], name: str) -> Measurement:
    if len(counts) > counts.max() + 1:
        twice = int(np.flatnonzero(np.bincount(counts) > 1)[0])
        raise ValueError(f"{name} must have each count once with its mean and std, got {twice} twice")
    order = np.argsort(counts)
    mean, std = (np.array([row[key] for row in rows])[order] for key in ("mean", "std"))
    return Measurement(mean, std, None)


def _reads(rows: list[dict[str, float]], counts: NDArray[np.int64], name: str) -> Measurement:
    codes = np.array([row["code"] for row in rows]).astype(np.int64)  # (reads,)
    width = int(codes.max()) + 1
    number = np.bincount(counts)  # (counts,)
    if number.min() < FEWEST_READS:
        few = int(number.argmin())
        raise ValueError(
            f"{name} must have {FEWEST_READS} or more reads of each count, got {number[few]} of count {few}"
        )
    if len(number) * width > 2**26:
        raise ValueError(f"{name} must have at most {2**26} pairs of count and code, got {len(number)} x {width}")
    reads = np.bincount(counts * width + codes, minlength=len(number) * width).reshape(len(number), width)
    levels = np.arange(width)
    mean = reads @ levels / number
    std = np.sqrt(np.maximum(reads @ levels**2 / number - mean**2, 0.0))
    return Measurement(mean, std, reads)


def _check_rise(measurement: Measurement, name: str) -> None:
    """Refuse means that fall: by half a code, and where there are reads by 4 standard errors."""
    allowed = np.full(len(measurement.mean) - 1, _FALL)  # (counts - 1,)
    if measurement.reads is not None:
        variance = measurement.std**2 / measurement.reads.sum(1)
        allowed = np.maximum(allowed, 4.0 * np.sqrt(variance[1:] + variance[:-1]))
    fallen = np.flatnonzero(np.diff(measurement.mean) < -allowed)
    if len(fallen):
        at = int(fallen[0])
        before, after = measurement.mean[at], measurement.mean[at + 1]
        raise ValueError(
            f"{name} must have means that rise with the count, got {before:.4g} at count {at} and {after:.4g} at count "
            f"{at + 1}"
        )
