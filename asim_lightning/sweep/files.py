"""Files and folders by content, or by size and time where content would take too long."""

import hashlib
import os
from pathlib import Path

SMALL = 2**20
"""Bytes up to which a file's content counts; beyond it, size and time of change."""
MOST_STATED = 200_000
"""Files of a folder whose size and time are asked for; of more, names and the folders' times count, as of ImageNet."""


def file_content(path: str | Path) -> dict[str, object]:
    """What tells a file from an edited one.

    Args:
        path: An existing file.

    Raises:
        OSError: It cannot be read.
    """
    state = os.stat(path)
    if state.st_size > SMALL:
        return {"bytes": state.st_size, "changed_ns": state.st_mtime_ns}
    return {"sha256": hashlib.sha256(Path(path).read_bytes()).hexdigest()}


def folder_content(path: str | Path, leave_out: str | Path | None = None) -> dict[str, object]:
    """What tells a folder from one with files added, removed or edited.

    Args:
        path: An existing folder; links to folders below it are not followed.
        leave_out: A folder below it that does not count, such as the one of a run.

    Raises:
        OSError: A folder cannot be read.
    """
    root, ignored = os.path.realpath(path), os.path.realpath(leave_out) if leave_out is not None else None
    digest, files, by_name = hashlib.sha256(), 0, 0
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        digest.update(f"{os.path.relpath(folder, root)}\n".encode(errors="surrogateescape"))
        unknown = 0
        for entry in found:
            if entry.is_dir(follow_symlinks=False):
                if entry.path != ignored:
                    waiting.append(entry.path)
                continue
            files += 1
            line = entry.name
            if files <= MOST_STATED:
                state = entry.stat(follow_symlinks=os.path.exists(entry.path))
                line += f" {state.st_size} {state.st_mtime_ns}"
            else:
                unknown += 1
            digest.update(f"{line}\n".encode(errors="surrogateescape"))
        if unknown:
            digest.update(str(os.stat(folder).st_mtime_ns).encode())
        by_name += unknown
    listing: dict[str, object] = {"files": files, "sha256": digest.hexdigest()}
    return {**listing, "files_by_name_alone": by_name} if by_name else listing
