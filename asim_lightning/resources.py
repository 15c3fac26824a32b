"""Files that ship with the package: recipes and trained checkpoints."""

from difflib import get_close_matches
from pathlib import Path

_PACKAGE = Path(__file__).parent
FOLDERS = {"configs": ".yaml", "checkpoints": ".ckpt"}


def shipped_folder(kind: str) -> Path:
    """Folder of shipped "configs" or "checkpoints": inside an installed package, beside it in a checkout."""
    inside = _PACKAGE / kind
    return inside if inside.is_dir() else _PACKAGE.parent / kind


def shipped_file(kind: str, given: str) -> Path:
    """A file by path, or a shipped one by name: "quickstart", "quickstart.yaml" or "configs/quickstart.yaml".

    Args:
        kind: "configs" or "checkpoints".
        given: Path or name; a file at that path comes first.

    Raises:
        FileNotFoundError: There is neither; the shipped names are given.
    """
    if Path(given).is_file():
        return Path(given)
    suffix, folder = FOLDERS[kind], shipped_folder(kind)
    parts = Path(given).parts
    if len(parts) == 1 or parts[:-1] == (kind,):
        found = folder / (Path(given).name if given.endswith(suffix) else Path(given).name + suffix)
        if found.is_file():
            return found
    names = sorted(path.stem for path in folder.glob("*" + suffix))
    near = get_close_matches(Path(given).stem, names, n=3, cutoff=0.3) or names
    raise FileNotFoundError(f"There is no file {given!r}; shipped {kind}, nearest: {', '.join(near) or 'none'}")
