"""An accuracy that a point is to keep, and whether its images show that it does."""

import re
from dataclasses import dataclass
from typing import Literal

from asim_lightning.evaluation.interval import Interval
from asim_lightning.evaluation.results import PointResult
from asim_lightning.evaluation.run_results import RunPoint, RunResults
from asim_lightning.evaluation.targets import Decision, decide

_TARGET = re.compile(r"\s*(?:accuracy\s+)?([\d.]+)\s*%(?:\s+of\s+(?:the\s+)?(quantized|float))?\s*")
_CLOSE = 1e-9


@dataclass(frozen=True)
class AccuracyTarget:
    """At least a share of another network's accuracy, or at least an accuracy."""

    share: float
    """0..1."""
    of: Literal["quantized", "float"] | None = None
    """Whose accuracy it is a share of; None: it is an accuracy."""

    @classmethod
    def read(cls, text: str) -> "AccuracyTarget":
        """The target that a text says, such as "99 % of quantized" or "88 %".

        Raises:
            ValueError: It says none.
        """
        found = _TARGET.fullmatch(text)
        try:
            share = float(found[1]) / 100 if found else 0.0
        except ValueError:  # such as 9.0.5
            share = 0.0
        if not found or not 0 < share <= 1:
            allowed = "as in '99 % of quantized', '99 % of float' or '88 %', above 0 and at most 100"
            raise ValueError(f"`--target` must be {allowed}, got {text!r}")
        return cls(share, found[2])  # type: ignore[arg-type]  # of the pattern

    def __str__(self) -> str:
        what = {"quantized": " of the quantised accuracy", "float": " of the float accuracy", None: " accuracy"}
        return f"{100 * self.share:g} %{what[self.of]}"

    @property
    def constraint(self) -> str:
        """As a search has it."""
        return f"accuracy {100 * self.share:g} %" + (f" of {self.of}" if self.of else "")

    def reference(self, run: RunResults) -> PointResult | None:
        """The result that it is a share of.

        Raises:
            ValueError: The run lacks it, or ended the images of its points, as the difference is of all.
        """
        if self.of is None:
            return None
        if run.until is not None:
            raise ValueError(
                f"`--target` must be as '88 %' for {run.folder}, whose images ended by '{run.until}', as the "
                f"difference to another network is decided on all images, got {self}"
            )
        found = [point.result for point in run.of_kind(self.of)]
        if not found:
            raise ValueError(f"`--target` {self} needs a point of kind {self.of}, which {run.folder} lacks")
        return found[0]

    @classmethod
    def of_run(cls, run: RunResults) -> "AccuracyTarget":
        """The first accuracy that a search asks for, or that ended images; else 99 % of the quantised one.

        Where images ended, that is of the quantised network's accuracy on all of them, as a number.
        """
        asked = [text for point in run.points for text in point.decisions if text.startswith("accuracy ")]
        asked += [] if run.until is None or " within " in run.until else [run.until]
        quantized = run.of_kind("quantized")
        if asked or run.until is None or not quantized:
            return cls.read(asked[0]) if asked else cls(0.99, "quantized")
        return cls(round(0.99 * quantized[0].result.accuracy, 4) or 1e-4)

    def margin(self, point: RunPoint, reference: PointResult | None) -> tuple[float, float, float]:
        """By how much a point is better than asked, and the ends of its interval.

        With ``d`` the paired difference to the quantised network and ``q`` its accuracy it is ``d + (1 - share) q``;
        without pairs ``accuracy - share q``, whose interval holds for answers that depend on each other in any way.

        Args:
            point: A simulated point.
            reference: What `reference` gave.
        """
        found = point.result
        if reference is None:
            return found.accuracy - self.share, found.low - self.share, found.high - self.share
        if point.difference is not None and self.of == "quantized":
            paired, rest = point.difference, 1.0 - self.share
            low, high = paired.low + rest * reference.low, paired.high + rest * reference.high
            return paired.mean + rest * reference.accuracy, low, high
        of = self.share
        return (
            found.accuracy - of * reference.accuracy,
            found.low - of * reference.high,
            found.high - of * reference.low,
        )

    def decision(self, point: RunPoint, reference: PointResult | None, most: int | None = None) -> Decision:
        """Whether a point keeps it, by a 95 % interval, and where its images do not decide, how many would.

        Args:
            point: A simulated point; what a search has decided of it counts.
            reference: What `reference` gave.
            most: As `RunResults.images`.
        """
        known = point.decisions.get(self.constraint)
        found = Interval(*self.margin(point, reference))
        return decide(found, -_CLOSE, point.result.images, most) if known is None else known
