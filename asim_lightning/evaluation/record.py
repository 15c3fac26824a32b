"""The finished points of a sweep on disk, so that a sweep killed at any moment goes on where it stopped."""

import csv
import hashlib
import io
import json
import time
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from asim_lightning.evaluation.canonical import canonical_json, digest_of, plain
from asim_lightning.evaluation.results import (
    AxisValue,
    Kind,
    Outcomes,
    PointResult,
    axes_text,
    axis_text,
    axis_value,
    check_kind,
    point_result,
)
from asim_lightning.evaluation.whole_file import write_whole

RESULT_COLUMNS = ("kind", "trials", "images", "accuracy", "low", "high", "seconds", "algorithm", "point", "right")
"""Columns of results.csv behind those of the axes; the last holds the right answers of each trial."""
Content: TypeAlias = Callable[[Mapping[str, AxisValue], Kind], object]
"""All that decides a point's outcomes beside the fingerprint, from its axes and kind; values as JSON has them."""
_UNREADABLE = (
    OSError, EOFError, ValueError, KeyError, TypeError, MemoryError, RecursionError,
    zipfile.BadZipFile, zlib.error, NotImplementedError,
)  # fmt: skip
_MOST_BYTES = 2**28
"""Most bytes of a trial once unpacked: those of ten million images."""
_FEW = 100
"""Rows up to which results.csv is written anew for each point."""
_PAUSE = 20
"""Beyond that, times that the writing took until the next: it takes a twentieth of a sweep at most, however long."""


def sweep_folder(parent: str | Path, fingerprint: Mapping[str, object]) -> Path:
    """Folder of the sweep with this fingerprint: `parent` / "sweep-" and 8 hexadecimal digits of its SHA-256."""
    return Path(parent) / f"sweep-{digest_of(fingerprint)[:8]}"


class SweepRecord:
    """Finished trials and points of one sweep, kept in one folder.

        settings.json                   the fingerprint
        trials/POINT-TRIAL.npz          every image's label and prediction, one file a finished trial
        results.csv                     one row a finished point

    Each file is written under another name and then renamed, so that it is whole or absent. A trial is written when it
    is stored; results.csv when a point is finished, of many points now and then, and by `write_results`. The trials are
    the truth: accuracies and intervals are computed from them, on reopening too, and of results.csv only the fact that
    a point is finished is read back. A trial file whose checksum does not fit counts as absent, and `notes` say so; one
    that was written under another fingerprint counts as absent too.

    A point is its content: points that compute the same share their trials, and each has its row. results.csv keeps all
    finished points of the folder, with the most trials that each was finished with.

    Only one process may write to a folder at a time.

    Args:
        folder: Where to keep the files, usually from `sweep_folder`; made where absent.
        fingerprint: All that decides a trial's outcome beside the point and the trial number: checkpoint, data, seed,
            settings that are not swept. Values as JSON has them. Axis values and the number of trials stay out of it,
            so that a finished sweep can be extended.
        columns: Names of the axes.
        content: What a point is; default: its axes and kind.
        reuse: Whether trials that are in the folder count.

    Raises:
        ValueError: The folder belongs to another fingerprint, or a column is given twice or has a reserved name.
        TypeError: The fingerprint holds something that JSON has not.
    """

    def __init__(
        self,
        folder: str | Path,
        fingerprint: Mapping[str, object],
        columns: Sequence[str],
        content: Content | None = None,
        reuse: bool = True,
    ) -> None:
        self.folder = Path(folder)
        self.columns = tuple(columns)
        if len(set(self.columns)) < len(self.columns) or set(self.columns) & set(RESULT_COLUMNS):
            reserved = ", ".join(RESULT_COLUMNS)
            raise ValueError(f"axes must differ from each other and from {reserved}, got {', '.join(self.columns)}")
        self._digest = digest_of(fingerprint)
        self._trial_folder = self.folder / "trials"
        self._content = content or (lambda axes, kind: {"axes": axes, "kind": kind})
        self._keys: dict[str, str] = {}
        self._finished_trials: dict[str, set[int]] = {}
        self._stored: set[str] = set()  # points with trials that were stored since the folder was opened
        self._results: dict[str, PointResult] = {}
        self._lines: dict[str, str] = {}  # of results.csv, by row
        self._is_written, self._write_next = True, 0.0
        self._damaged: list[Path] = []
        self._open_settings(fingerprint)
        if reuse:
            self._open_trials()
            self._open_results()

    @property
    def notes(self) -> list[str]:
        """What a user should know of the files that were found: a line, or none."""
        if not self._damaged:
            return []
        first, more = self._damaged[0], len(self._damaged) - 1
        if more:
            where = "they were written, and are computed again where they are needed"
            return [f"{first} and {more} more were changed or damaged after {where}"]
        return [f"{first} was changed or damaged after it was written, and is computed again where it is needed"]

    def key(self, axes: Mapping[str, AxisValue], kind: Kind) -> str:
        """Name of a point in file names and results.csv, the same for points that compute the same.

        Raises:
            ValueError: An axis is no column, or the kind is unknown.
        """
        check_kind(kind)
        unknown = [name for name in axes if name not in self.columns]
        if unknown:
            allowed = ", ".join(self.columns) or "none"
            raise ValueError(f"the axes of a point must be among {allowed}, got {', '.join(unknown)}")
        row = _row(axes, kind)
        if row not in self._keys:
            # 12 digits, as thousands of points must not collide
            self._keys[row] = digest_of(self._content(axes, kind))[:12]
        return self._keys[row]

    def trials(self, axes: Mapping[str, AxisValue], kind: Kind) -> tuple[int, ...]:
        """Numbers of the finished trials of a point, rising."""
        return tuple(sorted(self._finished_trials.get(self.key(axes, kind), ())))

    def results(self) -> tuple[PointResult, ...]:
        """The finished points, in the order in which they were finished."""
        return tuple(self._results.values())

    def store(self, axes: Mapping[str, AxisValue], kind: Kind, trial: int, outcomes: Outcomes) -> None:
        """Write the outcomes of one finished trial.

        An image that comes twice is kept once, its first outcome.

        Args:
            axes: Macro settings of the point, by axis name.
            kind: What computed the matrix products.
            trial: Number of the trial, from 0.
            outcomes: What it answered; images in any order.

        Raises:
            ValueError: An axis is no column, the trial is negative, or the arrays are not integers of one length.
        """
        point = self.key(axes, kind)
        if trial < 0:
            raise ValueError(f"`trial` must be 0 or more, got {trial}")
        samples, labels, predictions = (
            _integers(name, getattr(outcomes, name)) for name in ("sample_index", "label", "prediction")
        )
        if not samples.size == labels.size == predictions.size:
            sizes = f"{samples.size}, {labels.size} and {predictions.size}"
            raise ValueError(f"sample_index, label and prediction must have one length, got {sizes}")
        samples, first = np.unique(samples, return_index=True)
        header = {
            "fingerprint": self._digest,
            "point": point,
            "axes": plain(axes),
            "kind": kind,
            "trial": int(trial),
            "seconds": float(outcomes.seconds),
            "algorithm": outcomes.algorithm,
        }
        arrays = {"sample_index": samples, "label": labels[first], "prediction": predictions[first]}
        text, buffer = canonical_json(header), io.BytesIO()
        stored: dict[str, Any] = {"header": np.array(text), "checksum": np.array(_checksum(text, arrays)), **arrays}
        np.savez_compressed(buffer, **stored)
        write_whole(self._trial_path(point, trial), lambda file: file.write(buffer.getvalue()))
        self._finished_trials.setdefault(point, set()).add(int(trial))
        self._stored.add(point)

    def outcomes(self, axes: Mapping[str, AxisValue], kind: Kind, trial: int) -> Outcomes:
        """Read the outcomes of one finished trial.

        Raises:
            ValueError: The trial is not finished, or its file was damaged since.
        """
        point = self.key(axes, kind)
        if trial not in self._finished_trials.get(point, ()):
            raise ValueError(f"trial {trial} of {kind} at {axes_text(axes) or 'no axis'} is not in {self.folder}")
        try:
            return self._read(self._trial_path(point, trial))[1]
        except _UNREADABLE as error:
            path = self._trial_path(point, trial)
            raise ValueError(f"{path} was whole and is now damaged; delete it and run the sweep again") from error

    def finish(self, axes: Mapping[str, AxisValue], kind: Kind, trials: int) -> PointResult:
        """Compute the result of a point from its trials 0 to `trials` - 1, for results.csv.

        A row of results.csv that has more trials stays. A file of many rows that was written a moment ago is not
        written anew, so that little time goes into it; `write_results` brings it up to date.

        Raises:
            ValueError: There is no trial, a trial is missing, or trials saw different images.
        """
        if trials < 1:
            raise ValueError(f"`trials` must be at least 1, got {trials}")
        row = _row(axes, kind)
        known = self._results.get(row)
        if known is not None and known.trials == trials and self.key(axes, kind) not in self._stored:
            result = known  # computed on opening, from the same files
        else:
            result = self._result(axes, kind, trials)
        if known is None or known.trials <= trials:
            self._keep(row, result)
        self._is_written = False
        if len(self._results) <= _FEW or time.monotonic() >= self._write_next:
            self.write_results()
        return result

    def add(self, result: PointResult) -> None:
        """Take the result of a point that another process finished and has written to the folder, trials too."""
        self._finished_trials.setdefault(self.key(result.axes, result.kind), set()).update(range(result.trials))
        row = _row(result.axes, result.kind)
        known = self._results.get(row)
        if known is None or known.trials <= result.trials:
            self._keep(row, result)

    def write_results(self) -> None:
        """Write results.csv, if points were finished since it was written.

        Raises:
            OSError: It cannot be written.
        """
        if self._is_written:
            return
        start = time.monotonic()
        header = _csv_line((*self.columns, *RESULT_COLUMNS))
        text = header + "".join(self._lines[row] for row in self._results)
        write_whole(self.folder / "results.csv", lambda file: file.write(text.encode()))
        end = time.monotonic()
        self._is_written, self._write_next = True, end + _PAUSE * (end - start)

    def _result(self, axes: Mapping[str, AxisValue], kind: Kind, trials: int) -> PointResult:
        return point_result(_plain_axes(axes), kind, [self.outcomes(axes, kind, trial) for trial in range(trials)])

    def _trial_path(self, point: str, trial: int) -> Path:
        return self._trial_folder / f"{point}-{trial:05d}.npz"

    def _open_settings(self, fingerprint: Mapping[str, object]) -> None:
        path = self.folder / "settings.json"
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            # Absent or damaged: the trials carry the fingerprint too, so that nothing depends on this file.
            text = json.dumps(plain(fingerprint), indent=2, sort_keys=True, allow_nan=False) + "\n"
            write_whole(path, lambda file: file.write(text.encode()))
            return
        if digest_of(found) != self._digest:
            raise ValueError(f"{self.folder} must hold the sweep that is asked for, but its settings.json differs")

    def _open_trials(self) -> None:
        for path in sorted(self._trial_folder.glob("*.npz")):
            try:
                header, _ = self._read(path)
                point, trial = header["point"], header["trial"]
            except _UNREADABLE:
                self._damaged.append(path)
                continue
            if header["fingerprint"] == self._digest and path == self._trial_path(point, trial):
                self._finished_trials.setdefault(point, set()).add(trial)

    def _open_results(self) -> None:
        try:
            text = (self.folder / "results.csv").read_text(encoding="utf-8")
            rows = list(csv.DictReader(io.StringIO(text)))
        except (OSError, ValueError, csv.Error):
            return  # `finish` makes it anew from the trials
        for row in rows:
            try:
                axes = {name: axis_value(row[name]) for name in self.columns if row[name] != ""}
                kind: Any = row["kind"]
                if self.key(axes, kind) == row["point"]:
                    self._keep(_row(axes, kind), self._result(axes, kind, int(row["trials"])))
            except _UNREADABLE:
                continue  # `finish` makes it anew

    def _read(self, path: Path) -> tuple[dict[str, Any], Outcomes]:
        """The header and outcomes in a trial file; any of `_UNREADABLE` where it is damaged."""
        # Read whole first: numpy leaves a damaged file open.
        content = io.BytesIO(path.read_bytes())
        with zipfile.ZipFile(content) as parts:
            size = sum(part.file_size for part in parts.infolist())
        if size > _MOST_BYTES:
            raise ValueError(f"{path} must unpack to at most {_MOST_BYTES} bytes, got {size}")
        with np.load(content, allow_pickle=False) as archive:
            text, header = str(archive["header"]), json.loads(str(archive["header"]))
            outcomes = Outcomes(
                sample_index=_integers("sample_index", archive["sample_index"]),
                label=_integers("label", archive["label"]),
                prediction=_integers("prediction", archive["prediction"]),
                seconds=float(header["seconds"]),
                algorithm=str(header["algorithm"]),
            )
            written = str(archive["checksum"])
        arrays = {name: getattr(outcomes, name) for name in ("sample_index", "label", "prediction")}
        if written != _checksum(text, arrays):
            raise ValueError(f"{path} has another checksum than its content")
        return header, outcomes

    def _keep(self, row: str, result: PointResult) -> None:
        axes = [axis_text(result.axes[name]) if name in result.axes else "" for name in self.columns]
        shares = [f"{share:.6f}" for share in (result.accuracy, result.low, result.high)]
        tail = f"{result.seconds:.3f}", result.algorithm, self.key(result.axes, result.kind)
        right = " ".join(map(str, result.right))
        self._results[row] = result
        self._lines[row] = _csv_line((*axes, result.kind, result.trials, result.images, *shares, *tail, right))


def _csv_line(cells: Sequence[object]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


def _integers(name: str, values: ArrayLike) -> NDArray[np.int64]:
    array = np.asarray(values)
    if array.ndim != 1 or array.size == 0 or array.dtype.kind not in "iu":
        raise ValueError(f"`{name}` must hold integers in the shape (images,), got {array.dtype} {array.shape}")
    return array.astype(np.int64)


def _plain_axes(axes: Mapping[str, AxisValue]) -> dict[str, AxisValue]:
    return {name: plain(value) for name, value in axes.items()}  # type: ignore[misc]


def _row(axes: Mapping[str, AxisValue], kind: Kind) -> str:
    """What tells rows of results.csv apart."""
    return canonical_json({"axes": axes, "kind": kind})


def _checksum(header: str, arrays: Mapping[str, NDArray[np.int64]]) -> str:
    digest = hashlib.sha256(header.encode())
    for name, values in sorted(arrays.items()):
        digest.update(f"{name} {values.size}".encode())
        digest.update(values.astype("<i8").tobytes())
    return digest.hexdigest()
