"""Patterns that match names of layers."""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from fnmatch import fnmatchcase

KINDS = ("conv", "depthwise", "linear", "qkv", "proj", "mlp", "head", "qk", "av", "matmul", "stem")


def matching(pattern: str, kinds: Mapping[str, str], where: str) -> set[str]:
    """Names of the layers that a pattern matches.

    Args:
        pattern: A glob over full names, `re:` and a regular expression that must match the whole name, or a kind.
        kinds: Kind of every layer by full name.
        where: Name of the setting, for error messages.

    Raises:
        ValueError: Nothing matches (the nearest names are given), or the regular expression is invalid.
    """
    if pattern.startswith("re:"):
        try:
            expression = re.compile(pattern[3:])
        except re.error as error:
            raise ValueError(f"`{where}` has an invalid regular expression {pattern!r}: {error}") from None
        found = {name for name in kinds if expression.fullmatch(name)}
    else:
        found = {name for name, kind in kinds.items() if kind == pattern or fnmatchcase(name, pattern)}
    if not found:
        wanted = pattern[3:] if pattern.startswith("re:") else pattern
        choices = [*kinds, *sorted(set(kinds.values()))]
        near = get_close_matches(wanted, choices, n=3, cutoff=0.3) or choices[:3]
        raise ValueError(f"`{where}` matches no layer with {pattern!r}; nearest: {', '.join(near)}")
    return found
