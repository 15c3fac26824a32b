"""What an evaluation found, image by image and as an accuracy, and how axis values are compared and written."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from asim_lightning.checks import check_choice
from asim_lightning.circuit.units import quantity
from asim_lightning.evaluation.interval import accuracy_interval

AxisValue: TypeAlias = float | int | str | bool | None
Kind: TypeAlias = Literal["float", "quantized", "simulated"]

KINDS: tuple[Kind, ...] = ("float", "quantized", "simulated")
NOISE_AXES = ("random_noise", "nonlinear_noise")


@dataclass(frozen=True)
class Outcomes:
    """What one trial answered, image by image.

    Attributes:
        sample_index: Index of each image in its dataset, rising. Shape (images,).
        label: True class. Shape (images,).
        prediction: Predicted class. Shape (images,).
        seconds: Time the trial took.
        algorithm: What the engine ran.
    """

    sample_index: NDArray[np.int64]
    label: NDArray[np.int64]
    prediction: NDArray[np.int64]
    seconds: float
    algorithm: str

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether each answer is right. Shape (images,)."""
        return self.prediction == self.label


@dataclass(frozen=True)
class PointResult:
    """The accuracy of one point of a sweep, over all its trials.

    Attributes:
        axes: Name of each macro setting this point fixes, and its value; empty where none matters (kind float).
        kind: What computed the matrix products.
        trials: Reads of the chip that were averaged.
        images: Images of the test set, the same in every trial.
        accuracy: Share of right answers over images and trials, 0..1.
        low: Lower end of the 95 % interval of the accuracy, 0..1.
        high: Upper end of the 95 % interval of the accuracy, 0..1.
        seconds: Time of all trials together.
        algorithm: What the engine ran ("exact", "events", "native", ...), joined by "+" where trials differ.
        right: Right answers of each trial; empty where they are not known.

    Raises:
        ValueError: The kind is unknown, there is no trial or image, not 0 <= low <= accuracy <= high <= 1, or `right`
            does not hold a number of images for each trial.
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

    def __post_init__(self) -> None:
        check_kind(self.kind)
        if self.trials < 1 or self.images < 1:
            raise ValueError(f"a point needs at least 1 trial and 1 image, got {self.trials} and {self.images}")
        if not 0.0 <= self.low <= self.accuracy <= self.high <= 1.0:
            raise ValueError(
                f"low, accuracy and high must rise within 0..1, got {self.low}, {self.accuracy} and {self.high}"
            )
        if self.right and (
            len(self.right) != self.trials or not 0 <= min(self.right) <= max(self.right) <= self.images
        ):
            raise ValueError(f"`right` must hold 0..{self.images} for each of {self.trials} trials, got {self.right}")


def point_result(axes: Mapping[str, AxisValue], kind: Kind, trials: Sequence[Outcomes]) -> PointResult:
    """The accuracy of a point, with its 95 % interval over images.

    Args:
        axes: Name of each setting the point fixes, and its value.
        kind: What computed the matrix products.
        trials: What each trial answered.

    Raises:
        ValueError: There is no trial, or trials saw different images.
    """
    if any(not np.array_equal(one.sample_index, trials[0].sample_index) for one in trials):
        raise ValueError(f"all trials of {kind} at {axes_text(axes) or 'no axis'} must see the same images")
    correct = np.stack([one.correct for one in trials], axis=1)  # (images, trials)
    interval = accuracy_interval(correct)
    return PointResult(
        axes=axes,
        kind=kind,
        trials=len(trials),
        images=len(correct),
        accuracy=interval.mean,
        low=interval.low,
        high=interval.high,
        seconds=sum(one.seconds for one in trials),
        algorithm="+".join(dict.fromkeys(one.algorithm for one in trials)),
        right=tuple(correct.sum(axis=0).tolist()),
    )


def check_kind(kind: str) -> None:
    """Refuse a kind that no sweep knows.

    Raises:
        ValueError: The kind is none of `KINDS`.
    """
    check_choice("the kind of a point", kind, KINDS)


def is_number(value: AxisValue) -> bool:
    """Whether a value has a place on a numeric axis; true and false have none, though Python counts with them."""
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
    """An axis value as people read it: as `axis_text`, but of whole settings "offset 0.3 lsb, gain 1 %"."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name.replace('_', ' ')} {axis_text(each)}" for name, each in value.items())
    return axis_text(value)


def axis_value(text: str) -> AxisValue:
    """An axis value from its text, as `axis_text` writes it."""
    words: dict[str, AxisValue] = {"null": None, "true": True, "false": False}
    if text in words:
        return words[text]
    for read in (int, float, json.loads) if text.startswith("{") else (int, float):
        try:
            value: AxisValue = read(text)
            return value
        except ValueError:
            pass
    return text


def noise_unit(values: Iterable[AxisValue]) -> str | None:
    """The unit that values of a noise share: %, lsb or mV; None where they differ. A plain 0 is 0 in any unit."""
    units = dict.fromkeys(read[1] for value in values if (read := quantity(value)) is not None and value != 0)
    return next(iter(units), "%") if len(units) < 2 else None


def axes_text(axes: Mapping[str, AxisValue], labels: Mapping[str, str] | None = None) -> str:
    """Axis values in one line, such as "ADC bits 8, votes 3"; `labels` maps a name to its text."""
    names = labels or {}
    return ", ".join(f"{names.get(name, name)} {value_words(value)}" for name, value in axes.items())


def distinct_values(values: Iterable[AxisValue]) -> list[AxisValue]:
    """Each value once: numbers first and rising, the others after them in the order of their first appearance."""
    first: dict[str, AxisValue] = {}
    for value in values:
        # The type is in the key: the string "8" and the number 8 are different settings.
        first.setdefault(f"{is_number(value)}{isinstance(value, str)}{axis_text(value)}", value)
    # None and strings have no order with numbers, so that they keep theirs.
    return sorted(first.values(), key=lambda value: (0, value) if is_number(value) else (1, 0))  # type: ignore[arg-type]
