"""When enough images were seen: a sequence that bounds the accuracy on all of them however often one looks."""

import re
from dataclasses import dataclass
from math import ceil, log

import numpy as np
from numpy.typing import NDArray

from asim_lightning.evaluation.interval import Interval

_TARGET = re.compile(r"\s*accuracy\s+([\d.]+)\s*%\s*")
_WIDTH = re.compile(r"\s*accuracy\s+(?:within\s+)?([\d.]+)\s*(%?)\s*")
_LOOKS = 100
"""Most times that a point is looked at."""
_WIDEST = 0.5


@dataclass(frozen=True)
class AccuracyQuestion:
    """Whether the accuracy on all images is at least a share, or what it is within an interval of some width."""

    share: float | None = None
    """0..1; None where the width is asked for."""
    width: float | None = None
    """Of the interval, 0..1."""

    @classmethod
    def read(cls, text: str, setting: str = "`until`") -> "AccuracyQuestion":
        """The question that a text asks: "accuracy 90 %", or "accuracy within 2 %", also as "accuracy 0.02".

        Args:
            text: The text.
            setting: What the user calls the setting.

        Raises:
            ValueError: It is none, or a number is out of its range.
        """
        target, width = _TARGET.fullmatch(text), _WIDTH.fullmatch(text)
        is_width = width is not None and (target is None or "within" in text)
        try:
            value = float((width if is_width else target)[1]) if width or target else 0.0  # type: ignore[index]
        except ValueError:  # such as 9.0.5
            width = target = None
        if width is None and target is None:
            allowed = "'accuracy 90 %' (at least so much) or 'accuracy within 2 %' (width of the interval)"
            raise ValueError(f"{setting} must be as in {allowed}, got {text!r}")
        if is_width:
            value = value / 100 if width is not None and width[2] else value
            if not 0 < value <= _WIDEST:
                raise ValueError(
                    f"the width in {setting} must be above 0 and at most {_WIDEST:g}, as in 'accuracy within 2 %' (an "
                    f"accuracy to reach has a %, as in 'accuracy 90 %'), got {text!r}"
                )
            return cls(width=value)
        if not 0 < value < 100:
            raise ValueError(f"the accuracy in {setting} must be between 0 % and 100 %, got {text!r}")
        return cls(share=value / 100)

    def __str__(self) -> str:
        if self.share is None:
            return f"accuracy within {100 * (self.width or 0.0):g} %"
        return f"accuracy {100 * self.share:g} %"

    def answer(self, right: int, seen: int, total: int) -> bool | None:
        """Whether it is so, after right answers to so many of all images; None where they do not decide."""
        found = hypergeometric_interval(right, seen, total)
        if self.share is None:
            return True if found.high - found.low <= (self.width or 0.0) else None
        if found.low >= self.share:
            return True
        return False if found.high < self.share else None

    def meaning(self, total: int) -> str:
        """What intervals say of points whose images it ended.

        Args:
            total: All images.
        """
        return (
            f"Images ended by the question '{self}': intervals bound the accuracy on these {total:,} images, and hold "
            "with 95 % however often one looks."
        )

    def images(self, correct: NDArray[np.bool_], total: int) -> int | None:
        """After how many images it is answered; all where it is never, None where those so far do not decide.

        Args:
            correct: Whether each answer is right, in the order of evaluation. # (seen,)
            total: All images.
        """
        step = ceil(total / _LOOKS)
        right = np.cumsum(correct)
        for seen in range(step, len(correct) + 1, step):
            if self.answer(int(right[seen - 1]), seen, total) is not None:
                return seen
        return total if len(correct) >= total else None


def hypergeometric_interval(right: int, seen: int, total: int, alpha: float = 0.05) -> Interval:
    """Bounds of the accuracy on all of so many images, from some of them in random order.

    The sequence of Waudby-Smith and Ramdas (arXiv 2006.04347): every total R of right answers is kept for which
    ``betabinomial(R; n, 1, 1) / betabinomial(R - a; n - t, 1 + a, 1 + t - a) < 1 / alpha``, with a right of t seen and
    n in all. It holds at all t at once with probability 1 - alpha at least, so that outcomes may decide when to stop.

    Args:
        right: Right answers: 0..seen.
        seen: Images seen: 0..total.
        total: All images: 1 or more.
        alpha: Probability that the accuracy is ever outside.

    Returns:
        The accuracy on the images seen, and the bounds of that on all images.
    """
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, total + 2)))])  # of factorials
    rest = total - seen
    more = np.arange(rest + 1)  # right answers among the others
    choices = logs[rest] - logs[more] - logs[rest - more]
    beta = logs[more + right] + logs[total - more - right] - logs[total + 1]
    prior = logs[right] + logs[seen - right] - logs[seen + 1]
    kept = more[-log(total + 1) - (choices + beta - prior) < -log(alpha)]
    mean = right / seen if seen else 0.0
    low, high = (float(right + end) / total for end in (kept.min(), kept.max()))
    return Interval(mean, min(low, mean) if seen else low, max(high, mean))
