"""Patterns that match names of layers, and a bound on the time that a regular expression among them can take."""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from fnmatch import fnmatchcase

KINDS = ("conv", "depthwise", "linear", "qkv", "proj", "mlp", "head", "qk", "av", "matmul", "stem")
LONGEST_NAME = 100
"""Longest name of a layer that the bound allows for, in letters; names in timm's networks are shorter."""
_ATOM = r"\\[dwDW.]|\[\^?[\w-]+\]|[\w.^$-]"
_REPEAT = r"[*+?]\??|\{\d{1,2}(?:,\d{0,2})?\}\??"
_GROUP = r"\((?:\?[:!=])?"
_TOKEN = re.compile(rf"(?P<atom>{_ATOM})|(?P<opened>{_GROUP})|(?P<closed>\))|(?P<other>\|)|(?P<repeat>{_REPEAT})", re.A)


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


def most_steps(expression: str) -> int | None:
    r"""Largest number of ways in which a regular expression can match a layer's name; None where there is no bound.

    Expressions are bounded that consist of letters, digits, ``\d``, ``\w``, ``.``, sets such as ``[0-3]``, groups of
    alternatives, lookaheads, and repeats (``*``, ``+``, ``?``, ``{1,2}``) of one letter or set; repeats of a group
    could take exponential time.

    Args:
        expression: The text after ``re:``.
    """
    place, steps, before = 0, 1, ""
    while place < len(expression):
        token = _TOKEN.match(expression, place)
        if token is None:
            return None
        kind = str(token.lastgroup)
        if kind == "other":
            steps += steps  # as if it had as many ways as everything before it
        elif kind == "repeat":
            if before != "atom":
                return None
            steps *= 2 if token[0] in ("?", "??") else LONGEST_NAME + 1
        place, before = token.end(), kind
    return steps
