"""Which plan to try next: the cheapest of each family that is likely to keep a target, then one that surely does."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from asim_lightning.evaluation.results import Result
from asim_lightning.exploration.methods import Point


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


class Screening:
    """Finds, for each family, the cheapest plan that is likely to keep a target.

    `margin_of` says how much a result is likely to exceed the target, below 0 if it misses.
    """

    def __init__(self, families: Sequence[Family], margin_of: Callable[[Result], float]) -> None:
        self.families, self._margin_of = families, margin_of
        self._failed: dict[str, list[tuple[float, ...]]] = {each.group: [] for each in families}
        self._asked = families[0], 0

    def ask(self) -> Point | None:
        """The next plan; None if there is none."""
        for family in self.families:
            if (place := family.next(self._failed[family.group])) is not None:
                self._asked = family, place
                return family.candidates[place].point
        return None

    def tell(self, result: Result) -> None:
        """Learn the result of the last plan."""
        family, place = self._asked
        family.margins[place] = self._margin_of(result)
        if family.margins[place] < 0:
            self._failed[family.group].append(family.candidates[place].strength)


class Proving:
    """Tries the cheapest likely plan of each screened family, and dearer ones until one is surely kept.

    It ends after `most` kept plans.
    """

    _ATTEMPTS = 4
    """Most plans of a family."""
    _DEARER = 1.03
    """Least cost of the second plan as a multiple of the first; of the third, the square, and so on."""

    def __init__(self, families: Sequence[Family], most: int) -> None:
        self._families, self._most = families, most
        self._points = self._all()
        self._family, self._kept = "", 0
        self.tried: list[tuple[str, Result]] = []
        """Name of the family, empty for the macro as it is, and the result, for each plan."""

    def ask(self) -> Point | None:
        """The next plan; None if there is none."""
        return next(self._points, None)

    def tell(self, result: Result) -> None:
        """Learn the result of the last plan."""
        self._kept += bool(self._family) and result.verdict == "kept"
        self.tried.append((self._family, result))

    def _all(self) -> Iterator[Point]:
        yield {}  # the macro as it is
        likely = [(each, each.cheapest) for each in self._families if each.cheapest is not None]
        for family, place in sorted(likely, key=lambda each: each[0].candidates[each[1]].energy):
            self._family, before, later = family.name, self._kept, place
            for attempt in range(self._ATTEMPTS):
                yield family.candidates[later].point
                found = family.after(later, self._DEARER ** (2**attempt))
                if self._kept > before or found is None:
                    break
                later = found
            if self._kept == self._most:
                return
        if not self._kept:  # the nearest plans
            for family in self._families:
                self._family = family.name
                if family.cheapest is None and family.margins:
                    nearest = max(family.margins, key=lambda place: (family.margins[place], -place))
                    yield family.candidates[nearest].point
