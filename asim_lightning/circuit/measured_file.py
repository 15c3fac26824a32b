"""Files of measured columns: means and deviations by count, or single reads, of codes or volts; CSV or ngspice."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
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
_LAYOUTS: Mapping[frozenset[str], tuple[str, ...]] = {
    frozenset(("count", *names)): names
    for names in (("mean", "std"), ("code",), ("mean_mv", "std_mv"), ("mv",), ("mean_v", "std_v"), ("v",))
}
"""Columns of values, by all columns of a file."""
_ALLOWED = (
    "count,mean,std or count,code, or for voltages count,mean_mv,std_mv or count,mv; for several converters with a "
    "further column `column`, and for several numbers of driven rows with a further column `driven`"
)
_MV = {"mean_mv": 1.0, "mv": 1.0, "mean_v": 1000.0, "v": 1000.0}
"""Millivolts of a value, by its column."""

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Measurement:
    """Codes or voltages of converters at counts, of which 0 is the first."""

    converters: list[int]
    """Their numbers, ascending; 0 for a file without the column `column`."""
    counts: NDArray[np.int64]
    """The measured counts, ascending. # (counts,)"""
    mean: Array
    """Mean code, or voltage in mV. # (converters, counts)"""
    std: Array
    """Standard deviation of the codes or voltages. # (converters, counts)"""
    reads: NDArray[np.int64] | None
    """How often each code was read, from code 0 to the largest; None if the file has mean and std, or voltages.
    # (converters, counts, codes)"""
    is_voltage: bool = False
    number: NDArray[np.int64] | None = None
    """Single reads of voltages. # (converters, counts)"""
    wild: Array | None = None
    """Converter, count, and code or voltage in mV of each wild read, whether it is left out or not; None if the file
    has no single reads. # (reads, 3)"""


def content_of(file: object) -> tuple[bytes, str]:
    """Bytes of a file, or else of the shipped file of the path NAME or configs/NAME, and the digest of the bytes for
    `macro.column_args.content`."""
    path = Path(str(file))
    if not path.is_file() and path.parts[:-1] in ((), ("configs",)):
        path = shipped_folder("configs") / path.name
    if not isinstance(file, str) or not path.is_file():  # reading a pipe would wait
        raise ValueError(f"`file` of a measured column must be a CSV file, got {file!r:.200}, which is no file")
    content = path.read_bytes()
    # it begins with letters, so that YAML does not read the digest as a number
    return content, f"sha256-{hashlib.sha256(content).hexdigest()[:16]}"


def read_measurement(content: bytes, name: str, converter: int | str | None, wild_reads: bool = False) -> Measurement:
    """The measurement in the content of a file.

    Args:
        content: Bytes of the file.
        name: The file, for messages.
        converter: Number of the converter, or `EACH`; None for a file without the column `column`.
        wild_reads: Whether wild reads count (`are_wild`); else they are left out.

    Raises:
        ValueError: The file is no such table; it has no count 0; a count is repeated, read too few times, or missing
            for one of several converters; a value is no number or out of range; a mean falls by more than half a code
            to the next count; or the converter is unknown.
    """
    columns = _columns(content, name)
    if "column" not in columns:
        if converter is not None:
            raise ValueError(f"`converter` must be left out, because {name} has no column `column`, got {converter!r}")
        return _measurement({**columns, "column": np.zeros_like(columns["count"])}, name, wild_reads)
    known = np.unique(columns["column"]).astype(int).tolist()
    if converter not in (*known, EACH):
        shown = ", ".join(map(str, known[:8])) + (f" and {len(known) - 8} more" if len(known) > 8 else "")
        given = "none" if converter is None else repr(converter)
        raise ValueError(f"`converter` must be a converter in {name}, {shown}, or in a macro `each`, got {given}")
    its = slice(None) if converter == EACH else columns["column"] == converter
    return _measurement({key: column[its] for key, column in columns.items()}, name, wild_reads)


def read_by_driven(content: bytes, name: str, wild_reads: bool = False) -> dict[int, Measurement]:
    """The measurement in the content of a file for each number of driven rows, ascending; none if it has no column
    `driven`. Arguments and errors are those of `read_measurement`."""
    columns = _columns(content, name)
    driven = columns.pop("driven", np.zeros(0))
    found = {}
    for number in np.unique(driven).astype(int).tolist():
        its = {key: column[driven == number] for key, column in columns.items()}
        one = np.zeros_like(its["count"])
        found[number] = _measurement({**its, "column": one}, f"{name}, at {number} driven rows,", wild_reads)
    return found


def converters_in(content: bytes, name: str) -> list[int]:
    """Numbers of the converters in a file, ascending; none if it has no column `column`."""
    return np.unique(_columns(content, name).get("column", ())).astype(int).tolist()


def _columns(content: bytes, name: str) -> dict[str, Array]:
    """Columns of the table by name. # (rows,) each"""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} must be a CSV file in UTF-8: {error}") from None
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()[:1] not in ("", "#")]
    if any(line.split()[0] == "Index" for _, line in lines):
        lines = _of_print(lines, name)
    if len(lines) < 2:
        raise ValueError(f"{name} must have the header {_ALLOWED}, and a line for each count or read")
    header = [field.strip(' "') for field in lines[0][1].split(",")]
    further = {"column", "driven"} & set(header)
    if frozenset(header) - further not in _LAYOUTS or len(set(header)) < len(header):
        raise ValueError(f"{name}, line {lines[0][0]}: the header must be {_ALLOWED}, got {','.join(header):.100}")
    if len(further) > 1:
        raise ValueError(f"{name} must have a column `column` or a column `driven`, got both")
    try:
        texts = [line for _, line in lines[1:]]
        values = np.loadtxt(texts, delimiter=",", quotechar='"', ndmin=2, comments=None)
        columns = dict(zip(header, values.T, strict=True))
    except ValueError as error:
        raise ValueError(f"{name} must have {len(header)} numbers a line: {error}") from None
    for key, column in columns.items():
        whole, most = key in ("count", "code", "column", "driven"), MOST_CODE if key in ("code", "mean") else 2**20
        least = -most if key in _MV else 0  # an amplifier may have an offset
        wrong = np.flatnonzero(~((column >= least) & (column <= most)) | (whole & (column != np.floor(column))))
        if len(wrong):
            number, given = lines[1 + wrong[0]][0], column[wrong[0]]
            allowed = f"a {'whole ' if whole else ''}number, {least}..{most}"
            raise ValueError(f"{name}, line {number}: {key} must be {allowed}, got {given:g}")
    return columns


def _of_print(lines: list[tuple[int, str]], name: str) -> list[tuple[int, str]]:
    """The tables in an ngspice print file or log as lines of CSV: the scale is the count, each count once or read by
    read."""
    fields = [(number, line.split()) for number, line in lines]
    heads = list(dict.fromkeys(tuple(each) for _, each in fields if each[0] == "Index"))
    if len(heads) > 1 or len(heads[0]) != 3:
        given = " and ".join(" ".join(head) for head in heads)
        raise ValueError(f"{name} must have one voltage by the count in the tables of ngspice, got {given:.100}")
    found = [(number, each[1:]) for number, each in fields if len(each) == 3 and each[0].isdecimal()]
    is_once = len({count for _, (count, _) in found}) == len(found)
    table = [(number, f"{count},{volts}{',0' * is_once}") for number, (count, volts) in found]
    return [(lines[0][0], "count,mean_v,std_v" if is_once else "count,v"), *table]


def _measurement(columns: dict[str, Array], name: str, wild_reads: bool) -> Measurement:
    """The measurement in the rows of a table, of all its converters."""
    converters, of = np.unique(columns["column"].astype(np.int64), return_inverse=True)
    counts, at = np.unique(columns["count"].astype(np.int64), return_inverse=True)
    values = [columns[key] for key in _LAYOUTS[frozenset(columns) - {"column"}]]
    shape, place = (len(converters), len(counts)), of * len(counts) + at  # (rows,)
    number = np.bincount(place, minlength=shape[0] * shape[1]).reshape(shape)
    are_means = len(values) == 2
    wanted = "each count once" if are_means else f"{FEWEST_READS} or more reads of each count"
    wrong = np.argwhere(number != 1 if are_means else number < FEWEST_READS)
    if len(wrong):
        raise ValueError(f"{name} must have {wanted}, got {number[tuple(wrong[0])]} of count {counts[wrong[0, 1]]}")
    if counts[0] or len(counts) == 1:
        raise ValueError(f"{name} must have count 0 and the full scale, got counts {counts[0]}..{counts[-1]}")
    scale = next((_MV[key] for key in columns if key in _MV), None)
    reads: NDArray[np.int64] | None = None
    wild: Array | None = None
    if not are_means:
        # importing scipy takes as long as all else here
        from asim_lightning.circuit.wild_reads import are_wild

        is_wild = are_wild(place, values[0], shape, scale is None)
        wild = np.stack([columns["column"], columns["count"], values[0] * (scale or 1.0)], 1)[is_wild]
        codes = np.arange(values[0].max() + 1)  # of all reads, so that codes above the ADC's are refused
        if not wild_reads:
            place, values = place[~is_wild], [values[0][~is_wild]]
            number = np.bincount(place, minlength=number.size).reshape(shape)
    if are_means:
        order = np.argsort(place)
        mean, std = (each[order].reshape(shape) for each in values)
    elif scale is None:
        code = values[0].astype(np.int64)
        reads = np.bincount(place * len(codes) + code, minlength=number.size * len(codes)).reshape(*shape, len(codes))
        mean = reads @ codes / number
        std = np.sqrt(np.maximum(reads @ codes**2 / number - mean**2, 0.0))
    else:
        mean = np.bincount(place, values[0]).reshape(shape) / number
        std = np.sqrt(np.bincount(place, (values[0] - mean.ravel()[place]) ** 2).reshape(shape) / number)
    found = Measurement(
        converters.tolist(), counts, mean * (scale or 1.0), std * (scale or 1.0), reads, scale is not None,
        None if scale is None or are_means else number, wild,
    )  # fmt: skip
    _check_rise(found, number, name)
    return found


def _check_rise(found: Measurement, number: NDArray[np.int64], name: str) -> None:
    """Refuse means that fall, by more than half a code and noise explain; the fall of voltages is one of noise."""
    mean, errors = found.mean, found.std**2 / number
    if found.is_voltage and found.number is None:
        errors = found.std**2  # of an unknown number of reads
    allowed = 4.0 * np.sqrt(errors[:, 1:] + errors[:, :-1])  # 4 standard errors
    if not found.is_voltage:
        allowed = np.maximum(_FALL, allowed if found.reads is not None else 0.0)
    fallen = np.argwhere(np.diff(mean) < -allowed)
    if len(fallen):
        of, at = fallen[0]
        raise ValueError(
            f"{name} must have means that rise with the count, got {mean[of, at]:.4g} at count {found.counts[at]} and "
            f"{mean[of, at + 1]:.4g} at count {found.counts[at + 1]}"
        )
