"""Finished trials on disk, found again by what they computed, whichever command asked for them first."""

import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from asim_lightning.evaluation.canonical import canonical_json, plain
from asim_lightning.evaluation.file_locks import FileLocks
from asim_lightning.evaluation.results import Outcomes
from asim_lightning.evaluation.whole_file import write_whole

UNREADABLE = (
    OSError, EOFError, ValueError, KeyError, TypeError, MemoryError, RecursionError,
    zipfile.BadZipFile, zlib.error, NotImplementedError,
)  # fmt: skip
"""What reading a damaged file may raise."""
_MOST_BYTES = 2**28
"""Most bytes of a trial once unpacked: those of ten million images."""
_ARRAYS = ("sample_index", "label", "prediction")


class TrialStore:
    """Finished trials of one fingerprint, a file each: POINT-TRIAL.npz with every image's label and prediction.

    A file is written under another name and then renamed, so that it is whole or absent. One whose checksum does not
    fit counts as absent, and `notes` say so, as of one that belongs to another fingerprint or name. A trial of more
    images takes the place of its file with both. Several processes may add at once, and share work out by `claim`.

    Args:
        folder: Where the files are; made where absent.
        digest: Of all that decides a trial beside its point and number.
        reuse: Whether trials that are in the folder count.
    """

    def __init__(self, folder: str | Path, digest: str, reuse: bool = True) -> None:
        self.folder, self._digest, self._reuse = Path(folder), digest, reuse
        self._images: dict[str, dict[int, NDArray[np.int64]]] = {}
        self._same: dict[bytes, NDArray[np.int64]] = {}  # trials of the same images share their indices
        self._damaged: list[Path] = []
        self._strange: list[Path] = []
        self._locks = FileLocks(self.folder / "locks")
        if reuse:
            for path in sorted(self.folder.glob("*.npz")):
                try:
                    header, outcomes = self._read(path)
                    point, trial = header["point"], header["trial"]
                except UNREADABLE:
                    self._damaged.append(path)
                    continue
                if header["fingerprint"] == digest and path == self.path(point, trial):
                    self._know(point, trial, outcomes.sample_index)
                else:
                    self._strange.append(path)

    @property
    def notes(self) -> list[str]:
        """What a user should know of the files that were found: a line for each kind of trouble, or none."""
        found = []
        if self._damaged:
            first, more = self._damaged[0], len(self._damaged) - 1
            where = "they were written, and are computed again where they are needed"
            found.append(
                f"{first} and {more} more were changed or damaged after {where}"
                if more
                else f"{first} was changed or damaged after it was written, and is computed again where it is needed"
            )
        if self._strange:
            first, more = self._strange[0], len(self._strange) - 1
            which = f"{first} and {more} more are" if more else f"{first} is"
            found.append(f"{which} of another version, network, data or name, and not used here")
        return found

    def path(self, point: str, trial: int) -> Path:
        """File of a trial."""
        return self.folder / f"{point}-{trial:05d}.npz"

    def images(self, point: str) -> Mapping[int, NDArray[np.int64]]:
        """Indices of the images that each finished trial of a point saw, rising, by number of the trial."""
        return self._images.get(point, {})

    def add(self, point: str, trial: int, outcomes: Outcomes, described: Mapping[str, object]) -> Outcomes:
        """Write a trial; where other images of it are there, with both.

        An image that comes twice is kept once, its first outcome.

        Args:
            point: Name of the point.
            trial: Number of the trial, from 0.
            outcomes: What it answered; images in any order.
            described: What else the file says of the point, for people.

        Returns:
            All that is known of the trial.

        Raises:
            ValueError: The trial is negative, or the arrays are not integers of one length.
        """
        if trial < 0:
            raise ValueError(f"`trial` must be 0 or more, got {trial}")
        found = _in_order(outcomes)
        with self._locks.held(f"write {point}-{trial}"):
            path = self.path(point, trial)
            if path.exists() and (self._reuse or trial in self.images(point)):
                found = self._joined(path, point, trial, found)
            header = {
                "fingerprint": self._digest,
                "point": point,
                "trial": int(trial),
                **plain(described),  # type: ignore[dict-item]
                "seconds": float(found.seconds),
                "algorithm": found.algorithm,
            }
            arrays = {name: getattr(found, name) for name in _ARRAYS}
            text, buffer = canonical_json(header), io.BytesIO()
            stored: dict[str, Any] = {"header": np.array(text), "checksum": np.array(_checksum(text, arrays)), **arrays}
            np.savez_compressed(buffer, **stored)
            write_whole(path, lambda file: file.write(buffer.getvalue()))
        self._know(point, trial, found.sample_index)
        return found

    def look_again(self, point: str, trial: int) -> None:
        """Take a trial into account that another process may have written since the store was opened."""
        path = self.path(point, trial)
        if self._reuse and path.exists():
            try:
                header, outcomes = self._read(path)
                if header["fingerprint"] == self._digest:
                    self._know(point, trial, outcomes.sample_index)
            except UNREADABLE:
                pass

    def outcomes(self, point: str, trial: int) -> Outcomes:
        """Read a finished trial.

        Raises:
            ValueError: Its file was damaged since it was found.
        """
        path = self.path(point, trial)
        try:
            return self._read(path)[1]
        except UNREADABLE as error:
            raise ValueError(f"{path} was whole and is now damaged; delete it and run the sweep again") from error

    def claim(self, point: str, trial: int, wait: bool = False) -> bool:
        """Take a trial for this process until `release`, or its end; False where another process has it.

        Args:
            point: Name of the point.
            trial: Number of the trial.
            wait: Wait until no other process has it.
        """
        return self._locks.take(f"compute {point}-{trial}", wait)

    def release(self, point: str, trial: int) -> None:
        """Leave a claimed trial to other processes."""
        self._locks.give(f"compute {point}-{trial}")

    def held(self, name: str) -> Any:
        """Context in which no other process that uses the store holds the same name."""
        return self._locks.held(name)

    def _joined(self, path: Path, point: str, trial: int, found: Outcomes) -> Outcomes:
        """What a file has, and what was found; the latter where both have an image, as it replaces a damaged file."""
        try:
            header, before = self._read(path)
        except UNREADABLE:
            return found
        is_its = (header["fingerprint"], header["point"], header["trial"]) == (self._digest, point, trial)
        return joined(found, before) if is_its and not np.isin(before.sample_index, found.sample_index).all() else found

    def _know(self, point: str, trial: int, index: NDArray[np.int64]) -> None:
        key = hashlib.sha256(index.tobytes()).digest()
        self._images.setdefault(point, {})[trial] = self._same.setdefault(key, index)

    def _read(self, path: Path) -> tuple[dict[str, Any], Outcomes]:
        """The header and outcomes in a trial file; any of `UNREADABLE` where it is damaged."""
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
        arrays = {name: getattr(outcomes, name) for name in _ARRAYS}
        if written != _checksum(text, arrays):
            raise ValueError(f"{path} has another checksum than its content")
        return header, outcomes


def joined(first: Outcomes, second: Outcomes) -> Outcomes:
    """A trial from two parts of its images, those of the first where both have one."""
    columns = {name: np.concatenate([getattr(first, name), getattr(second, name)]) for name in _ARRAYS}
    algorithm = "+".join(dict.fromkeys((first.algorithm, second.algorithm)))
    return _in_order(Outcomes(**columns, seconds=first.seconds + second.seconds, algorithm=algorithm))


def part_of(outcomes: Outcomes, index: NDArray[np.int64]) -> Outcomes:
    """A trial on some of its images alone; of its seconds their share.

    Args:
        outcomes: The trial; images rising.
        index: Indices of the images.

    Raises:
        ValueError: The trial lacks one.
    """
    kept = np.isin(outcomes.sample_index, index)
    if kept.sum() != len(index):
        raise ValueError(f"a trial must have all of {len(index)} images, and lacks {len(index) - kept.sum()}")
    if kept.all():
        return outcomes
    columns = {name: getattr(outcomes, name)[kept] for name in _ARRAYS}
    return Outcomes(**columns, seconds=outcomes.seconds * float(kept.mean()), algorithm=outcomes.algorithm)


def _in_order(outcomes: Outcomes) -> Outcomes:
    """Each image once, rising by index."""
    samples, labels, predictions = (_integers(name, getattr(outcomes, name)) for name in _ARRAYS)
    if not samples.size == labels.size == predictions.size:
        sizes = f"{samples.size}, {labels.size} and {predictions.size}"
        raise ValueError(f"sample_index, label and prediction must have one length, got {sizes}")
    samples, first = np.unique(samples, return_index=True)
    return Outcomes(samples, labels[first], predictions[first], outcomes.seconds, outcomes.algorithm)


def _integers(name: str, values: ArrayLike) -> NDArray[np.int64]:
    array = np.asarray(values)
    if array.ndim != 1 or array.size == 0 or array.dtype.kind not in "iu":
        raise ValueError(f"`{name}` must hold integers in the shape (images,), got {array.dtype} {array.shape}")
    return array.astype(np.int64)


def _checksum(header: str, arrays: Mapping[str, NDArray[np.int64]]) -> str:
    digest = hashlib.sha256(header.encode())
    for name, values in sorted(arrays.items()):
        digest.update(f"{name} {values.size}".encode())
        digest.update(values.astype("<i8").tobytes())
    return digest.hexdigest()
