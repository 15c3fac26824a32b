"""A study of plans: changes of a macro, of single layers and of weights, each measured against a target."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from asim_lightning.checks import check_whole
from asim_lightning.evaluation.axis_settings import CHECKPOINT, CHIP
from asim_lightning.evaluation.chip_yield import good_chips
from asim_lightning.evaluation.interval import Interval
from asim_lightning.evaluation.results import Decision, Outcomes, Result, canonical_json
from asim_lightning.evaluation.target import MEASURED, Target, decide
from asim_lightning.exploration.figures import CostFigures
from asim_lightning.exploration.methods import Found, Method
from asim_lightning.exploration.records import Records, paired_difference
from asim_lightning.exploration.runner import Work
from asim_lightning.exploration.study import Planned, Study

_MANY = 10**9
"""Most images or chips that an undecided plan may ask for."""
_ALL_GOOD = 6
"""A yield is likely from this many good chips without a bad one."""


@dataclass(frozen=True)
class DoctorSettings:
    """The target, and the samples that measure plans."""

    target: str = "accuracy 99 % of quantized"
    """Target to keep, such as "accuracy 99 % of quantized", "accuracy 88 %" or "yield 0.9 at 85 %"."""
    images: int = 400
    """Test images for the map and for the choice of plans."""
    proof_images: int = 1600
    """Most other test images, which prove the plans; `data.test_images` does not apply."""
    chips: int = 200
    """Most chips of a proof: 2..10000."""
    reads: int = 1
    """Reads of each chip of a noisy plan: 1..65535."""
    plans: int = 3
    """Most plans that are surely kept, each the cheapest of its kind."""
    checkpoints: list[str] = field(default_factory=list)
    """Other weights to try, such as from training under noise."""

    def __post_init__(self) -> None:
        check_whole("`images`", self.images, 1)
        check_whole("`proof_images`", self.proof_images, 1)
        check_whole("`chips`", self.chips, 2, 10000)
        check_whole("`reads`", self.reads, 1, 65535)
        check_whole("`plans`", self.plans, 1, 100)
        self.read_target()

    def read_target(self) -> Target:
        """The target."""
        return Target.read(self.target, "`target`", MEASURED)


class PlanStudy(Study):
    """Measures plans one after another.

    Args:
        work: Network, data and trainer.
        settings: The settings of `doctor`.
        figures: Costs of plans.
        names: Names of the axes of all plans.
        chips: Numbers of the chips of a plan whose chips differ.
        places: Indices of the images.
        proves: Whether chips end when the target is answered; else they end when it is clear whether it is likely.
    """

    def __init__(
        self,
        work: Work,
        settings: DoctorSettings,
        figures: CostFigures,
        names: Sequence[str],
        chips: range,
        places: range,
        proves: bool,
    ) -> None:
        super().__init__(work)
        self.target, self.figures = settings.read_target(), figures
        self.targets = [self.target]
        self.chips, self.reads, self._proves = chips, settings.reads, proves
        self.chips_may_end = self.target.form == "yield"
        self._paired: dict[str, Interval] = {}
        of = {"target": str(self.target), "chips": str(chips), "images": str(places)}
        axes = [*(name for name in names if name != CHECKPOINT), CHIP]
        for checkpoint in (None, *settings.checkpoints):
            self.switch(checkpoint)
            records = Records(work, axes, "doctor", described={"doctor": of}, places=places)
            records.points.add({}, "simulated")
            records.open(has_table=checkpoint is None)  # the key includes the weights
            self.by_checkpoint[checkpoint] = records
        self.switch(None)
        self.records = self.by_checkpoint[None]

    def run(self, method: Method[Found], most: int, say: Callable[[str], None], progress: bool) -> Found:
        """Measure the plans of a method; return what it finds. `Study.evaluate` explains the arguments."""
        _, found = self.evaluate([], method, most, progress, say)
        self.switch(None)
        return found

    @property
    def most_images(self) -> int:
        """More images than there are may decide, so this is large."""
        return _MANY

    def decision(self, target: Target, result: Result, chips: Sequence[Sequence[Outcomes]]) -> Decision:
        """Whether a plan keeps the target; for a yield, by the sequential test that may end its chips."""
        if target.of is not None:
            self._paired[canonical_json(result.axes)] = paired_difference(chips, self.outcomes[target.of])
        if target.form != "yield" or len(chips) < 2:
            return super().decision(target, result, chips)
        answer = target.answer_of_chips(good_chips(chips, target.accuracy), len(chips))
        if answer is None:
            return decide(*target.bounds(result, None), len(chips), _MANY)
        return Decision("kept" if answer else "missed")

    def is_over(self, planned: Planned, chips: Sequence[Sequence[Outcomes]]) -> bool:
        """Whether the chips so far prove a yield, or show whether it is likely."""
        if self.target.form != "yield":
            return False
        good = good_chips(chips, self.target.accuracy)
        if self._proves:
            return self.target.answer_of_chips(good, len(chips)) is not None
        bad = len(chips) - good
        return bad > len(self.chips) * (1.0 - self.target.value) or (bad == 0 and len(chips) >= _ALL_GOOD)

    def compared(self, result: Result) -> tuple[Interval, float]:
        """The interval that the target bounds, and the least value that keeps the target."""
        reference = self.references[self.target.of] if self.target.of else None
        return self.target.bounds(result, reference, self._paired.get(canonical_json(result.axes)))
