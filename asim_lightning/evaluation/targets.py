"""Targets of a search: what a point must keep, decided by bounds, and how many images would decide."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from math import ceil, inf
from typing import Literal, TypeAlias

from asim_lightning.evaluation.chip_yield import YieldQuestion
from asim_lightning.evaluation.interval import Interval
from asim_lightning.evaluation.results import Kind

Verdict: TypeAlias = Literal["kept", "missed", "undecided"]
REFERENCES: tuple[Kind, ...] = ("float", "quantized")
UNITS: Mapping[str, tuple[str, Mapping[str, float]]] = {
    "energy": ("uJ", {"pJ": 1e-6, "nJ": 1e-3, "uJ": 1.0, "mJ": 1e3}),
    "latency": ("ms", {"us": 1e-3, "ms": 1.0, "s": 1e3}),
}
"""The unit of a figure, and what others are worth in it."""
_TEXT = re.compile(r"\s*(\w+)\s+(\S+)\s*(%|[a-zA-Z]+)?\s*(?:of\s+(\w+)|at\s+.*)?\s*")
_EXAMPLES = (
    "'accuracy 99 % of quantized' (a share of quantized or float), 'accuracy 88 %', 'energy 2 uJ', 'latency 5 ms' or "
    "'yield 0.9 at 85 %' (a share of chips at an accuracy)"
)


@dataclass(frozen=True)
class Decision:
    """Whether a point keeps a target."""

    verdict: Verdict
    images: int | None = None
    """Where it is undecided: about how many images would decide; None where images do not."""
    is_over: bool = False
    """Whether more than these images would be needed, which are all that there are."""

    def __str__(self) -> str:
        over = "over " if self.is_over else ""
        return self.verdict if self.images is None else f"{self.verdict} ({over}{self.images:,} images)"


def images_needed(decisions: Iterable[Decision]) -> str:
    """What would decide all of some points, as "about 1,600 images"; empty where images do not."""
    hardest = max(decisions, key=lambda each: (each.images is None, each.is_over, each.images or 0))
    if hardest.images is None:
        return ""
    images = f"{hardest.images:,} images"
    return f"more than the {images} there are" if hardest.is_over else f"about {images}"


@dataclass(frozen=True)
class Target:
    """What a point must keep.

    Attributes:
        name: accuracy, yield, energy or latency.
        value: A share of 0..1, of the reference where there is one; else in the unit of `UNITS`, at most.
        reference: float or quantized, where the accuracy is a share of another.
        question: The question on the yield.
    """

    name: str
    value: float
    reference: Kind | None = None
    question: YieldQuestion | None = None

    @classmethod
    def read(cls, text: str) -> "Target":
        """The target that a text says, such as "accuracy 99 % of quantized".

        Raises:
            ValueError: It is none, or a number is out of its range.
        """
        names = ("accuracy", "yield", *UNITS)
        found = _TEXT.fullmatch(text) if isinstance(text, str) else None
        if found is None or found[1] not in names:
            first = str(text).split(" ")[0]
            near = get_close_matches(first, names, n=1) if first not in names else []
            hint = f"; nearest: {near[0]}" if near else ""
            raise ValueError(f"`search.constraints` must be as in {_EXAMPLES}, got {text!r}{hint}")
        name, number, unit, reference = found.groups()
        if name != "yield" and re.search(r"\sat\s", text):
            raise ValueError(f"`search.constraints` takes 'at' for a yield alone, as in {_EXAMPLES}, got {text!r}")
        if name == "yield":
            question = YieldQuestion.read(text, "`search.constraints`")
            return cls(name, question.share, question=question)
        try:
            value = float(number)
        except ValueError:
            raise ValueError(f"`search.constraints` must be as in {_EXAMPLES}, got {text!r}") from None
        if name in UNITS:
            shown, units = UNITS[name]
            if unit not in units or reference or not 0 < value < inf:
                raise ValueError(
                    f"`search.constraints` takes a positive {name} with a unit of {', '.join(units)}, as in "
                    f"'{name} 2 {shown}', got {text!r}"
                )
            return cls(name, value * units[unit])
        if unit != "%" or not 0 < value <= 100:
            raise ValueError(
                "`search.constraints` takes an accuracy in percent above 0, as in 'accuracy 88 %' or 'accuracy 99 % of "
                f"quantized', got {text!r}"
            )
        if reference is not None and reference not in REFERENCES:
            raise ValueError(f"`search.constraints` takes an accuracy of {' or '.join(REFERENCES)}, got {text!r}")
        return cls(name, value / 100, reference)

    def __str__(self) -> str:
        if self.question is not None:
            return str(self.question)
        if self.name in UNITS:
            return f"{self.name} {self.value:g} {UNITS[self.name][0]}"
        return f"accuracy {100 * self.value:g} %" + (f" of {self.reference}" if self.reference else "")


def decide(found: Interval, threshold: float, images: int | None = None, most: int | None = None) -> Decision:
    """Whether a mean over images is at least a threshold, by its interval.

    Intervals shrink with the square root of the images: the end that is on the other side of the threshold is on this
    side after ``images ((mean - end) / (mean - threshold))^2`` of them, if the mean stays.

    Args:
        found: The mean and its interval.
        threshold: What it is compared with.
        images: Images that it is of.
        most: Images that there are; None: more of them would not decide.
    """
    if found.low >= threshold:
        return Decision("kept")
    if found.high < threshold:
        return Decision("missed")
    margin = found.mean - threshold
    end = found.low if margin > 0 else found.high
    if images is None or most is None:
        return Decision("undecided")
    needed = images * ((found.mean - end) / margin) ** 2 if margin else inf
    return Decision("undecided", most, True) if needed > most else Decision("undecided", ceil(needed))
