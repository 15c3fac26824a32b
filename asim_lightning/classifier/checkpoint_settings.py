"""The settings in a checkpoint, which may come from somebody else: they name no code that the user does not name.

The parser of settings reads some texts as files or mappings, and instantiates the classes that they name. So a text may
stand only where the classifier takes a text, and texts are searched for import paths like mappings.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, is_dataclass
from difflib import get_close_matches
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import yaml

_CLASSES = ("class_path", "column", "network", "outcome", "train_noise_model")
"""Settings that name a class or function, built-in or by its import path; imported code would run."""
_OWN_NETWORKS = {"asim_lightning.backbone.small_gpt.SmallGPT"}
"""Networks of the package, which a checkpoint may name."""


def settings_of(path: str, checkpoint: Any, kinds: Mapping[str, Any], named: Any = None) -> dict[str, Any]:
    """The settings in a checkpoint, without the keys that Lightning adds.

    Args:
        path: The checkpoint, for messages.
        checkpoint: Its content.
        kinds: Types of the classifier's arguments by name.
        named: The user's settings, plain or dataclasses; a checkpoint may name the same classes.

    Raises:
        ValueError: A name is unknown, a text stands for something else, or a class is named that the user does not
            name.
    """
    settings = checkpoint.get("hyper_parameters", {}) if isinstance(checkpoint, Mapping) else None
    if not isinstance(settings, Mapping):
        raise ValueError(f"{path} must hold its settings by name as hyper_parameters, got a {type(settings).__name__}")
    own = {key: value for key, value in settings.items() if key != "_instantiator"}
    try:
        _check_group(kinds, own, "model")
    except ValueError as error:
        raise ValueError(f"The settings in {path} do not fit: {error}") from None
    trusted = _OWN_NETWORKS | {value for _, value in _import_paths(named, "model")}
    for name, value in _import_paths(own, "model"):
        if value not in trusted:
            raise ValueError(
                f"{path} names the class {value:.200} for `{name}`, and a checkpoint may not name code that runs here; "
                f"if you trust it, name the same yourself: --{name} {value:.200}, or in a recipe"
            )
    return own


def _check_group(kinds: Mapping[str, Any], given: Mapping[Any, Any], name: str) -> None:
    """Refuse unknown names, and texts where the group takes none."""
    for key, value in given.items():
        if key not in kinds:
            near = get_close_matches(str(key), kinds, n=1, cutoff=0.4) or sorted(kinds)
            raise ValueError(f"`{name}.{key!s:.60}` is no setting; nearest: {', '.join(near)}")
        kind = kinds[key]
        taken = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
        taken += tuple(each for several in taken if get_origin(several) is list for each in get_args(several))
        config = next(filter(is_dataclass, taken), None)
        for each in value if isinstance(value, (list, tuple)) else [value]:
            if config is not None and isinstance(each, Mapping):
                _check_group(get_type_hints(config), each, f"{name}.{key}")
            elif isinstance(each, str) and not {str, Any} & {*taken}:
                raise ValueError(f"`{name}.{key}` must be no text, got {each!r:.60}")


def _import_paths(value: Any, name: str) -> Iterator[tuple[str, str]]:
    """Full names and import paths of the classes that settings name, in lists, mappings and texts of these, too."""
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, str):
        value = _read(value)
    if isinstance(value, Mapping):
        for key, each in value.items():
            inside = name if key == "class_path" else f"{name}.{key}"
            if str(key).rpartition(".")[2] in _CLASSES and isinstance(each, str) and {".", ":"} & {*each}:
                yield inside, each
            yield from _import_paths(each, inside)
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _import_paths(each, name)


def _read(text: str) -> Any:
    """A mapping or list that a text stands for in YAML; else None."""
    try:
        return yaml.safe_load(text) if set(":[{-?") & set(text) else None
    except (yaml.YAMLError, ValueError):
        return None
