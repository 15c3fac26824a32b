"""Points of a sweep as figures and charts are given them."""

from asim_lightning.evaluation.results import PointResult


def simulated(accuracy: float = 0.8, **axes: object) -> PointResult:
    """A simulated point, from 2 percent below its accuracy to 1 percent above."""
    return PointResult(axes, "simulated", 5, 2000, accuracy, accuracy - 0.02, accuracy + 0.01, 3.0, "events")
