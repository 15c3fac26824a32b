"""Values as the one JSON text that equal ones share, and its digest."""

import hashlib
import json
from collections.abc import Mapping

import numpy as np

_PLAIN = (str, int, bool, type(None))


def plain(value: object) -> object:
    """The value with whole floats as integers and numpy's scalars as Python's: 8.0 and 8 must give one digest."""
    if type(value) in _PLAIN:
        return value
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def canonical_json(value: object) -> str:
    """The value's JSON text, its keys sorted.

    Raises:
        TypeError: It holds something that JSON has not.
    """
    try:
        return json.dumps(plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)
    except TypeError as error:
        raise TypeError(f"settings of a sweep must be what JSON can hold, got {value!r}") from error


def digest_of(value: object) -> str:
    """SHA-256 of `canonical_json`, in hexadecimal digits."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()
