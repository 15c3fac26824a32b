"""A target of a point, whether images or chips decide it, and which points are best."""

import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asim_lightning.evaluation.binomial import hypergeometric_interval, sequence_decides
from asim_lightning.evaluation.interval import Interval
from asim_lightning.evaluation.measure import Measure
from asim_lightning.evaluation.results import Decision, Kind, Result

UNITS: Mapping[str, tuple[str, Mapping[str, float]]] = {
    "energy": ("uJ", {"pJ": 1e-6, "nJ": 1e-3, "uJ": 1.0, "mJ": 1e3}),
    "latency": ("ms", {"us": 1e-3, "ms": 1.0, "s": 1e3}),
}
"""The unit of a figure, and factors of other units."""
FIGURES = {"energy": "energy_uj", "latency": "latency_ms"}
"""Columns of figures that users call by another name."""
LARGE = ("accuracy", "yield", "tops_per_watt")
"""Figures for which more is better; for all others, less is better."""
EXAMPLES = {
    "accuracy": "'accuracy 88 %'",
    "share": "'accuracy 99 % of quantized' (or of float)",
    "width": "'accuracy within 2 %' (width of the interval)",
    "yield": "'yield 0.9 at 85 %' (a share of chips at an accuracy)",
    "energy": "'energy 2 uJ'",
    "latency": "'latency 5 ms'",
}
"""Forms of a target, each with an example."""
MEASURED = ("accuracy", "share", "yield")
"""Forms of a target on measured answers."""
OF_A_POINT = (*MEASURED, *UNITS)
"""Forms of a target that a point keeps or misses."""
ENDS_IMAGES = ("accuracy", "width")
"""Forms of a target that ends the images of a point when it is answered."""
EVERY_CORNER = " at every corner"
"""End of a target that the worst corner decides."""
_EVERY_CORNER = re.compile(r"(.*\S)\s+at\s+every\s+corner")
_NUMBER = r"(\d+\.?\d*(?:e[+-]?\d+)?)"
_OF = r"\s+of\s+(?:the\s+)?(quantized|float)"
_ACCURACY = re.compile(rf"(?:accuracy\s+)?(within\s+)?{_NUMBER}\s*(%?)(?:{_OF})?")
_OTHER = re.compile(rf"(\S.*?)\s+(?:within\s+{_NUMBER}\s*%{_OF}|(-?){_NUMBER})")
"""A target on an outcome that is no share, by its name."""
_YIELD = re.compile(rf"yield\s+{_NUMBER}\s*(%?)\s+at\s+{_NUMBER}\s*%")
_FIGURE = re.compile(rf"({'|'.join(UNITS)})\s+{_NUMBER}\s*([a-zA-Z]+)")
_LOOKS = 100
"""Most times that the images of a point are looked at."""
_WIDEST = 0.5
_NUMBERS = {
    "width": f"a width above 0 and at most {_WIDEST:g} (an accuracy to reach has a %, as in 'accuracy 90 %')",
    "yield": "a yield between 0 and 1, at an accuracy above 0 % and at most 100 %",
    "energy": "an energy above 0",
    "latency": "a latency above 0",
}
"""Numbers that forms of a target take; the others take an accuracy."""
CLOSE = 1e-9
"""Tolerance for shares of answers: 90 % of 400 images are 360, even if a float is slightly larger; and for costs, as a
share of the target."""


def target_texts(setting: str, texts: Sequence[str], measure: Measure) -> list[str]:
    """Targets as texts, on an outcome; the name of a share becomes accuracy.

    Raises:
        ValueError: A target is on another outcome.
    """
    name = re.escape(measure.name)
    if measure.is_share:
        texts = [re.sub(rf"^{name}(?=\s)", "accuracy", each) for each in texts]
    for text in texts:
        found = _read(text)
        if found is None and measure.is_share:
            continue  # it is refused when it is read
        if found is not None and (found.form in UNITS or found.name == _called(measure)):
            if found.form == "accuracy" and measure.shown_as == "exponential" and found.value <= 0:
                raise ValueError(f"`{setting}` must be a {measure.name} above 0, got {text!r}")
            continue
        forms = ("88 %", "99 % of quantized") if measure.is_share else ("2.1", "within 1 % of quantized")
        allowed = " or ".join(f"'{measure.name} {form}'" for form in forms)
        asked = f"`{setting}` must be on the outcome {measure.name}, as in {allowed}"
        raise ValueError(f"{asked}, got {text!r}; `outcome` chooses what is measured")
    return list(texts)


def _called(measure: Measure) -> str:
    """The name of an outcome in targets."""
    return "accuracy" if measure.is_share else measure.name


@dataclass(frozen=True)
class Target:
    """A target of a point, or a question about it.

    Attributes:
        form: accuracy (at least; an outcome of which less is better: at most), share (of the accuracy of another
            network), width (of the interval of the accuracy, at most), yield (share of chips, at least), energy or
            latency (at most).
        value: A share of 0..1; a mean outcome as `Measure.plain` gives it, energy in uJ, latency in ms.
        of: float or quantized: the network whose accuracy it is a share of.
        accuracy: For a yield: accuracy from which a chip is good, 0..1.
        name: Name of an outcome that is no share; accuracy stands for every share.
        every_corner: Whether the worst corner of a point decides.
    """

    form: str
    value: float
    of: Kind | None = None
    accuracy: float = 0.0
    name: str = "accuracy"
    every_corner: bool = False

    @classmethod
    def read(cls, text: str, setting: str, forms: Sequence[str] = tuple(EXAMPLES)) -> "Target":
        """The target in a text such as "accuracy 99 % of quantized", in one of some forms."""
        found = _read(text.strip()) if isinstance(text, str) else None
        if found is None or found.form not in forms:
            allowed = [EXAMPLES[form] for form in forms]
            raise ValueError(f"{setting} must be as in {', '.join(allowed[:-1])} or {allowed[-1]}, got {text!r}")
        most = inf if found.form in UNITS else _WIDEST if found.form == "width" else 1
        is_possible = found.form != "yield" or (found.value < 1 and 0 < found.accuracy <= 1)
        if found.is_of_share:
            allowed_numbers = _NUMBERS.get(found.form, "an accuracy above 0 % and at most 100 %")
        else:
            is_possible = found.of is None or 0 <= found.value <= 1
            allowed_numbers, most = "within 0 to 100 %", inf
        if not is_possible or (found.is_of_share and not 0 < found.value <= most):
            raise ValueError(f"{setting} must have {allowed_numbers}, got {text!r}")
        return found

    def __str__(self) -> str:
        return f"{self._at_a_corner}{EVERY_CORNER * self.every_corner}"

    @property
    def _at_a_corner(self) -> str:
        if self.form == "yield":
            return f"yield {self.value:.12g} at {100 * self.accuracy:.12g} %"
        if self.form in UNITS:
            return f"{self.form} {self.value:.12g} {UNITS[self.form][0]}"
        if not self.is_of_share:
            within = f"within {100 * (1 - self.value):.12g} % of {self.of}"
            return f"{self.name} {within if self.of else format(self.value, '.12g')}"
        within, of = "within " if self.form == "width" else "", f" of {self.of}" if self.of else ""
        return f"accuracy {within}{100 * self.value:.12g} %{of}"

    @property
    def is_of_share(self) -> bool:
        """Whether the outcome is a share, each of which is called accuracy."""
        return self.name == "accuracy"

    @property
    def ends_images(self) -> bool:
        """Whether some of a point's images may answer it."""
        return self.form in ENDS_IMAGES

    def answer(self, right: int, seen: int, total: int) -> bool | None:
        """Whether the accuracy on all images keeps it, after `seen` in random order; None if they do not decide.

        You may ask as often as you want: `hypergeometric_interval` holds at all numbers of images together.
        """
        found = hypergeometric_interval(right, seen, total)
        if self.form == "width":
            return True if found.high - found.low <= self.value else None
        return True if found.low >= self.value else False if found.high < self.value else None

    def images(self, correct: NDArray[np.bool_], total: int) -> int | None:
        """The number of images of `total` that answer it; all if it is never answered, None if not yet decided.

        `correct` says whether each answer so far is right, in the order of evaluation. # (seen,)
        """
        step = ceil(total / _LOOKS)
        right = np.cumsum(correct)
        for seen in range(step, len(correct) + 1, step):
            if self.answer(int(right[seen - 1]), seen, total) is not None:
                return seen
        return total if len(correct) >= total else None

    def answer_of_chips(self, good: int, chips: int) -> bool | None:
        """Whether the yield keeps it; None if the chips so far do not decide. You may ask after every chip."""
        return sequence_decides(good, chips, self.value)

    def decide(
        self, result: Result, reference: Result | None, most: int | None = None, paired: Interval | None = None
    ) -> Decision:
        """Whether a point keeps it, by 95 % bounds.

        A share of another accuracy q is decided on the paired difference: its lower bound must be at least
        ``(share - 1) |q|``. Without pairs it is decided on ``accuracy - share q``, with bounds that hold for any
        dependence of the answers. If less of the outcome is better, its upper bound must be at most the mirrored
        number, ``(1 - share) |q|``. The outcome of a perplexity is a logarithm, so its difference must be at most
        ``log(1 + (1 - share))``.

        Args:
            result: A simulated point.
            reference: The result of the reference network, if the target is a share.
            most: Number of all images; None: more images would not decide.
            paired: Paired difference to the reference; None: the result's difference, to the quantised network.
        """
        found, threshold = self.bounds(result, reference, paired)
        is_less = self.form in ("accuracy", "share") and not result.measure.more_is_better
        return decide(found, threshold, result.images, None if self.form == "yield" else most, is_less)

    def bounds(
        self, result: Result, reference: Result | None, paired: Interval | None = None
    ) -> tuple[Interval, float]:
        """A number with its interval, and the last number that keeps the target; see `decide`.

        The number of a cost is the share of the target that is left.
        """
        if self.form in UNITS:
            left = 1.0 - result.figures[FIGURES[self.form]] / self.value
            return Interval(left, left, left), 0.0
        if self.form == "yield":
            share, low, high = (result.figures[name] for name in ("yield", "yield_low", "yield_high"))
            return Interval(share, low, high), self.value
        own = Interval(result.accuracy, result.low, result.high, result.differing)
        if self.of is None:
            return own, result.measure.mean_of(self.value)
        if reference is None:
            raise ValueError(f"the target '{self}' needs a point of kind {self.of}, and there is none")
        paired = result.difference if paired is None and self.of == "quantized" else paired
        if result.measure.shown_as == "exponential" and paired is None:
            paired = Interval(own.mean - reference.accuracy, own.low - reference.high, own.high - reference.low)
        if paired is not None:
            return paired, self._change_from(reference)
        sign = 1.0 if result.measure.more_is_better else -1.0
        share = 1.0 + sign * (self.value - 1.0) * (1.0 if reference.accuracy >= 0 else -1.0)
        ends = (own.mean, reference.accuracy), (own.low, reference.high), (own.high, reference.low)
        mean, low, high = (end - share * other for end, other in ends)
        return Interval(mean, low, high, own.differing), 0.0

    def _change_from(self, reference: Result) -> float:
        """The difference to a reference's mean that just keeps a share of it."""
        measure = reference.measure
        change = (self.value - 1.0) if measure.more_is_better else (1.0 - self.value)
        return measure.mean_of(1.0 + change) if measure.shown_as == "exponential" else change * abs(reference.accuracy)

    def least_of(self, reference: Result) -> float:
        """The mean outcome that just keeps a share of a reference's."""
        if reference.measure.is_share:
            return self.value * reference.accuracy
        return reference.accuracy + self._change_from(reference)


def measured_target(text: str) -> Target:
    """The `target` of a spec or a doctor."""
    return Target.read(text, "`target`", MEASURED)


def _read(text: str) -> Target | None:
    """The target of a text, with unchecked numbers; None if it has no known form."""
    if every := _EVERY_CORNER.fullmatch(text):
        of_one = _read(every[1])
        return None if of_one is None else replace(of_one, every_corner=True)
    if found := _YIELD.fullmatch(text):
        share = float(found[1]) / (100 if found[2] else 1)
        return Target("yield", share, accuracy=float(found[3]) / 100)
    if found := _FIGURE.fullmatch(text):
        unit = UNITS[found[1]][1].get(found[3])
        return None if unit is None else Target(found[1], float(found[2]) * unit)
    found = _ACCURACY.fullmatch(text)
    if found is None:
        return _read_other(text)
    if found[4] and not found[3]:
        return None
    value = float(found[2]) / (100 if found[3] else 1)
    value = 1.0 - value if found[1] and found[4] else value
    form = "share" if found[4] else "width" if found[1] or not found[3] else "accuracy"
    return Target(form, value, found[4])  # type: ignore[arg-type]  # of the pattern


def _read_other(text: str) -> Target | None:
    """The target of a text on an outcome that is no share; None if it has no known form."""
    found = _OTHER.fullmatch(text)
    if found is None or found[1].partition(" ")[0] in ("accuracy", "yield", "within", *UNITS):
        return None
    if found[3]:
        return Target("share", 1.0 - float(found[2]) / 100, found[3], name=found[1])  # type: ignore[arg-type]  # see _OF
    return Target("accuracy", float(found[4] + found[5]), name=found[1])


def meaning_of_early_end(target: Target, total: int) -> str:
    """The meaning of intervals of points whose images a target ended, of `total` images."""
    return (
        f"Images ended by '{target}': intervals bound the accuracy on these {total:,} images, and hold with 95 % "
        "however often one looks."
    )


def decide(
    found: Interval, threshold: float, images: int, most: int | None = None, less_is_better: bool = False
) -> Decision:
    """Whether a mean over images, or another number of `Target.bounds`, is at least a threshold, by its interval.

    Intervals shrink with the square root of the images. If the mean stays, the far end crosses the threshold after
    ``images ((mean - end) / (mean - threshold))^2`` images. There are `most` images in all; None: more of them would
    not decide. If less is better, the number must be at most the threshold.
    """
    mean, low, high = float(found.mean), float(found.low), float(found.high)
    kept = Decision("kept", None, False, mean, low, high, float(threshold), less_is_better, found.differing)
    margin, (below, above), tolerance = kept.margin, kept.reaches, CLOSE * (abs(threshold) or 1.0)
    if margin - below >= -tolerance:
        return kept
    if not margin + above >= -tolerance:  # also a cost that is NaN
        return replace(kept, verdict="missed")
    if most is None:
        return replace(kept, verdict="undecided")
    needed = images * ((below if margin > 0 else above) / margin) ** 2 if margin else inf
    is_over = bool(needed > most)
    return replace(kept, verdict="undecided", images=most if is_over else ceil(needed), is_over=is_over)


def figure(result: Result, name: str) -> float:
    """A figure of a point by its name for users: accuracy, energy, latency, or a column."""
    return result.accuracy if name == "accuracy" else result.figures[FIGURES.get(name, name)]


def has_figure(result: Result, name: str) -> bool:
    """Whether a point has a figure."""
    return name == "accuracy" or FIGURES.get(name, name) in result.figures


def costs(result: Result, objectives: Sequence[str]) -> tuple[float, ...]:
    """A point's objectives with signs so that less is better."""
    large = LARGE if result.measure.more_is_better else LARGE[1:]
    return tuple(-figure(result, name) if name in large else figure(result, name) for name in objectives)


def pareto(results: Sequence[Result], objectives: Sequence[str]) -> list[Result]:
    """The Pareto front of points under the same conditions, which nobody chooses; the first objective gets worse."""
    found, front = list[Result](), list[tuple[float, ...]]()
    for point in sorted(results, key=lambda each: costs(each, objectives)):  # a better point always comes earlier
        mine = costs(point, objectives)
        known = np.array(front[-1:] if len(objectives) <= 2 else front)  # the last has the least second cost
        if not front or not ((known <= mine).all(axis=1) & (known < mine).any(axis=1)).any():
            front.append(mine)
            found.append(point)
    return found


def grouped(results: Iterable[Result], group: Callable[[Result], Hashable]) -> list[list[Result]]:
    """Points in groups, in the order of each group's first point."""
    found: dict[Hashable, list[Result]] = {}
    for result in results:
        found.setdefault(group(result), []).append(result)
    return list(found.values())


TOGETHER = "all together"
"""Name of all spreads and the noise together, each multiplied by a factor."""
_LIMIT = {
    "property": "name", "unit": "unit", "kept": "kept", "missed": "missed", "images_to_decide": "images",
    "more_than_there_are": "is_over",
}  # fmt: skip
"""Names of a limit in spec.json, and its fields."""


@dataclass(frozen=True)
class Limit:
    """Up to which value of a property a macro keeps a target."""

    name: str
    unit: str
    """Unit of the values; empty if they have none."""
    rungs: tuple[float, ...]
    """Values that may be tried, from harmless to harmful."""
    kept: float | None
    """The last value before the first that is not surely kept; None: not even the most harmless one is kept."""
    missed: float | None
    """The first value that surely misses; None: no tried value misses."""
    images: int | None = None
    """Images that would decide the values between; None: no such value, or images do not decide."""
    is_over: bool = False
    """Whether `images` is all images there are, and more would be needed."""

    @property
    def places(self) -> tuple[int, int]:
        """Places of the last kept and the first missed value; -1 and the number of values if there is none."""
        kept = -1 if self.kept is None else self.rungs.index(self.kept)
        return kept, len(self.rungs) if self.missed is None else self.rungs.index(self.missed)

    @property
    def is_decided(self) -> bool:
        """Whether no value lies between the kept and the missed ones."""
        kept, missed = self.places
        return kept + 1 == missed

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {name: getattr(self, field) for name, field in _LIMIT.items()} | {"values": list(self.rungs)}

    @classmethod
    def of_json(cls, given: Mapping[str, Any]) -> "Limit":
        """Read `to_json`."""
        return cls(rungs=tuple(given["values"]), **{field: given[name] for name, field in _LIMIT.items()})
