"""ADC ranges fitted to training samples, the rules that have them, and their benefit."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from asim_lightning.checks import check_whole
from asim_lightning.classifier.batches import calibration_images_of
from asim_lightning.classifier.network import CimModule
from asim_lightning.evaluation.condition import Condition, layer_rules
from asim_lightning.evaluation.evaluate import evaluate_each
from asim_lightning.evaluation.interval import difference_interval, mean_interval
from asim_lightning.evaluation.layer_inputs import layer_counts, needed_layers
from asim_lightning.evaluation.measure import Measure
from asim_lightning.evaluation.notes import measure_notes
from asim_lightning.evaluation.results import Outcomes, axes_text, stacked
from asim_lightning.exploration.runner import Work
from asim_lightning.exploration.study import Say
from asim_lightning.nn import OnMacro
from asim_lightning.nn.count_histograms import AdcRange, fitted_range
from asim_lightning.nn.inputs import Inputs
from asim_lightning.surgery.families import pattern_of


@dataclass(frozen=True)
class AdcSettings:
    """Data of the ranges, and comparisons of their accuracy."""

    images: int = 64
    """Training images to fit the ranges to: 1 or more; all if there are fewer."""
    trials: int = 2
    """Reads of the chip for each accuracy under noise: 1..65535."""
    against: dict[str, Any] | None = None
    """Fields of another macro to compare the accuracy with, such as {adc_bits: 8}; null: none."""

    def __post_init__(self) -> None:
        check_whole("`images`", self.images, 1)
        check_whole("`trials`", self.trials, 1, 65535)


@dataclass(frozen=True)
class AdcCalibration:
    """The fitted range of each layer.

    Attributes:
        ranges: The ranges.
        images: The number of images in words, such as "64 training images".
        plan: The macro and rules of a plan with these ranges.
    """

    ranges: Sequence[AdcRange]
    images: str
    plan: Mapping[str, Any]

    @property
    def noise(self) -> list[str]:
        """Names of noise and spreads that keep their voltage, and so have other numbers."""
        return list(dict.fromkeys(name for each in self.ranges for name in each.noise))


def fit_adc(model: CimModule, batches: Iterable[Inputs], images: int) -> AdcCalibration:
    """Fit the ADC range (adc_step, adc_low) of every layer to the counts of training inputs.

    A layer has one range for all cycles, with the least sum over cycles of 4^shift times the mean square error. An
    expert that a router sends no row keeps its range, and so does a layer whose cycles are all digital.

    Raises:
        ValueError: No layer is on a macro, a macro can have no range, or no input reaches a layer.
    """
    every = needed_layers(model, "A calibration of ADC ranges")
    layers = {name: each for name, each in every.items() if any(c.converted for c in each.transfer.cycles)} or every
    for name, layer in layers.items():
        if layer.macro.adc_bits is None:
            raise ValueError(f"`macro.adc_bits` must be 1..16 to fit ADC ranges, got null for layer `{name}`")
        layer.macro.with_fields(adc_step=1, adc_low=0)  # refuses a macro that can have no range
    counts, seen = layer_counts(model, layers, batches, images, "training")
    if missing := [name for name, layer in layers.items() if name not in counts and not layer.by_row]:
        raise ValueError(f"no training input reaches the layer {missing[0]}, so its counts are not known")
    ranges = [fitted_range(name, layer, counts[name]) for name, layer in layers.items() if name in counts]
    shared = _shared_noise(ranges, layers)
    own = {each.name: {name: x for name, x in each.fields.items() if name not in shared} for each in ranges}
    macro = {"macro": shared} if shared else {}
    return AdcCalibration(ranges, seen, {**macro, "rules": layer_rules(model, own)})


def calibrate_adc(work: Work, settings: AdcSettings) -> AdcCalibration:
    """The ADC ranges of a network for the training samples of its data; the processes must be one."""
    needed_layers(work.model, "asim calibrate-adc")
    if work.trainer.world_size > 1:
        raise ValueError(
            f"asim calibrate-adc needs one process, got {work.trainer.world_size}; set `trainer.devices` 1"
        )
    return fit_adc(work.model, calibration_images_of(work.data, settings.images), settings.images)


def compare_adc(work: Work, settings: AdcSettings, fitted: AdcCalibration, say: Say) -> None:
    """Say the accuracies before, after, and with another macro, at the same noise in volts; and their differences."""
    conditions = {
        "before": Condition(),
        "after": Condition(rules={pattern_of(each.name): each.fields for each in fitted.ranges}),
    }
    if settings.against:
        conditions[f"with {axes_text(settings.against)}"] = Condition(macro=settings.against, noise_in="volts")
    measure, samples = Measure.of_module(work.model), list[int]()

    def line(name: str, of_reads: Sequence[Outcomes]) -> str:
        correct = stacked(of_reads)
        mean, images, reads = mean_interval(correct, measure.is_share), len(of_reads[0].value), len(of_reads)
        samples.append(images)
        shown = f"{measure.quantity(mean.mean)} {measure.interval(mean.low, mean.high)}"
        return f"{measure.name} {shown} {name} ({images} test images, {reads} reads)"

    answers = evaluate_each(work.trainer, work.model, work.data, list(conditions.items()), settings.trials, line, say)
    for name, correct in zip(conditions, answers, strict=True):
        if name != "after":
            change = difference_interval(answers[1], correct, measure.is_share)
            mean = f"{measure.change_text(change.mean, '+')} {measure.change_unit}".rstrip()
            say(f"after - {name}: {mean} {measure.change_interval(change.low, change.high)}, in pairs")
    for note in measure_notes(measure, samples[0]):
        say(f"note     {note}")


def _shared_noise(ranges: Sequence[AdcRange], layers: Mapping[str, OnMacro]) -> dict[str, float | str]:
    """Noise that all layers have alike, percent: the macro has it, so that flags and axes still decide it."""
    ruled = frozenset().union(*(layer.assignment.ruled for layer in layers.values()))
    return {
        name: value
        for name, value in ranges[0].noise.items()
        if name not in ruled and "." not in name and all(each.noise.get(name) == value for each in ranges)
    }
