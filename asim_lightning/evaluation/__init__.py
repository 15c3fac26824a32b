"""What an accuracy is measured under."""

from asim_lightning.evaluation.condition import Condition, under

__all__ = ["Condition", "under"]
