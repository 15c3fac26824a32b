"""Plain values as JSON: numbers, texts, tensors and containers of them; other objects by the names of their classes."""

import dataclasses
import functools
import hashlib
import math
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

_DEEPEST = 16
"""Levels of containers; deeper ones count by their class, and so does a container that holds itself."""


def class_name(value: Any) -> str:
    """Full name of a function or class, or of an object's class."""
    named = value if hasattr(value, "__qualname__") else type(value)
    return f"{named.__module__}.{named.__qualname__}"


def plain(value: Any, other: Callable[[Any], Any] = class_name, deepest: int = _DEEPEST) -> Any:
    """A value as plain JSON values, equal for equal contents.

    Args:
        value: A number, text, tensor, array, path, or a container or dataclass of them.
        other: Describes any other object; the default takes the name of its class.
        deepest: Levels of containers to look into.
    """
    if value is None or type(value) in (bool, int, str):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else repr(float(value))
    if isinstance(value, (torch.dtype, torch.device, complex, bytes, range, slice, os.PathLike)):
        return str(value)
    if isinstance(value, (Tensor, np.ndarray, np.generic)):
        return array_content(value) or other(value)
    if deepest == 0:
        return other(value)
    inside = functools.partial(plain, other=other, deepest=deepest - 1)
    if isinstance(value, Mapping):
        if all(type(key) is str for key in value):
            return {key: inside(each) for key, each in value.items()}
        return [[inside(key), inside(each)] for key, each in value.items()]
    if isinstance(value, (list, tuple)):
        return [inside(each) for each in value]
    if isinstance(value, (set, frozenset)):
        return sorted(map(inside, value), key=repr)
    if isinstance(value, functools.partial):
        return [inside(each) for each in (value.func, value.args, value.keywords)]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [class_name(value), {each.name: inside(getattr(value, each.name)) for each in dataclasses.fields(value)}]
    return other(value)


def array_content(value: Any) -> list[object] | None:
    """Type, shape and digest of a tensor or array; None if its bytes cannot be read, such as on the device meta."""
    try:
        held = value.detach().cpu().contiguous() if isinstance(value, Tensor) else np.ascontiguousarray(value)
        content = held.flatten().view(torch.uint8).numpy() if isinstance(held, Tensor) else held.view(np.uint8)
    except (RuntimeError, NotImplementedError, TypeError):
        return None
    return [str(value.dtype), list(value.shape), hashlib.sha256(content.data).hexdigest()]
