"""How long a regular expression may take: one of somebody else's could run for ever on a single name."""

import re

LONGEST_NAME = 100
"""Letters of a layer's name that are reckoned with; those of timm's networks are shorter."""
_ATOM = r"\\[dwDW.]|\[\^?[\w-]+\]|[\w.^$-]"
_REPEAT = r"[*+?]\??|\{\d{1,2}(?:,\d{0,2})?\}\??"
_GROUP = r"\((?:\?[:!=])?"
_TOKEN = re.compile(rf"(?P<atom>{_ATOM})|(?P<opened>{_GROUP})|(?P<closed>\))|(?P<other>\|)|(?P<repeat>{_REPEAT})", re.A)


def most_steps(expression: str) -> int | None:
    r"""Ways in which a regular expression can be laid over a layer's name, at most; None where that is not bounded.

    Bounded are letters, digits, ``\d``, ``\w``, ``.``, sets such as ``[0-3]``, groups of alternatives, lookaheads, and
    repeats (``*``, ``+``, ``?``, ``{1,2}``) of one letter or set: those of a group could multiply without end.

    Args:
        expression: What stands behind ``re:``.
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
