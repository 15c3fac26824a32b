"""YAML of people unknown: no alias inside itself, none that multiply, no deep nesting, no key twice."""

import re
from collections.abc import Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import yaml

MOST_NODES = 50_000
"""Most values and keys of a document, where each alias counts as all that it stands for."""
MOST_LEVELS = 100
"""Most lists and mappings inside one another, aliases expanded."""
MOST_CHARACTERS = 10_000
"""Most characters of a number: one of many digits takes long to read."""
MOST_BYTES = 10_000_000
"""Most bytes of a file."""


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Reads 1e-3 as a number, as the parser of settings does."""


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """Writes a text that looks like such a number in quotes."""


for _each in (_Loader, _Dumper):
    _each.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+$"), list("-+0123456789")
    )
_MERGE = "tag:yaml.org,2002:merge"
_NUMBERS = tuple(f"tag:yaml.org,2002:{name}" for name in ("int", "float"))
_NO_TEXTS = (*_NUMBERS, *(f"tag:yaml.org,2002:{name}" for name in ("bool", "null", "timestamp")))


class YamlError(ValueError):
    """What is wrong with a document, and where; one line."""


class NotYamlError(YamlError):
    """A document is no YAML."""


@dataclass
class _Group:
    """A list or mapping that is being read."""

    is_mapping: bool
    anchor: str | None
    before: int
    """Nodes of the document before it."""
    height: int = 1
    """Levels in it so far, its own included."""
    children: int = 0
    keys: dict[Hashable, str] = field(default_factory=dict)
    """Its keys, as they are read, and as they are written."""


def check_yaml(text: str, name: str) -> None:
    """Refuse a document that would take for ever, or says a thing twice, before anything is built from it.

    Args:
        text: The document; its grammar is checked as far as it is read.
        name: What the user calls it: a file or a flag.

    Raises:
        YamlError: It is refused; the line is named.
        yaml.YAMLError: It is not YAML.
    """
    walk = _Walk(name)
    try:
        for event in yaml.parse(text, Loader=_Loader):
            walk.take(event)
    except yaml.MarkedYAMLError as error:
        if "nesting depth" not in (error.problem or ""):
            raise
        walk.refuse_levels(error.problem_mark.line + 1 if error.problem_mark else 1)  # libyaml's own bound


def load_yaml(text: str, name: str) -> Any:
    """What a document holds.

    Args:
        text: The document.
        name: What the user calls it: a file or a flag.

    Raises:
        YamlError: It is not YAML (`NotYamlError`), or is refused (`check_yaml`).
    """
    try:
        check_yaml(text, name)
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}," if mark else ""
        problem = getattr(error, "problem", None) or " ".join(str(error).split())
        raise NotYamlError(f"{name}{line} is not YAML: {problem}") from None
    except YamlError:
        raise
    except (ValueError, TypeError, OverflowError) as error:  # a number or date that is none, such as 2026-13-45
        raise NotYamlError(f"{name} is not YAML: {error}") from None


def dump_yaml(value: Any) -> str:
    """A document that holds a value."""
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True))


def read_yaml(path: str) -> Any:
    """What a file holds.

    Raises:
        YamlError: It is not YAML, is refused (`check_yaml`), or is too large to be settings.
    """
    size = Path(path).stat().st_size
    if size > MOST_BYTES:
        raise YamlError(f"{path} must be a YAML file of at most {MOST_BYTES} bytes, got {size}")
    try:
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise YamlError(f"{path} must be a YAML file, got one that is no text") from None
    return load_yaml(text, path)


class _Walk:
    """Follows the events of a document, and counts."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.nodes = 0
        self.open: list[_Group] = []
        self.sizes: dict[str, tuple[int, int]] = {}  # nodes and levels that an alias stands for
        self.scalars: dict[str, yaml.ScalarEvent] = {}  # what an alias of one value stands for

    def take(self, event: yaml.Event) -> None:
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.CollectionStartEvent):
            self.nodes += 1
            self.open.append(_Group(isinstance(event, yaml.MappingStartEvent), event.anchor, self.nodes - 1))
            self._check_levels(0, line)
        elif isinstance(event, yaml.CollectionEndEvent):
            group = self.open.pop()
            if group.anchor is not None:
                self.sizes[group.anchor] = self.nodes - group.before, group.height
            self._add(None, group.height, line)
        elif isinstance(event, yaml.ScalarEvent):
            if len(event.value) > MOST_CHARACTERS and _tag(event) in _NUMBERS:
                self._refuse(line, f"must have numbers of at most {MOST_CHARACTERS} characters", len(event.value))
            self.nodes += 1
            if event.anchor is not None:
                self.sizes[event.anchor], self.scalars[event.anchor] = (1, 0), event
            self._add(event, 0, line)
        elif isinstance(event, yaml.AliasEvent):
            if any(group.anchor == event.anchor for group in self.open):
                raise YamlError(f"{self.name}, line {line}: the alias *{event.anchor} stands inside what it stands for")
            nodes, height = self.sizes.get(event.anchor or "", (1, 0))
            self.nodes += nodes
            self._check_levels(height, line)
            self._add(self.scalars.get(event.anchor or ""), height, line)
        if self.nodes > MOST_NODES:
            self._refuse(line, f"must have at most {MOST_NODES} values, aliases expanded", "more")

    def _add(self, scalar: yaml.ScalarEvent | None, height: int, line: int) -> None:
        """Count a node in the group around it."""
        if not self.open:
            return
        group = self.open[-1]
        group.height = max(group.height, height + 1)
        group.children += 1
        if group.is_mapping and group.children % 2 and scalar is not None and _tag(scalar) != _MERGE:
            key = _value(scalar)
            if key in group.keys:
                same, other = _shown(scalar.value), _shown(group.keys[key])
                twice = f"the key {same} stands twice" if same == other else f"the keys {other} and {same} are one"
                raise YamlError(f"{self.name}, line {line}: {twice} in one mapping")
            group.keys[key] = scalar.value

    def _check_levels(self, height: int, line: int) -> None:
        if len(self.open) + height > MOST_LEVELS:
            self.refuse_levels(line)

    def refuse_levels(self, line: int) -> None:
        self._refuse(line, f"must have at most {MOST_LEVELS} levels of lists and mappings", "more")

    def _refuse(self, line: int, allowed: str, given: object) -> None:
        raise YamlError(f"{self.name}, line {line}: a document {allowed}, got {given}")


def _tag(scalar: yaml.ScalarEvent) -> str:
    """What a value is read as."""
    if scalar.tag not in (None, "!"):
        return str(scalar.tag)
    return str(yaml.resolver.Resolver().resolve(yaml.ScalarNode, scalar.value, scalar.implicit))


def _value(scalar: yaml.ScalarEvent) -> Hashable:
    """A value as it is read, so that 16 and 0x10 are one and 1 and '1' are not."""
    tag = _tag(scalar)
    if tag not in _NO_TEXTS:
        return str(scalar.value)
    constructor = yaml.constructor.SafeConstructor()
    try:
        read = constructor.yaml_constructors[tag](constructor, yaml.ScalarNode(tag, scalar.value))
    except (
        ValueError,
        TypeError,
        OverflowError,
        KeyError,
        AttributeError,
        IndexError,
    ):  # what it says it is, it is not
        return tag, str(scalar.value)
    return cast(Hashable, read)


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}...")


def use_strict_loader() -> None:
    """Have jsonargparse check what it reads: values of flags and checkpoints, and files that settings name."""
    from jsonargparse import get_loader, set_loader

    load = get_loader("yaml")

    def strict_load(text: str) -> Any:
        check_yaml(text, "a value or a file that a setting names")
        return load(text)

    set_loader("yaml", strict_load, (yaml.YAMLError,))
