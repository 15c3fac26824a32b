"""Positions of values along the axis of a figure, and the choice of those that are labelled."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, floor, log10
from typing import Literal

from matplotlib.ticker import MaxNLocator

from asim_lightning.evaluation.results import AxisValue, axis_text, is_number

_DECADES = 30.0
"""Ratio of the largest to the smallest positive number from which a logarithmic axis is considered."""
_CROWDED = 0.2
"""Share of a linear axis: where half of the values lie within it, a logarithmic axis is drawn."""
_STEPS = ((1, 2, 5), (1, 3), (1,))
"""Leading digits of the labels of a logarithmic axis, the densest first."""
_BLANK = 12.0
"""Smallest distance of two labels, in dots."""

Measure = Callable[[str], float]
"""Width of a label in dots."""


@dataclass(frozen=True)
class AxisScale:
    """An axis: numbers at their values or at their logarithms; other values in order, one apart.

    Attributes:
        values: Distinct values; numbers ascending.
        kind: linear, log (0 stands one mean step left of the smallest number above it) or names.
    """

    values: Sequence[AxisValue]
    kind: Literal["linear", "log", "names"]

    @property
    def numbers(self) -> list[float]:
        """The values, where they are numbers."""
        return [float(value) for value in self.values if isinstance(value, (int, float))]

    @property
    def joined(self) -> bool:
        """Whether lines join the values: between two column models or whole settings, for example, there is nothing."""
        return not any(isinstance(value, (str, Mapping)) for value in self.values)

    @property
    def positions(self) -> list[float]:
        """Position of each value."""
        return [self.position(value) for value in self.values]

    @property
    def ends(self) -> tuple[float, float]:
        """Left and right end of the axis."""
        first, last = min(self.positions), max(self.positions)
        margin = 0.5 if self.kind == "names" else 0.05 * (last - first) or 0.5
        return first - margin, last + margin

    @property
    def zero_step(self) -> float:
        """On a logarithmic axis, the distance from 0 to the smallest positive number, in decades; 0 where no value is
        0."""
        above = [number for number in self.numbers if number > 0]
        reach = log10(above[-1] / above[0])
        return max(reach / (len(above) - 1), 0.1 * reach) if len(above) < len(self.numbers) else 0.0

    def position(self, value: AxisValue) -> float:
        """Position of a value; on a numeric axis, of any number within it."""
        if self.kind == "names":
            return float([axis_text(known) for known in self.values].index(axis_text(value)))
        number = float(value)  # type: ignore[arg-type]  # of a numeric axis
        if self.kind == "linear":
            return number
        least = min(each for each in self.numbers if each > 0)
        return log10(number / least) + self.zero_step if number > 0 else 0.0


def axis_scale(values: Sequence[AxisValue]) -> AxisScale:
    """The axis for some values: linear, unless they span decades and most would lie on top of each other.

    Args:
        values: Distinct values in the order of `distinct_values`.
    """
    if not all(is_number(value) for value in values):
        return AxisScale(values, "names")
    linear = AxisScale(values, "linear")
    numbers = linear.numbers
    above = [number for number in numbers if number > 0]
    if numbers[0] < 0 or len(above) < 3 or above[-1] < _DECADES * above[0]:
        return linear
    crowded = numbers[len(numbers) // 2] - numbers[0] < _CROWDED * (numbers[-1] - numbers[0])
    return AxisScale(values, "log") if crowded else linear


def number_ticks(
    scale: AxisScale, width: float, measure: Measure, factor: float = 1.0
) -> tuple[list[float], list[str]]:
    """Positions and texts of the labels of a numeric axis, as many as fit.

    The labels are the values themselves where all fit and their unit is kept, else round numbers.

    Args:
        scale: The axis, linear or log.
        width: Width of the axis, dots.
        measure: Width of a label.
        factor: Unit of the values in units of the labels.
    """
    left, right = scale.ends
    found: tuple[list[float], list[str]] = ([], [])
    for numbers in _candidates(scale, factor):
        positions = [scale.position(number / factor) for number in numbers]
        texts = [f"{number:.6g}" for number in numbers]
        found = positions, texts
        dots = [width * (position - left) / (right - left) for position in positions]
        halves = [measure(text) / 2 for text in texts]
        places = list(zip(dots, halves, strict=True))
        if all(x - half >= before + other + _BLANK for (before, other), (x, half) in pairwise(places)):
            break
    return found


def _candidates(scale: AxisScale, factor: float) -> Iterator[list[float]]:
    numbers = scale.numbers
    first, last = factor * numbers[0], factor * numbers[-1]
    if factor == 1.0 or len(numbers) == 1:
        yield [factor * number for number in numbers]
    if scale.kind == "linear":
        whole = factor == 1.0 and all(number.is_integer() for number in numbers)
        for count in range(10, 0, -1):
            ticks = MaxNLocator(count, steps=[1, 2, 2.5, 5, 10], integer=whole).tick_values(first, last)
            slack = 1e-9 * (last - first)
            yield [round(float(tick), 12) for tick in ticks if first - slack <= tick <= last + slack]
        return
    least = factor * next(number for number in numbers if number > 0)
    zero = [0.0] if numbers[0] == 0 else []
    decades = range(floor(log10(least)), ceil(log10(last)) + 1)
    for leading in _STEPS:
        found = [float(f"{digit}e{decade}") for decade in decades for digit in leading]
        yield zero + [number for number in found if least * (1 - 1e-9) <= number <= last * (1 + 1e-9)]
    for every in range(2, len(decades) + 1):
        found = [float(f"1e{decade}") for decade in decades if decade % every == 0]
        yield zero + [number for number in found if least * (1 - 1e-9) <= number <= last * (1 + 1e-9)]
