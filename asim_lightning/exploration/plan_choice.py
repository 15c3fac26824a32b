"""Which plan to try next: the cheapest of each family that is likely to keep a target, then one that surely does."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from asim_lightning.evaluation.results import Result
from asim_lightning.exploration.methods import Method, Point

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
