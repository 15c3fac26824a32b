"""Outcomes of trials, results of points, and axis values as text."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import nan
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from asim_lightning.circuit.units import quantity
from asim_lightning.evaluation.interval import Interval, mean_interval, of_units
from asim_lightning.evaluation.measure import Measure

AxisValue: TypeAlias = float | int | str | bool | None
Kind: TypeAlias = Literal["float", "quantized", "estimated", "simulated"]
Verdict: TypeAlias = Literal["kept", "missed", "undecided"]


KINDS: tuple[Kind, ...] = ("float", "quantized", "simulated")
"""The kinds of points in tables."""


@dataclass(frozen=True)
class Outcomes:
    """The outcome of each sample in one trial, which is one read of one chip.

    Attributes:
        sample_index: Index of each sample in its data set, rising. Shape (samples,).
        value: Outcome of each sample, float32: 1 for a right answer, 0 for a wrong one. Shape (samples,).
        seconds: Time the trial took.
        algorithm: Engine or algorithm of the trial.
        prediction: Predicted class of each sample, or the likeliest token at each place, -1 where it does not count;
            None if there is none. Shape (samples,) or (samples, places).
        group: Number of the group of each sample: samples of a group belong together, and intervals resample them
            together. None: each sample stands alone. Shape (samples,).
    """

    sample_index: NDArray[np.int64]
    value: NDArray[np.float32]
    seconds: float
    algorithm: str
    prediction: NDArray[np.int64] | None = None
    group: NDArray[np.int64] | None = None

    @property
    def numbers(self) -> NDArray[Any]:
        """The value of each sample: boolean if all are right or wrong, else float64. Shape (samples,)."""
        is_right = self.value == 1
        return is_right if bool((is_right | (self.value == 0)).all()) else self.value.astype(np.float64)

    @property
    def weights(self) -> NDArray[np.int64] | None:
        """Number of counted tokens of each sample; None if all have the same number, or none. Shape (samples,)."""
        if self.prediction is None or self.prediction.ndim == 1:
            return None
        counted = (self.prediction >= 0).sum(axis=1)
        return None if (counted == counted[0]).all() else counted

    @property
    def units(self) -> NDArray[Any]:
        """`numbers`, one for each group of samples, whose plain mean is the mean over tokens; see `of_units`."""
        return of_units(self.numbers, self.weights, self.group)

    def grouped(self, groups: NDArray[np.int64] | None) -> "Outcomes":
        """The trial with the group of each sample, from the group of each index; None: samples stand alone."""
        return self if groups is None else replace(self, group=groups[self.sample_index])

    def joined(self, other: "Outcomes") -> "Outcomes":
        """The trial with another part of its samples, rising; if both have a sample, this part's outcome counts."""
        index, places = np.unique(np.concatenate([self.sample_index, other.sample_index]), return_index=True)
        value = np.concatenate([self.value, other.value])[places]
        algorithm = "+".join(dict.fromkeys((self.algorithm, other.algorithm)))
        prediction = None
        if self.prediction is not None and other.prediction is not None:
            prediction = np.concatenate([self.prediction, other.prediction])[places]
        return Outcomes(index, value, self.seconds + other.seconds, algorithm, prediction)

    def part(self, index: NDArray[np.int64]) -> "Outcomes":
        """The trial on some of its samples, by their indices, with their share of the seconds."""
        kept = np.isin(self.sample_index, index)
        if kept.sum() != len(index):
            raise ValueError(f"a trial must have all of {len(index)} images, and lacks {len(index) - kept.sum()}")
        if kept.all():
            return self
        prediction = None if self.prediction is None else self.prediction[kept]
        seconds = self.seconds * (len(index) / len(kept))
        group = None if self.group is None else self.group[kept]
        return Outcomes(self.sample_index[kept], self.value[kept], seconds, self.algorithm, prediction, group)


def stacked(reads: Sequence[Outcomes]) -> NDArray[Any]:
    """The outcomes of some reads of the same samples, see `Outcomes.units`; boolean if all are right or wrong.

    A unit is a sample, or a group of samples that belong together. # (units, reads)
    """
    return np.stack([read.units for read in reads], axis=1)


def sums_of(reads: Sequence[Outcomes]) -> NDArray[Any]:
    """The mean outcome of each read, times its number of samples; of answers the number of right ones. # (reads,)"""
    numbers, samples = stacked(reads), len(reads[0].value)
    sums: NDArray[Any] = numbers.sum(axis=0)
    return sums if len(numbers) == samples else sums * samples / len(numbers)


AGREEMENT = "agreement"
"""Name of the figure of `agreement` with the quantised network."""


def agreement(reads: Sequence[Outcomes], reference: Outcomes) -> float | None:
    """Share of counted tokens whose likeliest one is a reference's, the mean over reads.

    None if predictions are no tokens, or no token is counted. The reference may have more samples.
    """
    found = reference.part(reads[0].sample_index).prediction
    if found is None or found.ndim == 1 or not (found >= 0).any():
        return None
    return float(np.mean([np.equal(read.prediction, found)[found >= 0].mean() for read in reads]))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Decision:
    """Whether a point keeps a target. Numbers are means of the outcome, or a share of a cost that is left."""

    verdict: Verdict
    images: int | None = None
    """If it is undecided, about how many images would decide; None if images do not decide."""
    is_over: bool = False
    """Whether `images` is all images there are, and more would be needed."""
    mean: float = field(default=nan, compare=False)
    """The number that decides, see `Target.bounds`; NaN in runs of earlier versions, like the next three."""
    low: float = field(default=nan, compare=False)
    """Lower end of its interval."""
    high: float = field(default=nan, compare=False)
    """Upper end of its interval."""
    threshold: float = field(default=nan, compare=False)
    """The least number that keeps the target; the largest if less is better."""
    less_is_better: bool = field(default=False, compare=False)
    differing: int | None = field(default=None, compare=False)
    """How many samples decide, if fewer than ten differ; see `Interval`."""

    @property
    def margin(self) -> float:
        """How much the number exceeds the target; below 0 if it misses."""
        return self.threshold - self.mean if self.less_is_better else self.mean - self.threshold

    @property
    def reaches(self) -> tuple[float, float]:
        """How far the worse and the better end of the interval are from the number."""
        ends = self.mean - self.low, self.high - self.mean
        return ends[::-1] if self.less_is_better else ends

    def __str__(self) -> str:
        over = "over " if self.is_over else ""
        return self.verdict if self.images is None else f"{self.verdict} ({over}{self.images:,} images)"


@dataclass(frozen=True)
class Result:
    """The result of one point over all its trials.

    Attributes:
        axes: Value of each axis of the point, by name; empty if none matters (kind float).
        kind: How the matrix products were computed.
        trials: Reads in the mean, of all chips together.
        images: Images of the test set, the same in every trial.
        accuracy: The mean outcome over images and trials, under its old name: an accuracy, or another number; a share
            is 0..1, and of a perplexity it is the logarithm. `value` is the same number.
        low: Lower end of the 95 % interval of the mean outcome.
        high: Upper end of the 95 % interval of the mean outcome.
        seconds: Time of all trials together.
        algorithm: Engine or algorithm ("exact", "events", "native", ...), joined by "+" if trials differ.
        right: Right answers of each trial; empty if they are not known.
        sums: The mean outcome of each trial, times the samples; empty if they are right or wrong answers.
        point: Name of the point's computation: equal for points that compute the same.
        figures: Other numbers by name: energy_uj, latency_ms, tops_per_watt and the like; yield 0..1.
        difference: Accuracy minus the quantised network's on the same images, -1..1; None if it is not known.
        decisions: Whether it keeps each target, by the target's text.
        measure: The measure of its mean, such as accuracy.
        differing: How many samples differ from the most frequent number, if fewer than ten do; see `Interval`.
        chips: The result of each chip of the point, in order; empty if there is one chip or if they are not kept.
        chips_ended: Whether outcomes decided how many chips there are.
        more_chips: Results of chips that other calls measured at this point, and that do not count in it.
    """

    axes: Mapping[str, AxisValue]
    kind: Kind
    trials: int
    images: int
    accuracy: float
    low: float
    high: float
    seconds: float
    algorithm: str
    right: tuple[int, ...] = ()
    point: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)
    difference: Interval | None = None
    decisions: Mapping[str, Decision] = field(default_factory=dict)
    measure: Measure = field(default_factory=Measure)
    differing: int | None = None
    sums: tuple[float, ...] = ()
    chips: tuple["Result", ...] = ()
    chips_ended: bool = False
    more_chips: tuple["Result", ...] = ()

    def __post_init__(self) -> None:
        is_share = self.measure.is_share
        if not self.low <= self.accuracy <= self.high or (is_share and not 0 <= self.low <= self.high <= 1):
            raise ValueError(
                f"low, accuracy and high must rise within 0..1, got {self.low}, {self.accuracy} and {self.high}"
            )

    @property
    def value(self) -> float:
        """The mean outcome that `measure` names: an accuracy, a mean IoU, a loss; a share is 0..1."""
        return self.accuracy

    @property
    def plain(self) -> tuple[float, float, float]:
        """The mean outcome and the ends of its interval as files have them, see `Measure.plain`."""
        mean, low, high = map(self.measure.plain, (self.accuracy, self.low, self.high))
        return mean, low, high

    @property
    def merit(self) -> float:
        """The mean outcome, negated if less of it is better."""
        return self.accuracy if self.measure.more_is_better else -self.accuracy

    @property
    def samples(self) -> int:
        """Samples of the data, the same in every trial."""
        return self.images

    @property
    def chip(self) -> int | None:
        """Number of the chip; None if the point names none."""
        return self.axes.get("chip")  # type: ignore[return-value]  # of this axis

    @property
    def rows(self) -> tuple["Result", ...]:
        """The result of each chip that was measured, the one with most reads; without chips, the result itself."""
        rows = {each.chip: each for each in self.chips}
        for each in self.more_chips:
            if each.chip not in rows or each.trials > rows[each.chip].trials:
                rows[each.chip] = each
        return tuple(rows.values()) or (self,)

    def with_chips_of(self, other: "Result") -> "Result":
        """The result with more trials, and the chips of the other one next to it."""
        large, small = (self, other) if self.trials >= other.trials else (other, self)
        most = {each.chip: each.trials for each in large.chips}
        more = dict[int | None, Result]()
        for each in (*large.more_chips, *small.rows):
            if each.trials > most.get(each.chip, 0):
                more[each.chip], most[each.chip] = each, each.trials
        return replace(large, more_chips=tuple(more.values()))

    def without(self, axis: str) -> dict[str, AxisValue]:
        """Values of its other axes."""
        return {name: value for name, value in self.axes.items() if name != axis}

    @property
    def energy_uj(self) -> float | None:
        """Energy of a sample, uJ; None if it is not known."""
        return self.figures.get("energy_uj")

    @property
    def verdict(self) -> Verdict:
        """Whether it keeps all targets."""
        verdicts = {each.verdict for each in self.decisions.values()}
        return "missed" if "missed" in verdicts else "undecided" if "undecided" in verdicts else "kept"

    @classmethod
    def of(
        cls, axes: Mapping[str, AxisValue], kind: Kind, trials: Sequence[Outcomes], measure: Measure = Measure()
    ) -> "Result":
        """The mean outcome of a point over its trials, with its 95 % interval over images, equal in all trials."""
        if any(not np.array_equal(one.sample_index, trials[0].sample_index) for one in trials):
            raise ValueError(f"all trials of {kind} at {axes_text(axes) or 'no axis'} must see the same images")
        numbers = stacked(trials)
        sums = tuple(sums_of(trials).tolist())
        interval = mean_interval(numbers, measure.is_share)
        return cls(
            axes=axes,
            kind=kind,
            trials=len(trials),
            images=len(trials[0].value),
            accuracy=interval.mean,
            low=interval.low,
            high=interval.high,
            seconds=sum(one.seconds for one in trials),
            algorithm="+".join(dict.fromkeys(one.algorithm for one in trials)),
            right=sums if numbers.dtype == bool else (),
            sums=() if numbers.dtype == bool else sums,
            measure=measure,
            differing=interval.differing,
        )

    @classmethod
    def of_json(cls, given: Mapping[str, Any]) -> "Result":
        """Read `dataclasses.asdict`, from JSON."""
        difference = given["difference"]
        return cls(
            **{
                **given,
                "right": tuple(given["right"]),
                "sums": tuple(given["sums"]),
                **{name: tuple(map(cls.of_json, given[name])) for name in ("chips", "more_chips")},
                "difference": None if difference is None else Interval(**difference),
                "decisions": {name: Decision(**each) for name, each in given["decisions"].items()},
                "measure": Measure.of_json(given["measure"]),
            }
        )


def is_number(value: AxisValue) -> bool:
    """Whether a value can be on a numeric axis; booleans cannot, although Python counts with them."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def axis_text(value: AxisValue) -> str:
    """An axis value as YAML would write it: null, true, 8, 0.05, charge; 8 and 8.0 are the same value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, Mapping):
        return json.dumps(value, sort_keys=True)
    return str(value)


def value_words(value: AxisValue) -> str:
    """An axis value for people: like `axis_text`, but whole settings are "offset 0.3 lsb, gain 1 %"."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name.replace('_', ' ')} {axis_text(each)}" for name, each in value.items())
    return axis_text(value)


def noise_unit(values: Iterable[AxisValue]) -> str | None:
    """The unit that values of a noise share: %, lsb or mV; None if they differ. A plain 0 is 0 in any unit."""
    units = dict.fromkeys(read[1] for value in values if (read := quantity(value)) is not None and value != 0)
    return next(iter(units), "%") if len(units) < 2 else None


def axes_text(axes: Mapping[str, AxisValue]) -> str:
    """Axis values in one line, such as "adc_bits 8, votes 3"."""
    return ", ".join(f"{name} {value_words(value)}" for name, value in axes.items())


def distinct_values(values: Iterable[AxisValue]) -> list[AxisValue]:
    """Each value once: numbers first and rising, then others in order of appearance."""
    first: dict[str, AxisValue] = {}
    for value in values:
        # The type is in the key: the string "8" and the number 8 are different settings.
        first.setdefault(f"{is_number(value)}{isinstance(value, str)}{axis_text(value)}", value)
    # None and strings have no order with numbers, so they keep it.
    return sorted(first.values(), key=lambda value: (0, value) if is_number(value) else (1, 0))  # type: ignore[arg-type]


def _plain(value: object) -> object:
    """The value with whole floats as integers and numpy scalars as Python numbers: 8.0 and 8 give one digest."""
    if type(value) in (str, int, bool, type(None)):
        return value
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def canonical_json(value: object) -> str:
    """JSON text of a value, its keys sorted: equal values give the same text."""
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest_of(value: object) -> str:
    """SHA-256 of `canonical_json`, in hexadecimal digits."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()
