"""A study of plans: which plan of each kind to try next, and whether it keeps a target."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from operator import gt

from asim_lightning.checks import check_choice, check_whole
from asim_lightning.evaluation.axis_settings import CHIP, CORNER
from asim_lightning.evaluation.chip_yield import good_chips
from asim_lightning.evaluation.results import Decision, Result
from asim_lightning.evaluation.target import Target, decide, measured_target
from asim_lightning.exploration.methods import Method, Point
from asim_lightning.exploration.point import Points
from asim_lightning.exploration.point_costs import CostFigures
from asim_lightning.exploration.runner import Work
from asim_lightning.exploration.study import Others, Read, Study, StudySettings
from asim_lightning.report.spec_doctor import PRICES

_ATTEMPTS = 4
"""Most proved plans of a family."""
_DEARER = 1.03
"""Least cost of the second proved plan as a multiple of the first; of the third, the square, and so on."""


@dataclass(frozen=True)
class Candidate:
    """A plan that may be tried.

    Attributes:
        point: Its changes, by the name of their axis.
        price: Energy of an image, uJ, or percent of the products of bits that are digital, as `DoctorSettings.least`
            asks for.
        strength: Numbers that say how strong each change is; more never loses answers.
        gap: Its extra cost over the lower bound, as a share; None: it was not chosen among combinations.
    """

    point: Point
    price: float
    strength: tuple[float, ...]
    gap: float | None = None


@dataclass(frozen=True)
class Family:
    """Plans that change the same things, the cheapest first."""

    name: str
    group: str
    """Strengths can be compared within a group of families."""
    candidates: Sequence[Candidate]
    tried: Sequence[tuple[Candidate, float]] = ()
    """Tried plans, and how much each is likely to exceed the target; below 0 if it is likely to miss."""

    @property
    def cheapest(self) -> Candidate | None:
        """The cheapest plan that passed: the last one, because dearer plans are not tried any more."""
        return next((plan for plan, margin in reversed(self.tried) if margin >= 0), None)


def screening(families: Sequence[Family], margin_of: Callable[[Result], float]) -> Method[list[Family]]:
    """Find, for each family, the cheapest plan that is likely to keep a target; return the families with tried plans.

    `margin_of` says how much a result is likely to exceed the target, below 0 if it misses.
    """
    failed, screened = {each.group: list[Candidate]() for each in families}, list[Family]()
    for family in families:
        left, tried = _stronger(family.candidates, failed[family.group]), list[tuple[Candidate, float]]()
        while left:
            middle = len(left) // 2
            plan = left[middle]
            margin = margin_of((yield plan.point))
            tried.append((plan, margin))
            if margin < 0:
                failed[family.group].append(plan)
                left = _stronger(left, [plan])
            else:
                left = left[:middle]
        screened.append(replace(family, tried=tried))
    return screened


def _stronger(plans: Sequence[Candidate], failed: Sequence[Candidate]) -> list[Candidate]:
    """Plans that are stronger than each failed one in some way."""
    return [plan for plan in plans if all(any(map(gt, plan.strength, other.strength)) for other in failed)]


def proving(families: Sequence[Family], most: int) -> Method[list[tuple[str, float | None, Result]]]:
    """Try the macro as it is, then the cheapest likely plan of each family, and dearer ones until one is surely kept.

    It ends after `most` kept plans. If none is kept, it tries the nearest plans of families without a likely one.
    Returns the name of the family, empty for the macro as it is, the gap and the result of each plan.
    """
    tried: list[tuple[str, float | None, Result]] = [("", None, (yield {}))]
    kept = 0
    likely = [(plan, family) for family in families if (plan := family.cheapest) is not None]
    for cheapest, family in sorted(likely, key=lambda each: each[0].price):
        plans, failed = [cheapest], [plan for plan, margin in family.tried if margin < 0]
        for attempt in range(_ATTEMPTS):
            tried.append((family.name, plans[0].gap, (yield plans[0].point)))
            least = plans[0].price * _DEARER ** (2**attempt)
            plans = [each for each in _stronger(family.candidates, failed) if each.price >= least]
            if not plans or tried[-1][2].verdict == "kept":
                break
        kept += tried[-1][2].verdict == "kept"
        if kept == most:
            return tried
    for family in families:
        if not kept and family.cheapest is None and family.tried:
            nearest, _ = max(family.tried, key=lambda each: (each[1], -each[0].price))
            tried.append((family.name, nearest.gap, (yield nearest.point)))
    return tried


_MANY = 10**9
"""Most images or chips that an undecided plan may ask for."""
_ALL_GOOD = 6
"""A yield is likely from this many good chips without a bad one."""


@dataclass(frozen=True)
class DoctorSettings:
    """The target, and the samples that measure plans."""

    target: str = "accuracy 99 % of quantized"
    """Target to keep, such as "accuracy 99 % of quantized", "accuracy 88 %", "yield 0.9 at 85 %", or for the outcome
    loss "loss within 5 % of quantized" or "loss 0.3"."""
    images: int = 400
    """Test images for the map and for the choice of plans."""
    proof_images: int = 1600
    """Most other test images, which prove the plans; `data.test_images` does not apply."""
    chips: int = 200
    """Most chips of a proof: 2..10000."""
    reads: int = 1
    """Reads of each chip of a noisy plan: 1..65535."""
    plans: int = 6
    """Most plans that are surely kept, each the cheapest of its kind."""
    checkpoints: list[str] = field(default_factory=list)
    """Other weights to try, such as from training under noise."""
    least: str = "energy"
    """What a plan should have little of: energy; or digital, the percent of the products of bits that are digital.
    Plans then change only digital positions."""
    corner: list[str] | None = None
    """Names of `corners` at which the target must be kept; null: all."""

    @property
    def measured(self) -> Target:
        """`target` as a target."""
        return measured_target(self.target)

    def __post_init__(self) -> None:
        check_whole("`images`", self.images, 1)
        check_whole("`proof_images`", self.proof_images, 1)
        check_whole("`chips`", self.chips, 2, 10000)
        check_whole("`reads`", self.reads, 1, 65535)
        check_whole("`plans`", self.plans, 1, 100)
        check_choice("`least`", self.least, tuple(PRICES))
        measured_target(self.target)


@dataclass(frozen=True, eq=False)
class PlanStudy(Study):
    """A study of plans.

    Attributes:
        proves: Whether chips end when the target is answered; else they end when it is clear whether it is likely.
    """

    proves: bool = True

    def decision(self, target: Target, result: Result, chips: Read, others: Others) -> Decision:
        """Whether a plan keeps the target; for a yield, also how many chips would decide."""
        if target.form != "yield" or len(chips) == 1:
            return super().decision(target, result, chips, others)
        return decide(*target.bounds(result, None), len(chips), _MANY)  # agrees with the test that may end the chips

    def is_over(self, chips: Read) -> bool:
        """Whether the chips so far prove a yield, or show whether it is likely."""
        if self.proves or not self.settings.chips_may_end:
            return super().is_over(chips)
        (target,) = self.settings.targets
        bad = len(chips) - good_chips(chips, target.accuracy)
        most = len(self.settings.chips) * (1.0 - target.value)
        return bad > most or (bad == 0 and len(chips) >= _ALL_GOOD)


def open_plans(
    work: Work, settings: DoctorSettings, costs: CostFigures, axes: Sequence[str], chips: range, places: range
) -> PlanStudy:
    """Make a study of plans ready.

    Args:
        work: Network, data and trainer.
        settings: The settings of `doctor`, with the names of the corners of each plan.
        costs: Costs of plans.
        axes: Names of all changes.
        chips: Numbers of the chips of a plan whose chips differ.
        places: Places of the images in the test loader.
    """
    corners = settings.corner or []
    target, axes = settings.measured, list(dict.fromkeys([*([CORNER] if corners else []), *axes, CHIP]))
    of = {"target": str(target), "chips": str(chips), "images": str(places)}
    return PlanStudy.open(
        work,
        StudySettings(
            "doctor", axes, [target], target if target.form == "yield" else None, chips, settings.reads,
            (None, *settings.checkpoints), places, _MANY, {"doctor": of}, corners=corners,
        ),
        Points.of(work, axes),
        costs,
    )  # fmt: skip
