"""Checks of the values that were loaded from a file: tensors have all their values, and containers are finite."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

MOST_NODES = 5_000_000
"""Most values of a file; a list that is used twice counts twice."""
MOST_LEVELS = 100
"""Deepest nesting of containers; Python cannot copy deeper ones."""
_PLAIN = (bool, int, float, complex, str, bytes, torch.dtype, torch.device)
"""Types whose values take no more memory than in the file; a storage by itself does not count."""
_SLACK = 4096
"""Bytes by which storages may exceed their file, for scalars that the pickle itself holds."""


def check_contents(path: str, found: Any, size: int) -> None:
    """Refuse loaded values whose use would take more memory than the file is large.

    Args:
        path: The file.
        found: The loaded value.
        size: Size of the file in bytes.

    Raises:
        ValueError: A value is neither a tensor nor plain, a container holds itself or too many values, or the file does
            not hold all values of a tensor: one on the meta device, an expanded, a sparse or a quantised one.
    """
    walk = _Walk(path)
    walk.size_of(found, "")
    total = sum(walk.storages.values())
    if total > size + _SLACK:
        raise ValueError(
            f"{path} is refused: its tensors must not be larger than the file, got {total} bytes in {size}"
        )


def count_values(path: str, found: Any) -> int:
    """Number of values in a loaded value; a list that is used twice counts twice.

    Args:
        path: The file.
        found: The value.

    Raises:
        ValueError: As `check_contents`.
    """
    return _Walk(path).size_of(found, "")


@dataclass
class _Walk:
    path: str
    open: set[int] = field(default_factory=set)
    sizes: dict[int, int] = field(default_factory=dict)
    storages: dict[int, int] = field(default_factory=dict)
    """Bytes of each storage, by its place."""

    def size_of(self, value: Any, name: str) -> int:
        """Number of values in a value."""
        if isinstance(value, Tensor):
            self.check_tensor(value, name)
            return 1
        if value is None or isinstance(value, _PLAIN):
            return 1
        if not isinstance(value, (dict, list, tuple, set, frozenset)):
            given = f"{name or 'a value'}, which is a {type(value).__name__}"
            raise ValueError(f"{self.path} must hold tensors and plain values, got {given}")
        if id(value) in self.sizes:
            return self.sizes[id(value)]
        if id(value) in self.open or len(self.open) >= MOST_LEVELS:
            what = "a container inside itself" if id(value) in self.open else f"more than {MOST_LEVELS} levels of them"
            raise ValueError(f"{self.path} is refused: its lists and mappings must end, got {what} ({name})")
        self.open.add(id(value))
        items: list[tuple[Any, Any]] = list(value.items() if isinstance(value, dict) else enumerate(value))
        items += getattr(value, "__dict__", {}).items()  # what a state dict says of versions
        size = 1
        for key, each in items:
            inside = f"{name}.{key!s:.60}" if name else f"{key!s:.60}"
            size += self.size_of(each, inside[-200:])
            if size > MOST_NODES:
                raise ValueError(f"{self.path} is refused: it must hold at most {MOST_NODES} values, got more ({name})")
        self.open.remove(id(value))
        self.sizes[id(value)] = size
        return size

    def check_tensor(self, tensor: Tensor, name: str) -> None:
        kind = (
            "nested" if tensor.is_nested
            else "sparse" if tensor.layout != torch.strided
            else "without values" if tensor.is_meta
            else "quantised" if tensor.is_quantized
            else ""
        )  # fmt: skip
        if not kind:
            storage = tensor.untyped_storage()
            self.storages[storage.data_ptr()] = storage.nbytes()
            if tensor.numel() * tensor.element_size() > storage.nbytes():
                kind = f"{tuple(tensor.shape)} expanded from {storage.nbytes()} bytes"
        if kind:
            raise ValueError(f"{self.path} must hold plain tensors, got {name}, which is {kind}")
