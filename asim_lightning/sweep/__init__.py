"""One checkpoint over a grid of macros, with error bars."""

from asim_lightning.evaluation.interval import Interval, accuracy_interval
from asim_lightning.evaluation.results import PointResult
from asim_lightning.sweep.axes import SweepAxes

__all__ = ["Interval", "PointResult", "SweepAxes", "accuracy_interval"]
