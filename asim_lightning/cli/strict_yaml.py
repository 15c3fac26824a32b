"""YAML by PyYAML's safe loader, which refuses a key that stands twice and reads 1e-3 as a number."""

import re
from pathlib import Path
from typing import Any, NoReturn

import yaml

MOST_VALUES = 100_000
"""Most values of a document, where each alias counts as all that it stands for: ten lines of them are millions."""
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
        yaml.YAMLError: It is not YAML, has a key twice in a mapping, or more values than any settings.
    """
    loader = _Loader(text)
    node = loader.get_single_node()
    if node is None:
        return None
    _check(node, {})
    return loader.construct_document(node)


def _check(node: yaml.Node, sizes: dict[int, int]) -> int:
    """The values in a node, aliases expanded; a key that stands twice and aliases without end are refused.

    Args:
        node: The node.
        sizes: Values of each node that was looked at; 0 while it is looked at.
    """
    if id(node) in sizes or not isinstance(node, yaml.CollectionNode):
        size = sizes.get(id(node), 1)
        if size == 0:
            _refuse("an alias stands inside what it stands for", node)
        return size
    sizes[id(node)] = size = 0
    keys = set()
    for each in node.value:
        key, value = each if isinstance(node, yaml.MappingNode) else (None, each)
        if isinstance(key, yaml.ScalarNode) and (key.tag, key.value) in keys and key.tag != _MERGE:
            _refuse(f"the key {key.value!r} stands twice in one mapping", key)
        keys.add((key.tag, str(key.value)) if key is not None else None)
        size += _check(value, sizes)
    if size > MOST_VALUES:
        _refuse(f"it has more than {MOST_VALUES} values, aliases expanded", node)
    sizes[id(node)] = size + 1
    return size + 1


def _refuse(problem: str, node: yaml.Node) -> NoReturn:
    raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


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
