"""settings.json of a run's folder: all that decides its trials beside points and numbers, by which it is named."""

import json
from collections.abc import Mapping
from pathlib import Path

from asim_lightning.evaluation.canonical import digest_of, plain
from asim_lightning.evaluation.whole_file import write_whole


def sweep_folder(parent: str | Path, fingerprint: Mapping[str, object], what: str = "sweep") -> Path:
    """Folder of the sweep with this fingerprint: `parent` / "sweep-" and 8 hexadecimal digits of its SHA-256."""
    return Path(parent) / f"{what}-{digest_of(fingerprint)[:8]}"


def keep_settings(folder: Path, fingerprint: Mapping[str, object]) -> str | None:
    """Write settings.json where a folder has none that can be read.

    Nothing depends on it: the trials carry the fingerprint, too.

    Args:
        folder: Folder of the run; made where absent.
        fingerprint: What the file holds.

    Returns:
        What a user should know of the file that was there; None where it was whole, or absent.

    Raises:
        ValueError: It holds another fingerprint.
        OSError: It cannot be written.
    """
    path, note = folder / "settings.json", None
    try:
        found = json.loads(path.read_bytes().decode("utf-8"))
    except FileNotFoundError:
        pass
    except OSError as error:
        note = f"{path} cannot be read ({error.strerror}), and is written anew"
    except (ValueError, RecursionError):
        note = f"{path} was torn or edited after it was written, and is written anew"
    else:
        if digest_of(found) != digest_of(fingerprint):
            raise ValueError(
                f"{folder} must hold the run that is asked for, but its settings.json differs; delete that file if it "
                "was edited, and no trial is lost"
            )
        return None
    text = json.dumps(plain(fingerprint), indent=2, sort_keys=True, allow_nan=False) + "\n"
    write_whole(path, lambda file: file.write(text.encode()))
    return note
