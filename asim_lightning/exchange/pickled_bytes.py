"""Checks of bytes in a pickle, which are written as a text and its encoding: some encodings take hours."""

from collections.abc import Iterable, Iterator
from typing import Any

_ENCODE = "_codecs encode"
_LATIN = "latin1"
_PUTS = ("PUT", "BINPUT", "LONG_BINPUT")
_GETS = ("GET", "BINGET", "LONG_BINGET")
_TEXTS = ("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "UNICODE")


class EncodingError(Exception):
    """A pickle encodes text in another way than pickles encode bytes."""


def check_encoded(operations: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Pass on a pickle's operations, and refuse those that encode text in another way than pickles encode bytes.

    When the encoder is pushed, a text and ``latin1`` must follow and be encoded at once, so that the encoder cannot be
    elsewhere on the stack when it is called.

    Args:
        operations: Names and arguments, in order.

    Raises:
        EncodingError: The encoder is used in another way.
    """
    kept: dict[Any, str] = {}  # the encoder, and the name of the encoding, by their numbers in the memo
    wanted, top = 0, ""
    for name, argument in operations:
        yield name, argument
        if name in _PUTS:
            kept[argument] = top
            continue
        text = argument if name in _TEXTS else None
        top = kept.get(argument, "") if name in _GETS else _ENCODE if argument == _ENCODE and text is None else ""
        top = _LATIN if text == _LATIN else top
        pushes = name in _GETS or text is not None
        right = (True, pushes and top != _ENCODE, top == _LATIN, name == "TUPLE2", name == "REDUCE")[wanted]
        if not right or (wanted and top == _ENCODE):
            raise EncodingError
        wanted = 1 if top == _ENCODE else (wanted + 1) % 5 if wanted else 0
