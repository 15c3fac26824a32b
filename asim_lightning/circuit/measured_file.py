"""CSV files of measured columns: means and deviations of codes by count, or single reads."""

import hashlib
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asim_lightning.resources import shipped_folder

EACH = "each"
"""All converters of a file in turn."""
FEWEST_READS = 20
"""Fewest reads of a count: fewer reads of one code do not rule out another code."""
MOST_CODE = 2**16 - 1
"""Largest code of any ADC that a macro may have."""
_FALL = 0.5  # codes that a mean may fall from one count to the next: measurement noise, DNL of the converter
_LAYOUTS = (frozenset(("count", "mean", "std")), frozenset(("count", "code")))
_ALLOWED = "count,mean,std or count,code, either with a further column `column`"

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Measurement:
    """Codes of one converter at every count from 0 to the last."""

    mean: Array
    """Mean code. # (counts,)"""
    std: Array
    """Standard deviation of the codes. # (counts,)"""
    reads: NDArray[np.int64] | None
    """How often each code was read, from code 0 to the largest; None if the file has mean and std. # (counts, codes)"""


def find_measured(file: object) -> Path:
    """Path of a regular file: the given path, else the shipped recipe of the path NAME or configs/NAME."""
    wanted = "`file` of a measured column must be a CSV file"
    if not isinstance(file, str):
        raise ValueError(f"{wanted}, got {file!r}")
    path, shipped = Path(file), shipped_folder("configs")
    if path.is_file():
        return path
    if path.parts[:-1] in ((), ("configs",)) and (shipped / path.name).is_file():
        return shipped / path.name
    near = [*path.parent.glob("*.csv"), *shipped.glob("*.csv")] if path.parent.is_dir() else []
    found = get_close_matches(path.name, [each.name for each in near], n=1)
    kind = "a folder" if path.is_dir() else "which is not there"
    raise ValueError(f"{wanted}, got {file!r:.200}, {kind}" + (f"; nearest: {found[0]}" if found else ""))


def content_of(file: object) -> tuple[bytes, str]:
    """Bytes of a file, and their digest for `macro.column_args.content`."""
    path = find_measured(file)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror}") from None
    # it begins with letters, so that YAML does not read the digest as a number
    return content, f"sha256-{hashlib.sha256(content).hexdigest()[:16]}"


def read_measurements(content: bytes, name: str, converter: int | str | None) -> dict[int | None, Measurement]:
    """The measurements in the content of a file, by the numbers of their converters.

    Args:
        content: Bytes of the file.
        name: The file, for messages.
        converter: Number of the converter, or `EACH`; None for a file without the column `column`.

    Raises:
        ValueError: The file is no such table; a count is missing, repeated or read too few times; a value is no number
            or out of range; a mean falls by more than half a code to the next count; or the converter is unknown.
    """
    columns = _columns(content, name)
    if "column" not in columns:
        if converter is not None:
            raise ValueError(f"`converter` must be left out, because {name} has no column `column`, got {converter!r}")
        return {None: _measurement(columns, name)}
    known = np.unique(columns["column"]).astype(int).tolist()
    if converter not in (*known, EACH):
        shown = ", ".join(map(str, known[:8])) + (f" and {len(known) - 8} more" if len(known) > 8 else "")
        given = "none" if converter is None else repr(converter)
        raise ValueError(f"`converter` must be a converter in {name}, {shown}, or in a macro `each`, got {given}")
    found: dict[int | None, Measurement] = {}
    for number in known if isinstance(converter, str) else [converter]:
        its = {key: column[columns["column"] == number] for key, column in columns.items()}
        found[number] = _measurement(its, name)
    return found


def _columns(content: bytes, name: str) -> dict[str, Array]:
    """Columns of the table by name. # (rows,) each"""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{name} must be a CSV file in UTF-8, got other bytes") from None
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()[:1] not in ("", "#")]
    if len(lines) < 2:
        raise ValueError(f"{name} must have the header {_ALLOWED}, and a line for each count or read")
    header = [field.strip(' "') for field in lines[0][1].split(",")]
    if frozenset(header) - {"column"} not in _LAYOUTS or len(set(header)) < len(header):
        raise ValueError(f"{name}, line {lines[0][0]}: the header must be {_ALLOWED}, got {','.join(header):.100}")
    try:
        texts = [line for _, line in lines[1:]]
        values = np.loadtxt(texts, delimiter=",", quotechar='"', ndmin=2, comments=None)
        columns = dict(zip(header, values.T, strict=True))
    except ValueError as error:
        raise ValueError(f"{name} must have {len(header)} numbers a line: {error}") from None
    for key, column in columns.items():
        whole, most = key in ("count", "code", "column"), MOST_CODE if key in ("code", "mean") else 2**20
        wrong = np.flatnonzero(~((column >= 0) & (column <= most)) | (whole & (column != np.floor(column))))
        if len(wrong):
            number, given = lines[1 + wrong[0]][0], column[wrong[0]]
            allowed = f"a {'whole ' if whole else ''}number, 0..{most}"
            raise ValueError(f"{name}, line {number}: {key} must be {allowed}, got {given:g}")
    return columns


def _measurement(columns: dict[str, Array], name: str) -> Measurement:
    """The measurement of one converter."""
    counts = columns["count"].astype(np.int64)  # (rows,)
    number = np.bincount(counts)  # (counts,)
    missing = np.flatnonzero(number == 0)
    if len(missing):
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise ValueError(
            f"{name} must have every count from 0 to its last, {counts.max()}; {missing[0]} is missing{more}"
        )
    if "mean" not in columns:
        measurement = _reads(columns["code"].astype(np.int64), counts, name)
    elif number.max() > 1:
        raise ValueError(
            f"{name} must have each count once with its mean and std, got {np.flatnonzero(number > 1)[0]} twice"
        )
    else:
        order = np.argsort(counts)
        measurement = Measurement(columns["mean"][order], columns["std"][order], None)
    _check_rise(measurement, name)
    return measurement


def _reads(codes: NDArray[np.int64], counts: NDArray[np.int64], name: str) -> Measurement:
    """The measurement of single reads. # (reads,) each"""
    width = int(codes.max()) + 1
    number = np.bincount(counts)  # (counts,)
    if number.min() < FEWEST_READS:
        few = int(number.argmin())
        raise ValueError(
            f"{name} must have {FEWEST_READS} or more reads of each count, got {number[few]} of count {few}"
        )
    reads = np.bincount(counts * width + codes, minlength=len(number) * width).reshape(len(number), width)
    levels = np.arange(width)
    mean = reads @ levels / number
    std = np.sqrt(np.maximum(reads @ levels**2 / number - mean**2, 0.0))
    return Measurement(mean, std, reads)


def _check_rise(measurement: Measurement, name: str) -> None:
    """Refuse means that fall by more than half a code and, with reads, by more than 4 standard errors."""
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
