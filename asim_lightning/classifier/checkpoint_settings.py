"""The settings in a checkpoint, read safely: only plain values of known arguments of the classifier are passed on.

A checkpoint often comes from somebody else, and the parser of settings instantiates classes that settings name.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, is_dataclass
from difflib import get_close_matches
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

_CLASSES = ("column", "network", "outcome", "train_noise_model")
"""Settings that name a class or function, built-in or by its import path; imported code would run."""
_PATTERNS = ("keep", "pact_keep", "match")
"""Settings that name layers."""
_FILES = (".column_args.file", "model.chip_file")
"""Settings that name a file."""
_CODE = ("class_path", "init_args", "dict_kwargs")
"""Keys by which parsers recognise a class to instantiate."""
_INSTANTIATORS = tuple(f"{name}.cli.instantiate_module" for name in ("lightning.pytorch", "pytorch_lightning"))
_TEXT = re.compile(r"[\w.+% -]*", re.ASCII)
"""Texts that every parser reads as texts."""
_FILE = re.compile(r"(?!.*\.\./)[\w.+-][\w.+ -]*(/[\w.+ -]+)*", re.ASCII)
"""A file below the working folder."""
_KEY = re.compile(r"[A-Za-z]\w*", re.ASCII)


def settings_of(path: str, checkpoint: Any, kinds: Mapping[str, Any], named: Any = None) -> dict[str, Any]:
    """The settings in a checkpoint, rebuilt as plain values of the classifier's arguments; nothing is imported.

    A checkpoint may name a class by its import path only if the user's settings (`named`, plain or dataclasses) name it
    too. Unknown settings, and values that are not plain, are refused.
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
    """Last part of the name, and value, of each setting that the user wrote."""

    def group(self, kinds: Mapping[str, Any], given: Mapping[Any, Any], name: str) -> dict[str, Any]:
        """Settings of a group; unknown names are refused."""
        for key in given:
            if key not in kinds:
                near = get_close_matches(str(key), kinds, n=1, cutoff=0.4) or sorted(kinds)
                raise self.wrong(f"`{name}.{key!s:.60}` is no setting; nearest: {', '.join(near)}")
        return {key: self.value(kinds[key], each, f"{name}.{key}") for key, each in given.items()}

    def value(self, kind: Any, value: Any, name: str) -> Any:
        """A setting. A text that should be none is refused, because a parser may read it as a file's name."""
        kinds = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
        config = next(filter(is_dataclass, kinds), None)
        if isinstance(value, Mapping):
            return self.free(value, name) if config is None else self.group(get_type_hints(config), value, name)
        if isinstance(value, (list, tuple)):
            inner = next((get_args(each)[0] for each in kinds if get_origin(each) is list), Any)
            return type(value)([self.value(inner, each, name) for each in value])
        if name == "model.backbone.pretrained" and value is not False:
            raise self.wrong(f"`{name}` must be false, because a checkpoint has weights, got {_kind(value)}")
        if isinstance(value, str):
            if not {str, Any} & {*kinds}:
                raise self.wrong(f"`{name}` must be no text, got {_kind(value)}")
            return self.text(value, name)
        if value is not None and not isinstance(value, (bool, int, float)):
            raise self.wrong(f"`{name}` must be a number, a text, true, false or null, got {_kind(value)}")
        return value

    def free(self, given: Mapping[Any, Any], name: str) -> dict[str, Any]:
        """Arguments of a network, a column or a noise model, whose names are not known here."""
        if name == "model.plan.macro.column_args" and any(last == "file" for last, _ in self.named):
            # the user's file replaces the checkpoint's file, and may have another content
            given = {key: each for key, each in given.items() if key not in ("file", "content")}
        for key in given:
            if not isinstance(key, str) or not _KEY.fullmatch(key) or key in _CODE:
                raise self.wrong(f"`{name}` must have names of arguments as keys, got {_kind(key)}")
        return {key: self.value(Any, each, f"{name}.{key}") for key, each in given.items()}

    def text(self, value: str, name: str) -> str:
        """A text that the user wrote too, or that names nothing."""
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
                    f"`{name}` must be a file below the working folder, because a checkpoint may name no other, "
                    f"got {_kind(value)}; name a file yourself: --{name} FILE, or in a recipe"
                )
        elif not _TEXT.fullmatch(value) and not (last in _PATTERNS and value.isprintable()):
            raise self.wrong(
                f"`{name}` must be of letters, digits and . _ + - unless you write the same, got {_kind(value)}"
            )
        return value

    def wrong(self, what: str) -> ValueError:
        return ValueError(f"The settings in {self.path} do not fit: {what}")


def _leaves(named: Any, last: str = "") -> Iterator[tuple[str, Any]]:
    """Values that the user wrote, by the last part of their names."""
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
