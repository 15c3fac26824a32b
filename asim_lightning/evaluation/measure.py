"""How the mean of an outcome is called and shown: in percent, as a number, or as an exponential."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import exp, expm1, inf, isfinite, log
from typing import Any, Literal

from asim_lightning.table import ShownAs


@dataclass(frozen=True)
class Measure:
    """Name and format of a mean outcome."""

    name: str = "accuracy"
    shown_as: ShownAs = "percent"
    """How it is shown: a share, 0..1, in percent; a number; or the exponential of a mean logarithm."""
    more_is_better: bool = True
    are_images: bool = True
    """Whether inputs are images (channels, height, width); texts call other inputs samples."""
    note: str = ""
    """What a reader of the mean should know."""

    @classmethod
    def of(cls, outcome: Any) -> "Measure":
        """The measure of an `Outcome`."""
        return cls(outcome.name, outcome.shown_as, outcome.more_is_better, note=outcome.note)

    @classmethod
    def of_module(cls, module: Any) -> "Measure":
        """The measure of a `CimModule`."""
        return replace(cls.of(module.outcome), are_images=module.takes_images)

    @classmethod
    def of_json(cls, given: Mapping[str, Any]) -> "Measure":
        """Read `dataclasses.asdict`, from JSON; earlier versions wrote `is_share`."""
        fields = dict(given)
        if (is_share := fields.pop("is_share", None)) is not None:
            fields["shown_as"] = "percent" if is_share else "number"
        return cls(**fields)

    @property
    def is_share(self) -> bool:
        """Whether it is 0..1."""
        return self.shown_as == "percent"

    @property
    def heading(self) -> str:
        """Its name with its unit, for a column or an axis."""
        return f"{self.name} (%)" if self.is_share else self.name

    def plain(self, value: float) -> float:
        """A value as files have it: a share is 0..1, and a perplexity is no logarithm."""
        return _exp(value) if self.shown_as == "exponential" else value

    def mean_of(self, plain: float) -> float:
        """The mean outcome of a `plain` value."""
        if self.shown_as != "exponential":
            return plain
        return log(plain) if plain > 0 else -inf

    def shown(self, value: float) -> float:
        """A value in the shown unit: in percent if it is a share."""
        return 100 * value if self.is_share else self.plain(value)

    def text(self, value: float) -> str:
        """A value without unit."""
        return f"{100 * value:.2f}" if self.is_share else f"{self.plain(value):.4g}"

    def plain_change(self, difference: float) -> float:
        """A difference of two values as files have it: of perplexities the relative change, 0.01 for 1 %."""
        if self.shown_as != "exponential":
            return difference
        return expm1(difference) if difference < _MOST else inf

    def change_text(self, difference: float, sign: Literal["", "+"] = "") -> str:
        """A difference of two values in `change_unit`, without it."""
        change = self.plain_change(difference)
        return f"{change:{sign}.4g}" if self.shown_as == "number" else f"{100 * change:{sign}.2f}"

    def change_interval(self, low: float, high: float, sign: Literal["", "+"] = "") -> str:
        """The ends of the interval of a difference, like `interval`."""
        ends = f"[{self.change_text(low, sign)}, {self.change_text(high, sign)}]"
        return ends if isfinite(high - low) else "no bounds"

    @property
    def change_unit(self) -> str:
        """The unit of a difference: points of a share, % of an exponential, empty for a number."""
        return {"percent": "points", "number": "", "exponential": "%"}[self.shown_as]

    def quantity(self, value: float) -> str:
        """A value with its unit, as in "88.50 %"."""
        return f"{self.text(value)}{' %' * self.is_share}"

    def interval(self, low: float, high: float) -> str:
        """The ends of an interval, as in "[88.50, 94.00]"; "no bounds" if it has none."""
        return f"[{self.text(low)}, {self.text(high)}]" if isfinite(high - low) else "no bounds"

    def words(self, text: str) -> str:
        """A text with this measure's name instead of accuracy, and with samples instead of images if they are none,
        except in names of files and settings.

        For HTML, whose other texts are escaped, the measure must have an escaped name.
        """
        if not self.are_images:
            text = re.sub(_IMAGE, lambda found: f"{found[1]} " * bool(found[1]) + _SAMPLE[found[2]], text)
        if self.name == "accuracy":
            return text
        word = r"(?<![\w/.-])[Aa]ccuracy(?![\w/-]|\.\w)"
        return re.sub(f"{re.escape(self.name)}|{word}", lambda _: self.name, text)  # the name may have the word


_MOST = 700.0
"""Largest exponent of a float, about."""


def _exp(value: float) -> float:
    return exp(value) if value < _MOST else inf


_IMAGE, _SAMPLE = r"(?<![\w/.`-])(?:([Aa])n )?([Ii])mage(?=s?(?![\w/`-]|\.\w))", {"i": "sample", "I": "Sample"}
"""Finds images in a text, "an" included, and what replaces them."""
