"""Files and folders by content, or by size and time where content would take too long."""

import hashlib
import os
from pathlib import Path

SMALL = 2**20
"""Bytes up to which a file's content counts; beyond it, size and time of change."""
MOST_ASKED = 50_000
"""Files of a folder whose size and time are asked for; of more, as ImageNet has, names and the folders' times count."""


def file_content(path: str | Path, most: int = SMALL) -> dict[str, object]:
    """What tells a file from an edited one.

    Args:
        path: An existing file.
        most: Bytes up to which it is read.

    Raises:
        OSError: It cannot be read.
    """
    state = os.stat(path)
    if state.st_size > most:
        return {"bytes": state.st_size, "changed_ns": state.st_mtime_ns}
    return {"sha256": hashlib.sha256(Path(path).read_bytes()).hexdigest()}


def folder_content(path: str | Path, leave_out: str | Path | None = None) -> dict[str, object]:
    """What tells a folder from one with files added, removed or edited, at any depth.

    Args:
        path: An existing folder; links to folders are followed, each folder once.
        leave_out: A folder below it that does not count, such as that of a run.

    Raises:
        OSError: A folder cannot be read.
    """
    digest, files, by_name = hashlib.sha256(), 0, 0
    seen = set() if leave_out is None else {os.path.realpath(leave_out)}
    waiting = [os.fspath(path)]
    while waiting:
        folder = waiting.pop()
        if os.path.realpath(folder) in seen:
            continue
        seen.add(os.path.realpath(folder))
        _add(digest, os.path.relpath(folder, path))
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        waiting += [entry.path for entry in found if entry.is_dir()]
        names = [entry for entry in found if not entry.is_dir()]
        for entry in names[: max(0, MOST_ASKED - files)]:
            state = entry.stat(follow_symlinks=not _leads_nowhere(entry))
            _add(digest, f"{entry.name} {state.st_size} {state.st_mtime_ns}")
        rest = names[max(0, MOST_ASKED - files) :]
        if rest:
            _add(digest, f"{os.stat(folder).st_mtime_ns} " + " ".join(entry.name for entry in rest))
        files, by_name = files + len(names), by_name + len(rest)
    listing: dict[str, object] = {"files": files, "sha256": digest.hexdigest()}
    return {**listing, "files_by_name_alone": by_name} if by_name else listing


def _leads_nowhere(entry: "os.DirEntry[str]") -> bool:
    return entry.is_symlink() and not os.path.exists(entry.path)


def _add(digest: "hashlib._Hash", line: str) -> None:
    digest.update(f"{line}\n".encode(errors="surrogateescape"))
