"""Measured times of inference and of layers."""

from dataclasses import dataclass
from statistics import median

PROJECTED = (10_000, 50_000)
"""Numbers of images for projected times: the evaluation sets of CIFAR and ImageNet."""


@dataclass(frozen=True)
class Repeats:
    """Seconds of one or more repeats of some work, in order."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median, seconds."""
        return median(self.seconds)

    @property
    def fastest(self) -> float:
        """The smallest, seconds: other work on the machine disturbed it least."""
        return min(self.seconds)


@dataclass(frozen=True)
class InferenceTime:
    """Time of one way to compute a batch."""

    inference: str
    """float32, quantized or simulated."""
    algorithm: str
    engine: str
    batch: int
    """Images at a time."""
    repeats: Repeats
    """Seconds a batch."""
    conversions: int | None
    """Conversions an image; None if no layer is simulated."""
    ratio: float
    """Median time over the median time of float32."""
    fastest_ratio: float
    """The same ratio of the fastest times."""

    @property
    def images_per_second(self) -> float:
        """Images a second, at the median."""
        return self.batch / self.repeats.median

    @property
    def conversions_per_second(self) -> float | None:
        """Conversions a second, at the median; None if no layer is simulated."""
        return None if self.conversions is None else self.conversions * self.images_per_second

    def projected(self, images: int) -> float:
        """Seconds for a number of images, at the median."""
        return images / self.images_per_second


@dataclass(frozen=True)
class LayerTime:
    """Time of one layer on a macro, for one batch."""

    name: str
    kind: str
    """Class of the layer."""
    input_shape: tuple[int, ...]
    """Shape of one sample."""
    output_shape: tuple[int, ...]
    """Shape of one sample."""
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
    """Share of the network's simulated time, at the medians: 0..1."""

    @property
    def conversions_per_second(self) -> float:
        """Conversions a second, at the median."""
        return self.conversions * self.batch / self.simulated.median
