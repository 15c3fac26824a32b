"""Code of the user's own: the file of a class or function, and of what it imports from beside it."""

import ast
import hashlib
import inspect
import os
import sys
import sysconfig
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

_OURS = "asim_lightning"
_CODE = (".py", ".cpp", ".h")
"""Ends of files that hold code of this package."""
_STANDARD = tuple(
    os.path.realpath(path) + os.sep for name in ("stdlib", "platstdlib") if (path := sysconfig.get_paths().get(name))
)
_SITES = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")


class NoSourceError(Exception):
    """There is no file to read the code from."""


def is_installed(module: str) -> bool:
    """Whether a module is of Python, of this package or of an installed one, which versions stand for."""
    top = module.partition(".")[0]
    if top == _OURS:
        return True
    file = _file_of(sys.modules.get(module))
    # a user's file may be called test or types, as modules of Python are
    return _is_installed_file(file) if file is not None else top in sys.stdlib_module_names and top != "__main__"


def source_content(module: str) -> dict[str, str]:
    """Digest of a user's module and of every file that it imports and that is not installed, by path below its root.

    Imports are read, not run: also those inside functions, and those of the imported files in turn.

    Args:
        module: Full name of an imported module.

    Raises:
        NoSourceError: The module has no file, such as one of an interactive session.
    """
    file = _file_of(sys.modules.get(module))
    if file is None or not file.is_file():
        raise NoSourceError
    root = _root_of(file)
    seen: dict[Path, None] = {}
    waiting = [file, *_packages_above(file)]
    while waiting:
        path = waiting.pop()
        if path not in seen:
            seen[path] = None
            waiting += _imported_files(path)
    return {os.path.relpath(path, root): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(seen)}


@lru_cache(maxsize=1)
def package_content() -> str:
    """Digest of this package's own code, that of its kernels too, which may be edited under one version."""
    return digest_of_code(Path(__file__).parents[1])


def digest_of_code(root: Path) -> str:
    """Digest of the names and contents of the files of code in a folder and below."""
    digest = hashlib.sha256()
    for path in sorted(path for path in root.rglob("*") if path.suffix in _CODE):
        digest.update(f"{path.relative_to(root).as_posix()} ".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _file_of(module: ModuleType | None) -> Path | None:
    try:
        found: Any = None if module is None else inspect.getsourcefile(module) or module.__file__
    except (TypeError, AttributeError):
        return None  # built in, or of an interactive session
    return None if found is None else Path(os.path.realpath(found))


def _is_installed_file(file: Path) -> bool:
    text = str(file)
    return any(site in text for site in _SITES) or text.startswith(_STANDARD)


def _packages_above(file: Path) -> Iterator[Path]:
    folder = file.parent
    while (folder / "__init__.py").is_file():
        yield folder / "__init__.py"
        folder = folder.parent


def _root_of(file: Path) -> Path:
    """The folder from which a file's package is imported."""
    return list(_packages_above(file))[-1].parent.parent if (file.parent / "__init__.py").is_file() else file.parent


def _imported_files(file: Path) -> Iterator[Path]:
    if file.suffix != ".py":
        return
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):
        return
    roots = dict.fromkeys([file.parent, _root_of(file), *(Path(os.path.realpath(entry)) for entry in sys.path)])
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _found(roots, alias.name)
        elif isinstance(node, ast.ImportFrom):
            above = [file.parents[node.level - 1]] if 0 < node.level <= len(file.parents) else list(roots)
            for name in ("", *(alias.name for alias in node.names)):
                yield from _found(above, ".".join(part for part in (node.module, name) if part))


def _found(roots: Any, name: str) -> Iterator[Path]:
    """Files of a module and the packages above it, in the first folder that has it, where that is not installed."""
    if name.partition(".")[0] == _OURS:
        return
    parts = name.split(".") if name else []
    for root in roots:
        path = Path(root, *parts)
        for file in (path.with_name(path.name + ".py"), path / "__init__.py"):
            if file.is_file() and (parts or file.name == "__init__.py"):
                if not _is_installed_file(file):
                    yield Path(os.path.realpath(file))
                    yield from (Path(os.path.realpath(above)) for above in _packages_above(file))
                return
