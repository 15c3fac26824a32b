"""The settings that a checkpoint may hold: they are rebuilt from a closed description of the classifier's arguments.

A checkpoint is often somebody else's, and the parser of settings also instantiates classes that they name. So only the
settings of the classifier and its configurations, each of its own type, are passed on from a checkpoint.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, is_dataclass
from difflib import get_close_matches
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

_CLASSES = ("column", "network", "outcome", "train_noise_model")
"""Settings that name a class or function: a built-in one, or one by its import path, whose code would run."""
_PATTERNS = ("keep", "pact_keep", "match")
"""Settings that name layers."""
_FILES = (".column_args.file", "model.chip_file")
"""Settings that name a file."""
_CODE = ("class_path", "init_args", "dict_kwargs")
"""Keys by which parsers recognise a class to instantiate."""
_INSTANTIATORS = tuple(f"{name}.cli.instantiate_module" for name in ("lightning.pytorch", "pytorch_lightning"))
_TEXT = re.compile(r"[\w.+% -]*", re.ASCII)
"""Texts that no parser takes for anything else."""
_FILE = re.compile(r"(?!.*\.\./)[\w.+-][\w.+ -]*(/[\w.+ -]+)*", re.ASCII)
"""A file below the working folder."""
_KEY = re.compile(r"[A-Za-z]\w*", re.ASCII)


def settings_of(path: str, checkpoint: Any, kinds: Mapping[str, Any], named: Any = None) -> dict[str, Any]:
    """The settings in a checkpoint, rebuilt as plain values of their types; nothing is imported.

    Args:
        path: The checkpoint's file, for messages.
        checkpoint: What is in it.
        kinds: Types of the classifier's arguments by name.
        named: Settings that the user wrote, plain or as dataclasses; a checkpoint may name the classes that they name.

    Raises:
        ValueError: A setting is unknown, of another type, or a class by its import path that the user does not name.
    """
    settings = checkpoint.get("hyper_parameters", {}) if isinstance(checkpoint, Mapping) else None
    if not isinstance(settings, Mapping):
        raise ValueError(f"{path} must hold its settings by name as hyper_parameters, got {_kind(settings)}")
    given = {key: value for key, value in settings.items() if key != "_instantiator" or value not in _INSTANTIATORS}
    return _Reading(path, frozenset(_leaves(named))).group(kinds, given, "model")


@dataclass
class _Reading:
    """Rebuilds settings."""

    path: str
    named: frozenset[tuple[str, Any]]
    """Last part of a setting's name, and value, of all that the user wrote."""

    def group(self, kinds: Mapping[str, Any], value: Any, name: str) -> dict[str, Any]:
        """A mapping of settings by name."""
        if not isinstance(value, Mapping):
            raise self.wrong(f"`{name}` must be a mapping of settings, got {_kind(value)}")
        for key in value:
            if key not in kinds:
                near = get_close_matches(str(key), kinds, n=1, cutoff=0.4) or sorted(kinds)
                raise self.wrong(f"`{name}.{key!s:.60}` is no setting; nearest: {', '.join(near)}")
        return {key: self.value(kinds[key], each, f"{name}.{key}") for key, each in value.items()}

    def value(self, kind: Any, value: Any, name: str) -> Any:
        """A value of a type."""
        wanted = _fitting(kind, value)
        if wanted is None:
            raise self.wrong(f"`{name}` must be {_words(kind)}, got {_kind(value)}")
        if is_dataclass(wanted):
            return self.group(get_type_hints(wanted), value, name)
        if get_origin(wanted) is list:
            return [self.value(get_args(wanted)[0], each, name) for each in value]
        if wanted is Any or get_origin(wanted) is dict:
            return self.free(value, name)
        if name == "model.backbone.pretrained" and value is not False:
            raise self.wrong(f"`{name}` must be false, as a checkpoint brings its own weights, got {_kind(value)}")
        return self.text(value, name) if wanted is str else value

    def free(self, value: Any, name: str) -> Any:
        """Arguments of a network, a column or a noise model, whose names are not known here."""
        if isinstance(value, Mapping):
            if name == "model.plan.macro.column_args" and any(last == "file" for last, _ in self.named):
                # the file that the user names takes the place of another, whose content it need not have
                value = {key: each for key, each in value.items() if key not in ("file", "content")}
            for key in value:
                if not isinstance(key, str) or not _KEY.fullmatch(key) or key in _CODE:
                    raise self.wrong(f"`{name}` must have names of arguments as keys, got {_kind(key)}")
            return {key: self.free(each, f"{name}.{key}") for key, each in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)([self.free(each, name) for each in value])
        if isinstance(value, str):
            return self.text(value, name)
        if value is not None and not isinstance(value, (bool, int, float)):
            raise self.wrong(f"`{name}` must be a number, a text, true, false or null, got {_kind(value)}")
        return value

    def text(self, value: str, name: str) -> str:
        """A text, which the user wrote too or which names nothing."""
        last = name.rpartition(".")[2]
        if (last, value) in self.named:
            return value
        if last in _CLASSES and "." in value:
            raise ValueError(
                f"{self.path} names the class {value:.200} for `{name}`, and a checkpoint may not name code that runs "
                f"here; if you trust it, name the same yourself: --{name} {value:.200}, or in a recipe"
            )
        if name.endswith(_FILES):
            if not _FILE.fullmatch(value):
                raise self.wrong(
                    f"`{name}` must be a file below the working folder, as a checkpoint may name no other, got "
                    f"{_kind(value)}; name a file yourself: --{name} FILE, or in a recipe"
                )
        elif not _TEXT.fullmatch(value) and not (last in _PATTERNS and value.isprintable()):
            raise self.wrong(
                f"`{name}` must be of letters, digits and . _ + - unless you say the same, got {_kind(value)}"
            )
        return value

    def wrong(self, what: str) -> ValueError:
        return ValueError(f"The settings in {self.path} do not fit: {what}")


def _fitting(kind: Any, value: Any) -> Any:
    """The type itself, or the member of a union, that a value has; None where there is none."""
    members = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    # a mapping that may be a configuration is read as one
    return next((each for each in sorted(members, key=is_dataclass, reverse=True) if _is(each, value)), None)


def _is(kind: Any, value: Any) -> bool:
    if kind in (bool, str, NoneType):
        return type(value) is kind
    if kind in (int, float):
        return isinstance(value, (int, kind)) and not isinstance(value, bool)
    if get_origin(kind) is list:
        return isinstance(value, (list, tuple))
    return kind is Any or (isinstance(value, Mapping) and (is_dataclass(kind) or dict in (kind, get_origin(kind))))


def _words(kind: Any) -> str:
    words = {bool: "true or false", str: "a text", NoneType: "null", int: "an integer", float: "a number"}
    members = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    return " or ".join(
        words.get(each, "a list" if get_origin(each) is list else "a mapping of settings") for each in members
    )


def _leaves(named: Any, last: str = "") -> Iterator[tuple[str, Any]]:
    """What the user wrote, by the last part of its name."""
    if is_dataclass(named) and not isinstance(named, type):
        named = asdict(named)
    if isinstance(named, Mapping):
        for key, value in named.items():
            yield from _leaves(value, last if key == "class_path" else str(key))
    elif isinstance(named, (list, tuple)):
        for value in named:
            yield from _leaves(value, last)
    elif isinstance(named, (str, int, float)):
        yield last, named


def _kind(value: Any) -> str:
    plain = value is None or isinstance(value, (bool, int, float, str))
    return f"{value!r:.60}" if plain else f"a {type(value).__name__}"
