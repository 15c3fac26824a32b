"""The chips of a sweep, for each combination of its other axes: when there are enough, and how many are good."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from asim_lightning.checks import check_whole
from asim_lightning.evaluation.accuracy_question import AccuracyQuestion
from asim_lightning.evaluation.canonical import canonical_json
from asim_lightning.evaluation.chip_yield import ChipYield, YieldQuestion, chip_yield, is_good
from asim_lightning.evaluation.record import SweepRecord
from asim_lightning.evaluation.results import AxisValue, Outcomes, PointResult
from asim_lightning.exploration.axes import SweepAxes

CHIP = "chip"
MOST_CHIPS = 500
"""Chips after which a question stays unanswered where no other limit is given."""


def read_question(text: str) -> YieldQuestion | AccuracyQuestion:
    """The question of a setting `until`: on the yield of chips, or on the accuracy.

    Raises:
        ValueError: It is none.
    """
    if text.split()[:1] == ["accuracy"]:
        return AccuracyQuestion.read(text)
    try:
        return YieldQuestion.read(text)
    except ValueError as error:
        if text.split()[:1] == ["yield"]:
            raise
        raise ValueError(f"{error}, or 'accuracy 90 %', or 'accuracy within 2 %'") from None


def with_chips(axes: SweepAxes, chips: int | None, until: YieldQuestion | None) -> SweepAxes:
    """The grid with an axis of chips 0 to `chips` - 1, last.

    Args:
        axes: The other axes.
        chips: Number of chips: 2..10000; None: `MOST_CHIPS`.
        until: The question that may end them before.

    Raises:
        ValueError: The number is not allowed, or the grid has an axis of chips.
    """
    name = "`chips`"
    check_whole(name, MOST_CHIPS if chips is None else chips, 2, 10000)
    if axes.chip is not None:
        given = f"{name} {chips}" if until is None else f"`until` '{until}'"
        raise ValueError(f"{given} takes chips 0, 1, 2, ..., so that `axes.chip` must be absent, got {axes.chip}")
    return replace(axes, chip=list(range(MOST_CHIPS if chips is None else chips)))


def thresholds_of(percents: Sequence[float] | None, of_chips: bool) -> list[float]:
    """Thresholds as shares, 0..1; none where none are given.

    Args:
        percents: Accuracies in percent: above 0, at most 100.
        of_chips: Whether there are chips that they can count.

    Raises:
        ValueError: One is out of range, the list is empty, or there are no chips.
    """
    if percents is None:
        return []
    if not percents or not all(0 < percent <= 100 for percent in percents):
        raise ValueError(f"`thresholds` must be a list of percents above 0, 100 at most, got {percents}")
    if not of_chips:
        raise ValueError(f"`thresholds` count good chips, and need `chips` or `until`, got {percents} alone")
    return [percent / 100 for percent in percents]


class Answers:
    """The answers to a question on the yield, for each combination of the other axes.

    Args:
        question: The question; None: nothing is ever answered.
    """

    def __init__(self, question: YieldQuestion | None) -> None:
        self._question = question
        self._counts: dict[str, tuple[int, int]] = {}

    def is_answered(self, axes: Mapping[str, AxisValue]) -> bool:
        """Whether no more chips are needed at the other axes of a point."""
        good, total = self._counts.get(_others(axes), (0, 0))
        return self._question is not None and total > 1 and self._question.answer(good, total) is not None

    def add(self, axes: Mapping[str, AxisValue], reads: Sequence[Outcomes]) -> None:
        """Count a chip.

        Args:
            axes: Its point.
            reads: What each of its reads answered.
        """
        if self._question is None:
            return
        right, images = sum(int(read.correct.sum()) for read in reads), sum(len(read.label) for read in reads)
        good, total = self._counts.get(_others(axes), (0, 0))
        self._counts[_others(axes)] = good + is_good(right, images, self._question.accuracy), total + 1


def yields(results: Sequence[PointResult], record: SweepRecord, stopped_by_outcomes: bool) -> list[ChipYield]:
    """The chips of each combination of the other axes.

    Args:
        results: Results of a sweep with an axis of chips.
        record: Its record.
        stopped_by_outcomes: Whether outcomes decided how many chips there are.

    Raises:
        ValueError: A combination has one chip alone.
    """
    groups: dict[str, list[PointResult]] = {}
    for row in results:
        if row.kind == "simulated":
            groups.setdefault(_others(row.axes), []).append(row)
    found = []
    for rows in groups.values():
        chips = {
            int(row.axes[CHIP]): [record.outcomes(row.axes, row.kind, trial) for trial in range(row.trials)]  # type: ignore[arg-type]
            for row in rows
        }
        axes = {name: value for name, value in rows[0].axes.items() if name != CHIP}
        found.append(chip_yield(axes, chips, stopped_by_outcomes))
    return found


def _others(axes: Mapping[str, AxisValue]) -> str:
    return canonical_json({name: value for name, value in axes.items() if name != CHIP})
