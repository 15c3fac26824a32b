"""YAML by PyYAML's safe loader, which refuses a key that stands twice and reads 1e-3 as a number."""

import re
from pathlib import Path
from typing import Any

import yaml

_MERGE = "tag:yaml.org,2002:merge"
_FLOAT, _TIME = "tag:yaml.org,2002:float", "tag:yaml.org,2002:timestamp"
_EXPONENT = re.compile(r"[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+$")


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Reads what jsonargparse reads as a number, and a date as a text."""


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """Writes a text that looks like such a number in quotes."""


_Loader.yaml_implicit_resolvers = {
    first: [each for each in resolvers if each[0] != _TIME]
    for first, resolvers in _Loader.yaml_implicit_resolvers.items()
}
for _each in (_Loader, _Dumper):
    _each.add_implicit_resolver(_FLOAT, _EXPONENT, list("-+0123456789"))


def load_yaml(text: str) -> Any:
    """What a document holds.

    Raises:
        yaml.YAMLError: It is not YAML, or has a key twice in a mapping.
    """
    loader = _Loader(text)
    node = loader.get_single_node()
    if node is None:
        return None
    _refuse_keys_that_stand_twice(node, set())
    return loader.construct_document(node)


def _refuse_keys_that_stand_twice(node: yaml.Node, seen: set[int]) -> None:
    if id(node) in seen or not isinstance(node, yaml.CollectionNode):
        return
    seen.add(id(node))
    keys = set()
    for each in node.value:
        key, value = each if isinstance(node, yaml.MappingNode) else (None, each)
        if isinstance(key, yaml.ScalarNode) and key.tag != _MERGE:
            if (key.tag, key.value) in keys:
                problem = f"the key {key.value!r} stands twice in one mapping"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            keys.add((key.tag, key.value))
        _refuse_keys_that_stand_twice(value, seen)


def dump_yaml(value: Any) -> str:
    """A document that holds a value."""
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True))


def read_yaml(path: str | Path) -> Any:
    """What a file holds.

    Raises:
        ValueError: It is not YAML; the line is named.
        OSError: It cannot be read.
    """
    try:
        return load_yaml(Path(path).read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise ValueError(f"{path} must be a YAML file, got one that is no text") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a number that is none, such as 0x_
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}," if mark else ""
        problem = getattr(error, "problem", None) or " ".join(str(error).split())
        raise ValueError(f"{path}{line} is not YAML: {problem}") from None
