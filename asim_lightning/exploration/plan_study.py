"""A study of plans: which plan of each kind to try next, and whether it keeps a target."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from asim_lightning.checks import check_whole
from asim_lightning.evaluation.axis_settings import CHECKPOINT, CHIP
from asim_lightning.evaluation.chip_yield import good_chips
from asim_lightning.evaluation.interval import Interval
from asim_lightning.evaluation.results import Decision, Outcomes, Result, canonical_json
from asim_lightning.evaluation.target import Target, decide, measured_target
from asim_lightning.exploration.figures import CostFigures
from asim_lightning.exploration.methods import Found, Method, Point
from asim_lightning.exploration.records import Records, paired_difference
from asim_lightning.exploration.runner import Work
from asim_lightning.exploration.study import Planned, Study

_ATTEMPTS = 4
"""Most proved plans of a family."""
_DEARER = 1.03
"""Least cost of the second proved plan as a multiple of the first; of the third, the square, and so on."""


@dataclass(frozen=True)
class Candidate:
    """A plan that may be tried.

    Attributes:
        point: Its changes, by the name of their axis.
        energy: Energy of an image, uJ.
        strength: Numbers that say how strong each change is; more never loses answers.
        gap: Its extra cost over the lower bound, as a share; None: it was not chosen among combinations.
    """

    point: Point
    energy: float
    strength: tuple[float, ...]
    gap: float | None = None


@dataclass(eq=False)
class Family:
    """Plans that change the same things, the cheapest first."""

    name: str
    group: str
    """Strengths can be compared within a group of families."""
    candidates: Sequence[Candidate]
    margins: dict[int, float] = field(default_factory=dict)
    """How much each tried plan is likely to exceed the target, by index; below 0 if it is likely to miss."""

    def next(self, failed: Sequence[tuple[float, ...]]) -> int | None:
        """The next plan to try for the cheapest that passes; None if it is found, or no plan is left.

        It skips a plan that is no stronger than a failed plan of the group, and a plan that costs more than one that
        passes.
        """
        last = len(self.candidates) if self.cheapest is None else self.cheapest
        left = [
            place
            for place, each in enumerate(self.candidates[:last])
            if place not in self.margins and not any(_is_no_stronger(each.strength, other) for other in failed)
        ]
        return left[len(left) // 2] if left else None

    def after(self, place: int, times: float) -> int | None:
        """The next plan that costs at least `times` as much, and is stronger than the failed ones."""
        least = times * self.candidates[place].energy
        failed = [self.candidates[each].strength for each, margin in self.margins.items() if margin < 0]
        for later, each in enumerate(self.candidates):
            if each.energy >= least and later > place and not any(_is_no_stronger(each.strength, x) for x in failed):
                return later
        return None

    @property
    def cheapest(self) -> int | None:
        """The cheapest plan that passed."""
        return min((place for place, margin in self.margins.items() if margin >= 0), default=None)


def _is_no_stronger(mine: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return all(a <= b for a, b in zip(mine, other, strict=True))


def screening(families: Sequence[Family], margin_of: Callable[[Result], float]) -> Method[list[Family]]:
    """Find, for each family, the cheapest plan that is likely to keep a target; return families with tried plans.

    `margin_of` says how much a result is likely to exceed the target, below 0 if it misses.
    """
    tried = [replace(each, margins={}) for each in families]
    failed: dict[str, list[tuple[float, ...]]] = {each.group: [] for each in tried}
    for family in tried:
        while (place := family.next(failed[family.group])) is not None:
            family.margins[place] = margin_of((yield family.candidates[place].point))
            if family.margins[place] < 0:
                failed[family.group].append(family.candidates[place].strength)
    return tried


def proving(families: Sequence[Family], most: int) -> Method[list[tuple[str, float | None, Result]]]:
    """Try the macro as it is, then the cheapest likely plan of each family, and dearer ones until one is surely kept.

    It ends after `most` kept plans. If none is kept, it tries the nearest plans of families without a likely one.
    Returns the name of the family, empty for the macro as it is, the gap and the result of each plan.
    """
    tried: list[tuple[str, float | None, Result]] = [("", None, (yield {}))]
    kept = 0
    likely = [(each, each.cheapest) for each in families if each.cheapest is not None]
    for family, cheapest in sorted(likely, key=lambda each: each[0].candidates[each[1]].energy):
        place: int | None = cheapest
        for attempt in range(_ATTEMPTS):
            if place is None or (attempt and tried[-1][2].verdict == "kept"):
                break
            plan = family.candidates[place]
            tried.append((family.name, plan.gap, (yield plan.point)))
            place = family.after(place, _DEARER ** (2**attempt))
        kept += tried[-1][2].verdict == "kept"
        if kept == most:
            return tried
    for family in families:
        if not kept and family.cheapest is None and family.margins:
            nearest = max(family.margins, key=lambda place: (family.margins[place], -place))
            plan = family.candidates[nearest]
            tried.append((family.name, plan.gap, (yield plan.point)))
    return tried


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
        measured_target(self.target)


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
        self.target, self.figures = measured_target(settings.target), figures
        self.targets = [self.target]
        self.chips, self.reads, self._proves = chips, settings.reads, proves
        self.chips_may_end = self.target.form == "yield"
        self.most_images = _MANY  # more images than there are may decide
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
