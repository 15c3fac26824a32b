"""What an accuracy is measured under, and what comes of it: results, intervals, times, files that are whole."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asim_lightning.evaluation.condition import Condition, under

__all__ = ["Condition", "under"]


def __getattr__(name: str) -> Any:
    # a result is plain, and is read and drawn without Lightning, which a condition needs
    if name in __all__:
        from asim_lightning.evaluation import condition

        return getattr(condition, name)
    raise AttributeError(f"module 'asim_lightning.evaluation' has no attribute {name!r}")
