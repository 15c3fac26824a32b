"""Points of a sweep as figures and charts are given them."""

from asim_lightning.evaluation.results import Result


def simulated(accuracy: float = 0.8, **axes: object) -> Result:
    """A simulated point, from 2 percent below its accuracy to 1 percent above."""
    return Result(axes, "simulated", 5, 2000, accuracy, accuracy - 0.02, accuracy + 0.01, 3.0, "events")
