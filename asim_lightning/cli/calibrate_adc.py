"""`asim calibrate-adc`: ADC ranges fitted to training images, as a table, as rules in a file, and by accuracy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asim_lightning.checks import check_whole
from asim_lightning.cli.command_line import dump_yaml, write_text
from asim_lightning.cli.parser import AsimCLI
from asim_lightning.cli.start import prepare
from asim_lightning.evaluation.condition import Condition, layer_rules, pattern_of
from asim_lightning.evaluation.evaluate import Answers, evaluate_each
from asim_lightning.evaluation.interval import difference_interval, mean_interval
from asim_lightning.evaluation.layer_inputs import needed_layers, training_counts
from asim_lightning.evaluation.results import Measure, axes_text, narrow_notes
from asim_lightning.nn import OnMacro
from asim_lightning.nn.count_histograms import AdcRange, fitted_range
from asim_lightning.report.command_tables import range_table


@dataclass(frozen=True)
class CalibrateAdcOptions:
    """Data of the ranges, and comparisons of their accuracy."""

    images: int = 64
    """Training images to fit the ranges to: 1 or more; all if there are fewer."""
    trials: int = 2
    """Reads of the chip for each accuracy under noise: 1..65535."""
    against: dict[str, Any] | None = None
    """Fields of another macro to compare the accuracy with, such as {adc_bits: 8}; null: none."""
    output: str | None = None
    """YAML file of the rules; null: adc_ranges.yaml in the folder of this configuration's runs."""


def calibrate_adc(cli: AsimCLI, options: CalibrateAdcOptions) -> None:
    """Fit the ADC range (adc_step, adc_low) of every layer to the counts of training images, and show its benefit.

    A layer has one range for all cycles, with the least sum over cycles of 4^shift times the mean square error. All
    accuracies are at the same noise in volts.
    """
    check_whole("`images`", options.images, 1)
    check_whole("`trials`", options.trials, 1, 65535)
    model, layers = cli.model, needed_layers(cli.model, "asim calibrate-adc")
    if cli.trainer.world_size > 1:
        raise ValueError(f"asim calibrate-adc needs one process, got {cli.trainer.world_size}; set `trainer.devices` 1")
    file = Path(options.output) if options.output else cli.run_folder / "adc_ranges.yaml"
    prepare(cli.trainer, model, cli.datamodule)
    counts, images = training_counts(model, layers, cli.datamodule, options.images)
    ranges = [fitted_range(name, layer, counts[name]) for name, layer in layers.items()]
    print(f"ADC ranges, fitted to the counts of {images}\n{range_table(ranges)}\n", flush=True)
    if noise := dict.fromkeys(name for each in ranges for name in each.noise):
        cli.say(f"noise    the same in volts before and after: the file has {' and '.join(noise)} for the new ranges")
    shared = _shared_noise(ranges, layers)
    own = {each.name: {name: x for name, x in each.fields.items() if name not in shared} for each in ranges}
    macro = {"macro": shared} if shared else {}
    write_text(file, dump_yaml({"model": {"plan": {**macro, "rules": layer_rules(model, own)}}}))
    conditions = {
        "before": Condition(),
        "after": Condition(rules={pattern_of(each.name): each.fields for each in ranges}),
    }
    if options.against:
        conditions[f"with {axes_text(options.against)}"] = Condition(macro=options.against, noise_in="volts")
    measure = Measure.of(model.outcome)

    def line(name: str, correct: Answers) -> str:
        found, (images, reads) = mean_interval(correct, measure.is_share), correct.shape
        mean, ends = measure.quantity(found.mean), measure.interval(found.low, found.high)
        return f"{measure.name} {mean} {ends} {name} ({images} test images, {reads} reads)"

    trials = options.trials
    answers = evaluate_each(cli.trainer, model, cli.datamodule, list(conditions.items()), trials, line, cli.say)
    for name, correct in zip(conditions, answers, strict=True):
        if name != "after":
            change = difference_interval(answers[1], correct, measure.is_share)
            mean = f"{measure.shown(change.mean):+.2f}{' points' * measure.is_share}"
            cli.say(f"after - {name}: {mean} {measure.interval(change.low, change.high)}, in pairs")
    for note in narrow_notes(measure, len(answers[0])):
        cli.say(f"note     {note}")
    print(f"rules    {file}, for use as in -c CONFIG -c {file}", flush=True)


def _shared_noise(ranges: Sequence[AdcRange], layers: Mapping[str, OnMacro]) -> dict[str, float | str]:
    """Noise that all layers have alike, percent: the macro has it, so that flags and axes still decide it."""
    ruled = frozenset().union(*(layer.assignment.ruled for layer in layers.values()))
    return {
        name: value
        for name, value in ranges[0].noise.items()
        if name not in ruled and "." not in name and all(each.noise.get(name) == value for each in ranges)
    }
