"""A recipe's lines: YAML with a comment behind each key, as in the shipped recipes."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

_COLUMN = 34  # where comments start
_PLAIN = re.compile(r"\w[\w./-]*|\w[\w./-]*\.\*", re.ASCII)


def section(indent: int, key: str, comment: str = "") -> str:
    """A line that opens a mapping.

    Args:
        indent: Levels of indentation.
        key: Its key.
        comment: What it is, where that is not plain.
    """
    return _line("  " * indent + f"{key}:", comment)


def setting(indent: int, key: str, value: Any, comment: str) -> str:
    """A line with a key and its value.

    Args:
        indent: Levels of indentation.
        key: Its key; with a dash before it, the first key of a list's entry.
        value: Its value.
        comment: What it is, with its unit.
    """
    return _line("  " * indent + f"{key}: {scalar(value)}", comment)


def scalar(value: Any) -> str:
    """A value as YAML on one line.

    Args:
        value: A number, text, None, or a list or mapping of these.
    """
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {scalar(each)}" for key, each in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(scalar(each) for each in value) + "]"
    if value is None or isinstance(value, (bool, int)):
        return json.dumps(value)
    if isinstance(value, float):
        return _number(value)
    text = str(value)
    if _PLAIN.fullmatch(text) and yaml.safe_load(text) == text:
        return text
    return "'" + text.replace("'", "''") + "'" if text.isprintable() else json.dumps(text)


def in_comment(text: str) -> str:
    """A text of the user's as a part of a comment, which it cannot end.

    Args:
        text: The text.
    """
    return text if text.isprintable() else json.dumps(text)


def _line(text: str, comment: str) -> str:
    return f"{text + '  ':<{_COLUMN}}# {comment}" if comment else text


def _number(value: float) -> str:
    text = repr(value)
    if "e" not in text:
        return text.removesuffix(".0")
    mantissa, exponent = text.split("e")  # YAML 1.1 knows 1.0e-5, and takes 1e-5 for a text
    return f"{mantissa if '.' in mantissa else mantissa + '.0'}e{int(exponent):+d}"
