"""Paths in a checkpoint: a callback that keeps the best epochs deletes the files that the checkpoint names."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

_PATHS = ("best_model_path", "kth_best_model_path", "last_model_path")
_BEST = "best_k_models"


def forget_paths_elsewhere_(checkpoint: Mapping[str, Any], folders: Iterable[str]) -> None:
    """Remove from callbacks' states, in place, paths of files that are not in a fit's own checkpoint folders.

    Args:
        checkpoint: The checkpoint that a fit resumes.
        folders: Folders of its checkpoint callbacks.
    """
    own = list(folders)
    states = checkpoint.get("callbacks")
    for state in states.values() if isinstance(states, Mapping) else ():
        if not isinstance(state, dict) or not {*_PATHS, _BEST} & set(state):
            continue
        best = state.get(_BEST)
        found = [state.get(name) for name in _PATHS] + list(best if isinstance(best, Mapping) else [])
        if not all(not path or any(_is_below(path, folder) for folder in own) for path in found):
            state.update({name: "" for name in _PATHS if name in state})
            state.update({_BEST: {}} if _BEST in state else {})


def _is_below(path: Any, folder: str) -> bool:
    if not isinstance(path, str):
        return False
    if ":/" in path or "::" in path:  # of another filesystem, by its protocol
        return path.startswith(f"{folder.rstrip('/')}/") and "::" not in path and ".." not in path.split("/")
    return Path(folder).resolve() in Path(path).resolve().parents
