"""What engines work out of a weight, kept as long as that very tensor lives and is not changed in place."""

from collections.abc import Callable, Hashable
from typing import TypeVar

from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

Value = TypeVar("Value")
_KNOWN: WeakIdKeyDictionary = WeakIdKeyDictionary()


def remembered(w: Tensor, key: Hashable, compute: Callable[[], Value]) -> Value:
    """The value of ``compute()`` for this weight and key, computed once.

    Args:
        w: The weight, which must not change in place where it was made in inference mode: torch counts none there.
        key: What else the value depends on.
        compute: Works the value out, which must not hold the weight itself.
    """
    version = None if w.is_inference() else w._version
    kept = _KNOWN.get(w)
    if kept is None or kept[0] != version:
        kept = (version, {})
        _KNOWN[w] = kept
    values = kept[1]
    if key not in values:
        values[key] = compute()
    value: Value = values[key]
    return value
