"""A study of plans: changes of a macro, of single layers and of weights, each measured against a target."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from asim_lightning.evaluation.axis_settings import CHECKPOINT, CHIP
from asim_lightning.evaluation.binomial import clopper_pearson
from asim_lightning.evaluation.chip_yield import good_chips
from asim_lightning.evaluation.interval import Interval
from asim_lightning.evaluation.results import Decision, Outcomes, Result, canonical_json
from asim_lightning.evaluation.target import Target, decide
from asim_lightning.exploration.figures import CostFigures
from asim_lightning.exploration.methods import AnyMethod, Point, replayed
from asim_lightning.exploration.records import Records, paired_difference
from asim_lightning.exploration.runner import Work
from asim_lightning.exploration.search_space import checkpoint_of
from asim_lightning.exploration.study import Planned, Study

_MANY = 10**9
"""Images or chips that an undecided plan may ask for."""
_ALL_GOOD = 6
"""Good chips without a bad one from which a yield is likely."""


@dataclass(frozen=True)
class Measured:
    """What plans are measured on.

    Attributes:
        target: The target.
        chips: Numbers of the chips of a plan whose chips differ.
        places: Places of the images; None: all.
        reads: Reads of each chip of a noisy plan.
        proves: Whether chips end when they answer the target, else when it is clear whether it is likely.
    """

    target: Target
    chips: range
    places: range | None = None
    reads: int = 1
    proves: bool = False

    @property
    def good_chips(self) -> int:
        """Good chips of which a yield is surely kept, if their number is fixed; one more than there are if none is."""
        count = len(self.chips)
        kept = (good for good in range(count + 1) if clopper_pearson(good, count)[0] >= self.target.value)
        return next(kept, count + 1)


class PlanStudy(Study):
    """Measures plans one after another.

    Args:
        work: What it works with.
        measured: What plans are measured on.
        names: Names of the axes of all plans.
        checkpoints: Weights of plans, next to the network's own.
        figures: What plans cost.

    Raises:
        ValueError: The data has not so many images, or workers would not follow other weights.
    """

    def __init__(
        self, work: Work, measured: Measured, names: Sequence[str], checkpoints: Sequence[str], figures: CostFigures
    ) -> None:
        super().__init__(work)
        self.measured, self.figures, self.targets = measured, figures, [measured.target]
        self.chips_may_end = measured.target.form == "yield"
        self._paired: dict[str, Interval] = {}
        self._records: dict[str | None, Records] = {}
        of = {"target": str(measured.target), "chips": str(measured.chips), "images": str(measured.places)}
        axes = [*(name for name in names if name != CHECKPOINT), CHIP]
        for checkpoint in (None, *checkpoints):
            self.switch(checkpoint)
            records = Records(work, axes, "doctor", described={"doctor": of}, places=measured.places)
            records.points.add({}, "simulated")
            records.open(has_table=checkpoint is None)  # the weights are part of the key
            self._records[checkpoint] = records
        self.switch(None)
        self.records = self._records[None]

    def run(self, make: Callable[[], AnyMethod], most: int, say: Callable[[str], None], progress: bool) -> AnyMethod:
        """Measure the plans that a new method proposes; the method in the end, in the first process only.

        The arguments are those of `Study.evaluate`.
        """
        results = self.evaluate([], make(), most, progress, say)
        self.switch(None)
        return replayed(make(), results)

    @property
    def most_images(self) -> int:
        """More images than there are may decide."""
        return _MANY

    def planned(self, point: Point) -> Planned:
        """The trials of a plan, on each chip if chips differ."""
        records, measured = self._records[checkpoint_of(point)], self.measured
        return self.on_chips(point, records, measured.chips, measured.reads)

    def decision(self, target: Target, result: Result, chips: Sequence[Sequence[Outcomes]]) -> Decision:
        """Whether a plan keeps the target; a yield is decided by the sequence that may end its chips."""
        if target.of is not None:
            self._paired[canonical_json(result.axes)] = paired_difference(chips, self.outcomes[target.of])
        if target.form != "yield" or len(chips) < 2:
            return super().decision(target, result, chips)
        answer = target.answer_of_chips(good_chips(chips, target.accuracy), len(chips))
        if answer is None:
            return decide(*target.bounds(result, None), len(chips), _MANY)
        return Decision("kept" if answer else "missed")

    def is_over(self, planned: Planned, chips: Sequence[Sequence[Outcomes]]) -> bool:
        """Whether the chips of a plan so far are enough, as `Measured.proves` says."""
        measured = self.measured
        if measured.target.form != "yield":
            return False
        good = good_chips(chips, measured.target.accuracy)
        if measured.proves:
            return measured.target.answer_of_chips(good, len(chips)) is not None
        bad = len(chips) - good
        return bad > len(measured.chips) * (1.0 - measured.target.value) or (bad == 0 and len(chips) >= _ALL_GOOD)

    def compared(self, result: Result) -> tuple[Interval, float]:
        """What the target bounds of a plan, with its interval, and the least that it must be."""
        target = self.measured.target
        paired = self._paired.get(canonical_json(result.axes))
        return target.bounds(result, self.references[target.of] if target.of else None, paired)
