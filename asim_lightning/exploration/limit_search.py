"""The limit of a property of a macro, from looks at some of its values."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from asim_lightning.evaluation.results import Decision
from asim_lightning.evaluation.target import Limit
from asim_lightning.exploration.methods import Look, Method, Point


@dataclass(frozen=True)
class Property:
    """A property of a macro, with the values to try."""

    name: str
    unit: str
    """Unit of the values; empty if they have none."""
    rungs: tuple[float, ...]
    """Values, from harmless to harmful."""
    axes: Callable[[float], Point]
    """Gives the axes of a macro with a value of the property."""
    at_corners: Callable[[float], Mapping[str, Point]] = lambda value: {}
    """Gives other axes at single corners."""

    @property
    def worst(self) -> Point:
        """The axes of a macro with the most harmful value."""
        return self.axes(self.rungs[-1])

    def allowed(self, takes: Callable[[Point], object]) -> "Property":
        """The property with the values that `takes` does not refuse."""
        rungs = []
        for value in self.rungs:
            with suppress(ValueError):
                for each in (self.axes(value), *self.at_corners(value).values()):
                    takes(each)
                rungs.append(value)
        return replace(self, rungs=tuple(rungs))


ESTIMATES = (Look({}, "estimated"),)
"""Looks that estimate."""
ALL = (Look({}),)
"""Looks at all chips and images."""
EARLY = (Look({}, chips=3, images=0.25), Look({}, images=0.25), *ALL)
"""Looks that end when they decide. Only looks at all chips decide that a rung is kept: a bad chip may be rare."""
_SURE = 3.0
"""An early look decides if the distance of the mean from the target is at least this many times the distance of the
mean from the end of its interval."""
_DOUBTFUL = 0.25
"""The last early look leaves a rung undecided if the distance is at most this many times as long."""


@dataclass(frozen=True)
class _Found:
    """What is known of a rung."""

    decision: Decision
    is_final: bool = True
    """Whether no further look would be taken."""


def limit_of(given: Property, base: Point, looks: Sequence[Look] = ALL, expected: Limit | None = None) -> Method[Limit]:
    """Find the limit of a property.

    It looks for two neighbouring pairs of rungs: one that keeps the target and the next that may miss; and one that may
    keep it and the next that misses. It assumes that more of a property is never better. Every point has the axes of
    `base` that the property does not set. Rungs are bisected, or tried from the expected limit outwards, in steps that
    double.

    A rung has one look after the other until one decides. The last look decides by its 95 % interval, an earlier one
    by an interval three times as wide. So early looks hardly add wrong decisions: of 3,000 simulated macros just at
    the target, which lose 2 to 8 % of the answers, they decide 0.3 % at most, and the last look decides up to 6 %. The
    last early look may also show that all images would leave a rung undecided; if such a rung is at an end of the
    undecided ones, it has the last look after all.
    """
    rungs, found = given.rungs, dict[int, _Found]()
    guesses = None if expected is None else expected.places
    while True:
        missed = min((rung for rung, each in found.items() if each.decision.verdict == "missed"), default=len(rungs))
        kept = max((r for r, each in found.items() if each.decision.verdict == "kept" and r < missed), default=-1)
        doubtful = [rung for rung in found if kept < rung < missed]
        pairs = (kept, min(doubtful, default=missed)), (max(doubtful, default=kept), missed)
        untried = [number for number, (low, high) in enumerate(pairs) if high - low > 1]
        hasty = [rung for rung in (min(doubtful), max(doubtful)) if not found[rung].is_final] if doubtful else []
        if rungs[0] == 0 and not found:
            rung, taken = 0, looks  # if a macro misses without a spread, it misses with it
        elif untried:
            low, high = pairs[untried[0]]
            rung, taken = _between(low, high, len(rungs), guesses and guesses[untried[0]]), looks
        elif hasty:
            rung, taken = hasty[0], looks[-1:]
        else:
            break
        point, others = {**base, **given.axes(rungs[rung])}, given.at_corners(rungs[rung])
        found[rung] = yield from _looked([replace(look, point=point, at_corners=others) for look in taken])
    hardest = max(
        (found[rung].decision for rung in doubtful),
        key=lambda each: (each.is_over, each.images or 0),
        default=Decision("kept"),
    )
    ends = rungs[kept] if kept >= 0 else None, rungs[missed] if missed < len(rungs) else None
    return Limit(given.name, given.unit, rungs, *ends, hardest.images, hardest.is_over)


def _looked(looks: Sequence[Look]) -> Method[_Found]:
    """Take one look after the other until one decides."""
    for left, look in zip(range(len(looks) - 1, 0, -1), looks, strict=False):
        result = yield look
        (decision,) = result.decisions.values()
        reach, distance = decision.reaches[decision.margin < 0], abs(decision.margin)
        if distance >= _SURE * reach and (decision.margin < 0 or look.chips is None):
            return _Found(decision)
        if left == 1 and distance <= _DOUBTFUL * reach:
            return _Found(replace(decision, verdict="undecided"), is_final=False)
    result = yield looks[-1]
    (decision,) = result.decisions.values()
    return _Found(decision)


def _between(low: int, high: int, count: int, guess: int | None) -> int:
    """The rung to try between two: the middle, or the next one from a guess; -1 and `count` are not tried yet."""
    middle = (low + high) // 2
    if guess is None:
        return middle
    if low < guess < high:
        return guess
    if guess <= low:
        return min(2 * low - guess + 1, middle if high < count else high - 1)
    return max(2 * high - guess - 1, middle if low >= 0 else 0)


def moved(limit: Limit, expected: Limit) -> int:
    """By how many rungs a limit is more harmful than expected, below 0 if it is more harmless; 0 if the undecided rungs
    of both overlap."""
    (kept, missed), (low, high) = limit.places, expected.places
    return max(0, kept - high + 1) - max(0, low - missed + 1)
