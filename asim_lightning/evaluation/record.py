"""The finished points of a sweep on disk, so that a sweep killed at any moment goes on where it stopped."""

import csv
import io
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from asim_lightning.evaluation.accuracy_question import AccuracyQuestion, hypergeometric_interval
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
from asim_lightning.evaluation.settings_file import keep_settings
from asim_lightning.evaluation.trial_store import UNREADABLE, TrialStore, part_of
from asim_lightning.evaluation.whole_file import write_whole
from asim_lightning.text_table import csv_text

RESULT_COLUMNS = ("kind", "trials", "images", "accuracy", "low", "high", "seconds", "algorithm", "point", "right")
"""Columns of results.csv behind those of the axes; the last holds the right answers of each trial."""
_OF_TIME = ("seconds", "algorithm")
"""Those that change where images were added to the trials."""
FIGURE_COLUMNS = ("energy_uj", "latency_ms", "tops_per_watt")
"""Columns behind these, where a point's cost is known."""
Figures: TypeAlias = Callable[[Mapping[str, AxisValue], Kind], Mapping[str, float]]
"""What a point costs, from its axes and kind: values of `FIGURE_COLUMNS`, as far as it has them."""
Content: TypeAlias = Callable[[Mapping[str, AxisValue], Kind], object]
"""All that decides a point's outcomes beside the fingerprint, from its axes and kind; values as JSON has them."""
_LEAST, _PARTS = 25, 20
"""Images of a part, at least, and parts of a trial that may stop early."""
_FEW = 100
"""Rows up to which results.csv is written anew for each point."""
_PAUSE = 20
"""Beyond that, times that the writing took until the next: it takes a twentieth of a sweep at most, however long."""


class SweepRecord:
    """Finished trials and points of one sweep or search: a table, and trials in a store that may be shared.

        settings.json                   the fingerprint
        trials/POINT-TRIAL.npz          every image's label and prediction, one file a finished trial (`TrialStore`)
        results.csv                     one row a finished point

    Each file is written under another name and then renamed, so that it is whole or absent. A trial is written when it
    is stored; results.csv when a point is finished, of many points now and then, and by `write_results`. The trials are
    the truth: accuracies and intervals are computed from them, on reopening too, and of results.csv only the fact that
    a point is finished is read back.

    A point is its content: points that compute the same share their trials, and each has its row. results.csv keeps all
    finished points of the folder, with the most trials that each was finished with; rows that another process wrote
    stay.

    Args:
        folder: Where to keep the files, usually from `settings_file.sweep_folder`; made where absent.
        fingerprint: All that decides a trial's outcome beside the point and the trial number: checkpoint, data, seed,
            settings that are not swept. Values as JSON has them. Axis values and the number of trials stay out of it,
            so that a finished sweep can be extended.
        columns: Names of the axes.
        content: What a point is; default: its axes and kind.
        reuse: Whether trials that are in the folder count.
        store: Where the trials are; default: the folder's own.
        images: Indices of the images that a trial needs, in the order of evaluation; None: those that it has.
        until: A question that ends the images of each simulated point when it is answered.

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
        store: TrialStore | None = None,
        images: NDArray[np.int64] | None = None,
        until: AccuracyQuestion | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.columns = tuple(columns)
        if len(set(self.columns)) < len(self.columns) or set(self.columns) & set(RESULT_COLUMNS):
            reserved = ", ".join(RESULT_COLUMNS)
            raise ValueError(f"axes must differ from each other and from {reserved}, got {', '.join(self.columns)}")
        self._digest = digest_of(fingerprint)
        self._content = content or (lambda axes, kind: {"axes": axes, "kind": kind})
        self.images, self.until = images, until
        self._keys: dict[str, str] = {}
        self._whole: dict[int, tuple[NDArray[np.int64], bool]] = {}
        self._stored: set[str] = set()  # points with trials that were stored since the folder was opened
        self._results: dict[str, PointResult] = {}
        self._lines: dict[str, str] = {}  # of results.csv, by row
        self._is_written, self._write_next = True, 0.0
        changed = keep_settings(self.folder, fingerprint)
        self._changed = [] if changed is None else [changed]  # what was found of the tables
        self._figures: Figures | None = None
        self.store_of_trials = store or TrialStore(self.folder / "trials", self._digest, reuse)
        if reuse:
            self._open_results()

    @property
    def notes(self) -> list[str]:
        """What a user should know of the files that were found: a line for each kind of trouble, or none."""
        return [*self._changed, *self.store_of_trials.notes]

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
        """Numbers of the finished trials of a point, rising: those that lack no image."""
        point = self.key(axes, kind)
        found = self.store_of_trials.images(point)
        return tuple(trial for trial in sorted(found) if self._is_finished(point, kind, trial, found[trial]))

    def known(self, axes: Mapping[str, AxisValue], kind: Kind, trial: int) -> Outcomes | None:
        """All that is known of a trial, finished or not; None where nothing is."""
        point = self.key(axes, kind)
        return self.store_of_trials.outcomes(point, trial) if trial in self.store_of_trials.images(point) else None

    def wanted(self, found: Outcomes | None, kind: Kind) -> NDArray[np.int64] | None:
        """Places among `images` of those to evaluate next, in their order; None: the whole run, as nothing is known.

        Args:
            found: What is known of the trial.
            kind: What computes the products.
        """
        stops = self._may_stop(kind)
        if self.images is None or (found is None and not stops):
            return None if found is None else np.zeros(0, dtype=np.int64)
        if found is not None and stops and self._stop(found) is not None:
            return np.zeros(0, dtype=np.int64)
        lacking = np.arange(len(self.images))
        if found is not None:
            lacking = np.flatnonzero(~np.isin(self.images, found.sample_index))
        return lacking[: max(_LEAST, len(self.images) // _PARTS)] if stops else lacking

    def asked(self, found: Outcomes, kind: Kind) -> Outcomes:
        """A finished trial on the images that are asked for.

        Raises:
            ValueError: It lacks one.
        """
        if self.images is None:
            return found
        return part_of(found, self.images[: self._stop(found) if self._may_stop(kind) else None])

    def look_again(self, axes: Mapping[str, AxisValue], kind: Kind, trial: int) -> bool:
        """Whether a trial is finished by now, perhaps by another process."""
        self.store_of_trials.look_again(self.key(axes, kind), trial)
        return trial in self.trials(axes, kind)

    def results(self) -> tuple[PointResult, ...]:
        """The finished points, in the order in which they were finished."""
        return tuple(self._results.values())

    def store(self, axes: Mapping[str, AxisValue], kind: Kind, trial: int, outcomes: Outcomes) -> None:
        """Write the outcomes of one finished trial, or of some images more of it.

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
        self.store_of_trials.add(point, trial, outcomes, {"axes": axes, "kind": kind})
        self._stored.add(point)

    def outcomes(self, axes: Mapping[str, AxisValue], kind: Kind, trial: int) -> Outcomes:
        """Read the outcomes of one finished trial, on `images` alone.

        Raises:
            ValueError: The trial is not finished, or its file was damaged since.
        """
        point = self.key(axes, kind)
        if trial not in self.trials(axes, kind):
            raise ValueError(f"trial {trial} of {kind} at {axes_text(axes) or 'no axis'} is not in {self.folder}")
        return self.asked(self.store_of_trials.outcomes(point, trial), kind)

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
        for trial in range(result.trials):
            self.store_of_trials.look_again(self.key(result.axes, result.kind), trial)
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
        with self.store_of_trials.held(f"write {self.folder.name}/results.csv"):
            self._open_results(self._results)  # what another process has finished since
            text = "".join(self._table())
            write_whole(self.folder / "results.csv", lambda file: file.write(text.encode()))
        end = time.monotonic()
        self._is_written, self._write_next = True, end + _PAUSE * (end - start)

    def show(self, figures: Figures) -> None:
        """Write what each point costs in results.csv, too.

        Args:
            figures: Its cost, which no outcome decides.
        """
        self._figures, self._is_written = figures, not self._results

    def _table(self) -> Iterator[str]:
        """Lines of results.csv."""
        if self._figures is None:
            yield _csv_line((*self.columns, *RESULT_COLUMNS))
            yield from (self._lines[row] for row in self._results)
            return
        yield _csv_line((*self.columns, *RESULT_COLUMNS, *FIGURE_COLUMNS))
        for row, result in self._results.items():
            found = self._figures(result.axes, result.kind)
            cells = [f"{found[name]:.6g}" if name in found else "" for name in FIGURE_COLUMNS]
            yield f"{self._lines[row][:-1]},{_csv_line(cells)}"

    def _result(self, axes: Mapping[str, AxisValue], kind: Kind, trials: int) -> PointResult:
        found = [self.outcomes(axes, kind, trial) for trial in range(trials)]
        return self.bounded(point_result(_plain_axes(axes), kind, found))

    def bounded(self, result: PointResult) -> PointResult:
        """A result with the interval of the sequence that ends images, where a question does."""
        if not self._may_stop(result.kind) or self.images is None:
            return result
        sequence = hypergeometric_interval(sum(result.right), result.images, len(self.images))
        return replace(result, low=sequence.low, high=sequence.high)

    def _may_stop(self, kind: Kind) -> bool:
        return self.until is not None and kind == "simulated"

    def _is_finished(self, point: str, kind: Kind, trial: int, index: NDArray[np.int64]) -> bool:
        if self.images is None:
            return True
        if self._may_stop(kind):
            return self._stop(self.store_of_trials.outcomes(point, trial)) is not None
        if id(index) not in self._whole:  # the store keeps it, and one for all trials of the same images
            self._whole[id(index)] = index, bool(np.isin(self.images, index).all())
        return self._whole[id(index)][1]

    def _stop(self, found: Outcomes) -> int | None:
        """After how many images the question is answered; None where those of a trial do not decide."""
        images = self.images
        if images is None or self.until is None:
            return None
        known = np.isin(images, found.sample_index)
        first = len(images) if known.all() else int(known.argmin())
        right = found.correct[np.searchsorted(found.sample_index, images[:first])]
        return self.until.images(right, len(images))

    def _open_results(self, known: Mapping[str, PointResult] | None = None) -> None:
        """Take the rows of results.csv; of those of known points none, but where they have more trials."""
        path = self.folder / "results.csv"
        if not path.is_file():
            return
        try:
            text = path.read_text(encoding="utf-8")
            reader = csv.DictReader(io.StringIO(text), restval="")
            rows, columns = [(reader.line_num, row) for row in reader], set(reader.fieldnames or ())
        except (OSError, ValueError, csv.Error):
            text, rows, columns = "", [], set()
        if {"kind", "front", "cheapest"} <= columns:
            return  # that of a search, which writes it whole at its end
        needed = (*self.columns, *RESULT_COLUMNS)
        changed = [1] * (not columns >= set(needed)) + [text.count("\n") + 1] * (not text.endswith("\n"))
        for line, row in rows:
            try:
                axes = {name: axis_value(row[name]) for name in self.columns if row[name] != ""}
                kind: Any = row["kind"]
                trials, here = int(row["trials"]), _row(axes, kind)
                is_its = self.key(axes, kind) == row["point"]
            except UNREADABLE:
                is_its = False
            if not is_its:
                changed.append(line)
            if not is_its or (known is not None and here in known and known[here].trials >= trials):
                continue
            for trial in range(trials if known is not None else 0):
                self.look_again(axes, kind, trial)
            try:
                self._keep(here, self._result(axes, kind, trials))
            except UNREADABLE:
                continue  # trials are gone: `finish` makes it anew
            (cells,) = csv.reader([self._lines[here]])
            if any(row.get(name) != cell for name, cell in zip(needed, cells, strict=True) if name not in _OF_TIME):
                changed.append(line)
        if known is None and changed:
            more = f" and {len(set(changed)) - 1} more" if len(set(changed)) > 1 else ""
            self._changed.append(
                f"{path} is torn, edited or of points that are others now at line {min(changed)}{more}, and is written "
                "anew from the trials, as far as it is asked for"
            )

    def _keep(self, row: str, result: PointResult) -> None:
        axes = [axis_text(result.axes[name]) if name in result.axes else "" for name in self.columns]
        shares = [f"{share:.6f}" for share in (result.accuracy, result.low, result.high)]
        tail = f"{result.seconds:.3f}", result.algorithm, self.key(result.axes, result.kind)
        right = " ".join(map(str, result.right))
        self._results[row] = result
        self._lines[row] = _csv_line((*axes, result.kind, result.trials, result.images, *shares, *tail, right))


def _csv_line(cells: Sequence[object]) -> str:
    return csv_text([cells], "\n")


def _plain_axes(axes: Mapping[str, AxisValue]) -> dict[str, AxisValue]:
    return {name: plain(value) for name, value in axes.items()}  # type: ignore[misc]


def _row(axes: Mapping[str, AxisValue], kind: Kind) -> str:
    """What tells rows of results.csv apart."""
    return canonical_json({"axes": axes, "kind": kind})
