"""Which condition to evaluate next: a checkpoint over a grid of macros, with error bars."""

from asim_lightning.evaluation.interval import Interval, accuracy_interval
from asim_lightning.evaluation.results import Result
from asim_lightning.exploration.axes import SweepAxes

__all__ = ["Interval", "Result", "SweepAxes", "accuracy_interval"]
