"""One checkpoint over a grid of macros, with error bars."""

from asim_lightning.sweep.axes import SweepAxes
from asim_lightning.sweep.interval import Interval, accuracy_interval
from asim_lightning.sweep.result import PointResult

__all__ = ["Interval", "PointResult", "SweepAxes", "accuracy_interval"]
