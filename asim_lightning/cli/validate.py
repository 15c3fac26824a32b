"""`asim validate` and `asim test`: the accuracy as configured, and with other fidelities and macros, a line each."""

from collections.abc import Sequence
from dataclasses import dataclass

from asim_lightning.callbacks import ImageCounter
from asim_lightning.checks import check_choice, check_whole
from asim_lightning.classifier.outcome import Outcome
from asim_lightning.cli.start import PREDICTIONS, Setup, prepare
from asim_lightning.evaluation.axis_settings import NOISE_AXES
from asim_lightning.evaluation.condition import EQUAL_CHIPS, Condition, chips_differ, noise_text, under
from asim_lightning.evaluation.evaluate import Answers, evaluate_each
from asim_lightning.evaluation.layer_inputs import needed_layers
from asim_lightning.evaluation.results import KINDS, Kind, Measure, axes_text
from asim_lightning.report.labels import count_text
from asim_lightning.surgery import macro_layers


@dataclass(frozen=True)
class Comparison(Condition):
    """One way to compute the network, such as {layers: {depthwise: quantized}, rules: {layer1.*: {adc_bits: 7}}}."""

    def __post_init__(self) -> None:
        check_choice("`compare.fidelity`", self.fidelity, KINDS)
        for pattern, fidelity in self.layers.items():
            check_choice(f"`compare.layers.{pattern}`", fidelity, KINDS)
        super().__post_init__()


@dataclass(frozen=True)
class TestOptions:
    """What to print."""

    verbose: bool = True
    """Whether to print all metrics."""


@dataclass(frozen=True)
class ValidateOptions(TestOptions):
    """Other ways to compute the network, and what to print."""

    compare: list[Comparison | Kind] | None = None
    """Other ways to compute the network, a line of accuracy each: names of fidelities, such as [float, quantized], or
    mappings that change a macro or the fidelity of some layers."""
    trials: int = 2
    """Reads of the chip for each noisy entry of `compare`: 1..65535."""


def validate(setup: Setup, options: ValidateOptions) -> None:
    """Accuracy on the validation images as configured; before it, other ways if asked for."""
    trainer, model, noise = setup.trainer, setup.model, ""
    if options.compare is not None:
        prepare(trainer, model, setup.data, "validate")
        _compare(setup, options.compare, options.trials)
        noise = noise_text(model)
    trainer.validate(model, datamodule=setup.data, verbose=options.verbose, weights_only=True)
    setup.say(_accuracy_line(setup, "val", noise))


def evaluate(setup: Setup, options: TestOptions) -> None:
    """Accuracy on the test images."""
    setup.trainer.test(setup.model, datamodule=setup.data, verbose=options.verbose, weights_only=True)
    setup.say(_accuracy_line(setup, "test"))


def predict(setup: Setup) -> None:
    """A CSV of labels, predictions and confidences."""
    trainer = setup.trainer
    trainer.predict(setup.model, datamodule=setup.data, weights_only=True)
    if not sum(trainer.num_predict_batches):
        raise ValueError("No image was predicted; `trainer.limit_predict_batches` bounds them")
    setup.say(f"predictions  {setup.folder / PREDICTIONS}")


def _compare(setup: Setup, given: Sequence[Comparison | Kind], trials: int) -> None:
    """Validate the network in each way, and print each accuracy in one line.

    The network is left as before. All ways use the input ranges of the whole network quantised. Settings that do not
    fit the network are refused before anything is computed.
    """
    check_whole("`trials`", trials, 1, 65535)
    if not given:
        raise ValueError("`compare` must be a list of one or more, such as [float, {macro: {adc_bits: 7}}], got []")
    needed_layers(setup.model, "`compare`")
    conditions, own = [], setup.model.chip
    for condition in (Condition(each) if isinstance(each, str) else each for each in given):
        if condition.trial is not None:
            raise ValueError(f"`compare` must not name a trial, because `trials` counts them, got {condition.trial}")
        with under(setup.model, condition):
            name = _name(condition, noise_text(setup.model))
            if condition.chip not in (None, own) and not chips_differ(setup.model):
                raise ValueError(f"{EQUAL_CHIPS}, in `compare` ({name})")
        conditions.append((name, condition))

    measure = Measure.of(setup.model.outcome)

    def line(name: str, answers: Answers) -> str:
        images = _count(setup, [int(each) for each in answers.sum(0)], len(answers))
        return f"{measure.name} {measure.quantity(float(answers.mean()))} ({name}, {images})"

    evaluate_each(setup.trainer, setup.model, setup.data, conditions, trials, line, setup.say, "val")


def _name(condition: Condition, noise: str) -> str:
    """The changes of a condition, and `noise_text`: "simulated, adc_bits 7, no noise"."""
    macro = {name: value for name, value in condition.macro.items() if name not in NOISE_AXES}
    rules = (f"{pattern} {axes_text(fields)}" for pattern, fields in condition.rules.items())
    parts = (condition.fidelity, axes_text(macro), *rules, axes_text(condition.layers), noise)
    return ", ".join(part for part in parts if part)


def _count(setup: Setup, right: Sequence[int], images: int) -> str:
    """The images, and how many are right if they are right or wrong."""
    return count_text(right, images) if setup.model.outcome == Outcome() else f"{images:,} images"


def _accuracy_line(setup: Setup, stage: str, noise: str = "") -> str:
    """The accuracy, or mean of another outcome, from an `ImageCounter`, and how it was computed."""
    model, metrics, measure = setup.model, setup.trainer.callback_metrics, Measure.of(setup.model.outcome)
    how, what = model.fidelity if macro_layers(model.backbone) else "float", measure.name
    metric = model.outcome.logged_as(stage, model.fidelity == "estimated")
    if model.fidelity == "estimated":
        what = "estimate"
        how = f"quantized with train_noise {model.train_noise:g}, not simulated"
    if metric not in metrics:
        raise ValueError("No image was evaluated; `trainer.limit_val_batches` and `limit_test_batches` bound them")
    images, right = (int(metrics[name]) for name in (ImageCounter.METRIC, ImageCounter.RIGHT))
    how = f"{how}, {noise}" if noise else how
    return f"{what} {measure.quantity(float(metrics[metric]))} ({how}, {_count(setup, [right], images)})"
