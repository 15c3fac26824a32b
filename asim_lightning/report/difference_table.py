"""Paired differences along an axis of a sweep, as text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from asim_lightning.evaluation.interval import Interval
from asim_lightning.evaluation.results import AxisValue, value_words
from asim_lightning.report.axis_labels import head_of
from asim_lightning.text_table import text_table


@dataclass(frozen=True)
class Difference:
    """What one step along an axis changes, on the same images and reads.

    Attributes:
        others: Values of the other axes.
        before: Value of the axis.
        after: The next one.
        change: Accuracy after less accuracy before, and its 95 % interval, -1..1.
    """

    others: Mapping[str, AxisValue]
    before: AxisValue
    after: AxisValue
    change: Interval


def differences_text(axis: str, found: Sequence[Difference]) -> str:
    """Table of the differences, in points, below a line that says what they are.

    Args:
        axis: Name of the axis.
        found: Its differences, one or more.
    """
    others = list(found[0].others)
    header = [*others, f"{axis} from", "to", "change (points)", "95 % interval"]
    rows = [
        [
            *(value_words(value) for value in each.others.values()),
            value_words(each.before),
            value_words(each.after),
            f"{100 * each.change.mean:+.2f}",
            f"[{100 * each.change.low:+.2f}, {100 * each.change.high:+.2f}]",
        ]
        for each in found
    ]
    head = f"Changes along {head_of(axis)}, in pairs: the same images and random numbers on both sides"
    return f"{head}\n{text_table([header, *rows], 1, 'r' * len(header))}"
