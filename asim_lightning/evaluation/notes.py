"""Notes on results: few samples, accuracies near a target, and the images that would decide."""

from collections.abc import Iterable, Sequence
from math import isfinite

from asim_lightning.evaluation.measure import Measure
from asim_lightning.evaluation.results import Decision, Result
from asim_lightning.evaluation.target import CLOSE, Target


def images_needed(decisions: Iterable[Decision]) -> str:
    """How many images would decide all undecided points, such as "about 1,600 images would decide" or "2,000 images are
    too few"; may be empty."""
    some = list(decisions)
    hardest = max(some, key=lambda each: (each.images is None, each.is_over, each.images or 0))
    if hardest.images is None:
        return ""
    images = f"{hardest.images:,} images"
    if hardest.is_over:
        return f"{images} are too few{' to decide all of them' if len(some) > 1 else ''}"
    return f"about {images} would decide{' all of them' if len(some) > 1 else ''}"


def differing_words(count: int | None) -> str:
    """How few samples decide, as in "only 3 samples decide"; empty for None, which is ten or more."""
    if count is None:
        return ""
    return f"only {count} sample{'s decide' if count > 1 else ' decides'}" if count else "no sample differs"


_SAMPLES = 200
"""Below this number of samples, skewed numbers without bounds have too narrow intervals."""


def measure_notes(measure: Measure, samples: int) -> list[str]:
    """The note of a measure, and a line if the interval of so few samples may be too narrow (see `mean_interval`)."""
    notes = [f"{measure.name}: {measure.note}"] if measure.note else []
    if measure.is_share or samples >= _SAMPLES:
        return notes
    interval = f"the 95 % interval of {measure.name}, which has no bounds, may be too narrow"
    return [*notes, f"{samples:,} sample{'s' * (samples > 1)}: {interval} below {_SAMPLES} samples"]


def interval_notes(results: Sequence[Result]) -> list[str]:
    """Lines on intervals of too few samples, and on verdicts that few samples decide."""
    if not results:
        return []
    bounded = [each for each in results if isfinite(each.high - each.low)]
    notes = measure_notes(bounded[0].measure, min(each.samples for each in bounded)) if bounded else []
    few = sum(any(one.differing is not None for one in each.decisions.values()) for each in results)
    if few:
        at = f"at {few:,} point{'s' * (few > 1)}, fewer than ten samples differ"
        notes.append(f"{at}, so the interval there is widened")
    return notes


_NEAR = 0.02
"""Distance of an accuracy from the quantised network's, below which the choice of images matters much."""


def near_notes(targets: Iterable[Target], quantized: Sequence[Result]) -> list[str]:
    """A line on accuracies to reach that are near the quantised network's on these images; empty if none is."""
    levels = {
        each.accuracy if each.form == "yield" else each.value
        for each in targets
        if each.form == "yield" or (each.form == "accuracy" and each.is_of_share)
    }
    near = sorted(level for level in levels if quantized and abs(level - quantized[0].accuracy) <= _NEAR + CLOSE)
    if not near:
        return []
    own, said = quantized[0], " and ".join(f"{100 * level:g} %" for level in near)
    distance = f"within {100 * _NEAR:g} points of the quantized network's {100 * own.accuracy:.2f} %"
    where = f"on these {own.images:,} images: other images may give another verdict"
    return [f"{said} {'is' if len(near) == 1 else 'are'} {distance} {where}"]
