"""Times of inference and of layers, as they were measured."""

from dataclasses import dataclass
from statistics import median

PROJECTED = (10_000, 50_000)
"""Images that a time is projected to: CIFAR's and ImageNet's evaluation sets."""


@dataclass(frozen=True)
class Repeats:
    """Seconds of the repeats of one piece of work, in order: one or more."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median, seconds."""
        return median(self.seconds)

    @property
    def fastest(self) -> float:
        """The smallest, seconds: what other work on the machine disturbed least."""
        return min(self.seconds)


@dataclass(frozen=True)
class InferenceTime:
    """How long one way to compute a batch took."""

    inference: str
    """float32, quantized or simulated."""
    algorithm: str
    engine: str
    batch: int
    """Images at a time."""
    repeats: Repeats
    """Seconds a batch."""
    conversions: int | None
    """Conversions an image; None if none is simulated."""
    ratio: float
    """Median time over the median time of float32."""
    fastest_ratio: float
    """The same of the fastest times."""

    @property
    def images_per_second(self) -> float:
        """Images a second, at the median."""
        return self.batch / self.repeats.median

    @property
    def conversions_per_second(self) -> float | None:
        """Conversions a second, at the median; None where none is simulated."""
        return None if self.conversions is None else self.conversions * self.images_per_second

    def projected(self, images: int) -> float:
        """Seconds for so many images, at the median."""
        return images / self.images_per_second


@dataclass(frozen=True)
class LayerTime:
    """How long one layer on a macro took, of one batch."""

    name: str
    kind: str
    """Class of the layer."""
    input_shape: tuple[int, ...]
    """Of one sample."""
    output_shape: tuple[int, ...]
    """Of one sample."""
    algorithm: str
    engine: str
    batch: int
    """Images at a time."""
    conversions: int
    """Conversions an image."""
    quantized: Repeats
    """Seconds a batch."""
    simulated: Repeats
    """Seconds a batch."""
    share: float
    """Of the network's simulated time, at the medians: 0..1."""

    @property
    def conversions_per_second(self) -> float:
        """Conversions a second, at the median."""
        return self.conversions * self.batch / self.simulated.median
