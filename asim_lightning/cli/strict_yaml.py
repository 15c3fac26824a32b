"""YAML by PyYAML's safe loader, which refuses a key that stands twice and reads 1e-3 as a number."""

import re
from pathlib import Path
from typing import Any

import yaml

_MERGE = "tag:yaml.org,2002:merge"
_FLOAT, _TIME = "tag:yaml.org,2002:float", "tag:yaml.org,2002:timestamp"
_EXPONENT = re.compile(r"[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+$")


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Reads what jsonargparse reads as a number, and a date as a text; refuses a key that stands twice."""

    def flatten_mapping(self, node: Any) -> None:
        """Check the keys of a mapping once, before those of others are merged into it."""
        seen = set[tuple[str, str]]()
        for key in () if hasattr(node, "is_checked") else (key for key, _ in node.value):
            if isinstance(key, yaml.ScalarNode) and key.tag != _MERGE:
                if (key.tag, key.value) in seen:
                    problem = f"the key {key.value!r} stands twice in one mapping"
                    raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
                seen.add((key.tag, key.value))
        node.is_checked = True
        super().flatten_mapping(node)


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """Writes a text that looks like such a number in quotes."""


_Loader.yaml_implicit_resolvers = {
    first: [each for each in resolvers if each[0] != _TIME]
    for first, resolvers in _Loader.yaml_implicit_resolvers.items()
}
for _each in (_Loader, _Dumper):
    _each.add_implicit_resolver(_FLOAT, _EXPONENT, list("-+0123456789"))


def load_yaml(text: str) -> Any:
    """What a document holds; a yaml.YAMLError is raised if it has a key twice in a mapping."""
    return yaml.load(text, _Loader)


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
