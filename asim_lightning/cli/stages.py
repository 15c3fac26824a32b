"""`asim fit`, `validate`, `test` and `predict`: Lightning's functions, and their results in a line each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from lightning.pytorch.loggers import CSVLogger
from numpy.typing import ArrayLike

from asim_lightning.callbacks import ImageValues
from asim_lightning.callbacks.output import tensorboard_loggers
from asim_lightning.checks import check_whole
from asim_lightning.circuit.voltage import NOISE_AXES
from asim_lightning.classifier.outcome import Outcome
from asim_lightning.cli.fitting import ended_by, weights_line
from asim_lightning.cli.parser import PREDICTIONS, AsimCLI
from asim_lightning.cli.weights import prepare, read_data
from asim_lightning.data.image_data_module import ImageDataModule
from asim_lightning.evaluation.condition import EQUAL_CHIPS, Condition, chips_differ, noise_text, under
from asim_lightning.evaluation.evaluate import evaluate_each
from asim_lightning.evaluation.interval import difference_interval, mean_interval
from asim_lightning.evaluation.measure import Measure
from asim_lightning.evaluation.notes import measure_notes
from asim_lightning.evaluation.results import KINDS, Kind, Outcomes, agreement, axes_text, stacked
from asim_lightning.surgery import macro_layers
from asim_lightning.table import count_text


@dataclass(frozen=True)
class FitOptions:
    """The start of a fit."""

    resume: bool = True
    """Whether the fit continues with the optimizer state of `ckpt_path`, if it has one; else it starts from the weights
    at epoch 0."""


def fit(cli: AsimCLI, options: FitOptions) -> None:
    """Train a network, quantised and with noise, and say how it ended and where its files are."""
    trainer, start = cli.trainer, cli.start
    if start.resumes and (ended := ended_by(start, trainer)):
        cli.say(f"nothing is trained, because `trainer.{ended}` is reached; raise it to train further")
        return
    if isinstance(cli.datamodule, ImageDataModule) and trainer.world_size == 1:  # else the first process downloads
        read_data(cli.model, cli.datamodule, "fit")  # before loggers make files
    resumed = start.path if start.resumes else None
    trainer.fit(cli.model, datamodule=cli.datamodule, ckpt_path=resumed, weights_only=True)
    if getattr(trainer, "fast_dev_run", False):
        return
    for stopping in trainer.early_stopping_callbacks:
        if trainer.should_stop and (why := stopping.stopping_reason_message):
            reason = why.removesuffix(" Signaling Trainer to stop.")
            cli.say(f"stopped  by EarlyStopping in epoch {stopping.stopped_epoch}: {reason}")
    cli.say(f"run      {trainer.log_dir}")
    for logger in trainer.loggers:
        if isinstance(logger, CSVLogger):
            cli.say(f"numbers  {logger.log_dir}/metrics.csv")
    if weights := weights_line(trainer.checkpoint_callbacks):
        cli.say(f"weights  {weights}")
    for folder in dict.fromkeys(logger.root_dir for logger in tensorboard_loggers(trainer)):
        cli.say(f"charts   tensorboard --logdir {Path(folder).parent}")


@dataclass(frozen=True)
class TestOptions:
    """What to print."""

    verbose: bool = True
    """Whether to print all metrics."""


@dataclass(frozen=True)
class ValidateOptions(TestOptions):
    """Ways to compute the network, and what to print."""

    compare: list[Condition | Literal["float", "quantized", "simulated"]] | None = None
    """Ways to compute the network, a line of accuracy each: names of fidelities, such as [float, quantized, simulated],
    or mappings that change a macro or the fidelity of some layers; null: as configured."""
    trials: int = 2
    """Reads of the chip for each noisy entry of `compare`: 1..65535."""


def validate(cli: AsimCLI, options: ValidateOptions) -> None:
    """Accuracy on the validation images as configured, or in each way of `compare`, with its interval."""
    trainer, model = cli.trainer, cli.model
    if options.compare is None and "trials" in cli.by_flags:
        raise ValueError("`trials` needs `compare`, because it counts the reads of its entries, got `compare` null")
    if options.compare is not None:
        prepare(trainer, model, cli.datamodule, "validate")
        _compare(cli, options.compare, options.trials)
        return
    trainer.validate(model, datamodule=cli.datamodule, verbose=options.verbose, weights_only=True)
    _say_accuracy(cli)


def evaluate(cli: AsimCLI, options: TestOptions) -> None:
    """Accuracy on the test images."""
    cli.trainer.test(cli.model, datamodule=cli.datamodule, verbose=options.verbose, weights_only=True)
    _say_accuracy(cli)


def predict(cli: AsimCLI) -> None:
    """A CSV of labels, predictions and confidences."""
    trainer = cli.trainer
    trainer.predict(cli.model, datamodule=cli.datamodule, weights_only=True)
    if not sum(trainer.num_predict_batches):
        raise ValueError("No image was predicted; `trainer.limit_predict_batches` bounds them")
    cli.say(f"predictions  {cli.run_folder / PREDICTIONS}")


def _compare(cli: AsimCLI, given: Sequence[Condition | Kind], trials: int) -> None:
    """Validate the network in each way, and print each accuracy in one line.

    The network is left as before. All ways use the input ranges of the whole network quantised. Settings that do not
    fit the network are refused before anything is computed.
    """
    check_whole("`trials`", trials, 1, 65535)
    if not given:
        raise ValueError("`compare` must be a list of one or more, such as [float, {macro: {adc_bits: 7}}], got []")
    from asim_lightning.evaluation.layer_inputs import needed_layers  # most validations compare nothing

    needed_layers(cli.model, "`compare`")
    conditions, own = [], cli.model.chip
    for condition in (Condition(each) if isinstance(each, str) else each for each in given):
        if condition.trial is not None:
            raise ValueError(f"`compare` must not name a trial, because `trials` counts them, got {condition.trial}")
        with under(cli.model, condition):
            name = _name(condition, noise_text(cli.model))
            if condition.chip not in (None, own) and not chips_differ(cli.model):
                raise ValueError(f"{EQUAL_CHIPS}, in `compare` ({name})")
        conditions.append((name, condition))

    measure = Measure.of_module(cli.model)

    known = dict[str, Sequence[Outcomes]]()
    references = {
        kind: name for kind in KINDS[:2] for name, each in conditions[::-1] if each == Condition(kind)
    }  # the first of each

    def line(name: str, reads: Sequence[Outcomes]) -> str:
        answers, earlier = stacked(reads), [*known]
        known[name] = reads
        images = _count(cli, [int(each) for each in answers.sum(0)], len(reads[0].value))
        said = [f"{measure.name} {_estimate(measure, answers)} ({name}, {images})"]
        others = {kind: known[of] for kind, of in references.items() if of in known and of != name}
        said[0] = "; ".join(filter(None, [said[0], _against(measure, reads, others)]))
        if name == references.get("quantized"):  # the lines of earlier ways could not say it
            shares = ((each, _as_quantized(known[each], reads)) for each in earlier)
            said += [f"note     {each}: {share}" for each, share in shares if share]
        return "\n".join(said)

    evaluate_each(cli.trainer, cli.model, cli.datamodule, conditions, trials, line, cli.say, "val")
    for reads in [*known.values()][:1]:  # only the first process has any
        for note in measure_notes(measure, len(reads[0].value)):
            cli.say(f"note     {note}")


def _against(measure: Measure, reads: Sequence[Outcomes], others: Mapping[Kind, Sequence[Outcomes]]) -> str:
    """Changes of an exponential against references, with their paired intervals, and equal tokens; may be empty."""
    found, answers = [], stacked(reads)
    for kind, other in others.items() if measure.shown_as == "exponential" else ():
        both = np.hstack([answers, stacked(other)])
        if (both == both[:, :1]).all():  # equal differences have no interval
            found.append(f"equal to {kind}")
            continue
        change = difference_interval(answers, stacked(other), measure.is_share)
        ends = measure.change_interval(change.low, change.high, "+")
        found.append(f"{measure.change_text(change.mean, '+')} % {ends} to {kind}")
    if "quantized" in others and (share := _as_quantized(reads, others["quantized"])):
        found.append(share)
    return ", ".join(found)


def _as_quantized(reads: Sequence[Outcomes], quantized: Sequence[Outcomes]) -> str:
    share = agreement(reads, quantized[0])
    return "" if share is None else f"{100 * share:.2f} % of tokens as quantized"


def _name(condition: Condition, noise: str) -> str:
    """The changes of a condition, and `noise_text`: "simulated, adc_bits 7, no noise"."""
    macro = {name: value for name, value in condition.macro.items() if name not in NOISE_AXES}
    rules = (f"{pattern} {axes_text(fields)}" for pattern, fields in condition.rules.items())
    volts = "noise in volts" if condition.noise_in == "volts" else ""
    error = "error of the macro" if condition.of_macro else ""
    parts = (condition.fidelity, error, axes_text(macro), *rules, axes_text(condition.layers), volts, noise)
    return ", ".join(part for part in parts if part)


def _count(cli: AsimCLI, right: Sequence[int], images: int) -> str:
    """The images, and how many are right if they are right or wrong."""
    return count_text(right, images) if cli.model.outcome == Outcome() else f"{images:,} images"


def _estimate(measure: Measure, answers: ArrayLike) -> str:
    """The mean of the outcomes of images, with its 95 % interval; see `stacked`. # (units, reads)"""
    found = mean_interval(answers, measure.is_share)
    return f"{measure.quantity(found.mean)} {measure.interval(found.low, found.high)}"


def _say_accuracy(cli: AsimCLI) -> None:
    """Print the accuracy, or mean of another outcome, from an `ImageValues`, and how it was computed: noise, and the
    chip if chips differ."""
    model, measure = cli.model, Measure.of_module(cli.model)
    how, what = model.fidelity if macro_layers(model.backbone) else "float", measure.name
    if model.fidelity == "estimated":
        what = "estimate"
        how = f"quantized with train_noise {model.train_noise:g}, not simulated"
    values = cli.trainer.callback_metrics.get(ImageValues.METRIC)  # (images,)
    if values is None or not len(values):
        raise ValueError("No image was evaluated; `trainer.limit_val_batches` and `limit_test_batches` bound them")
    how = ", ".join(filter(None, [how, noise_text(model)]))
    units = cli.trainer.callback_metrics[ImageValues.UNITS]  # (units,)
    cli.say(f"{what} {_estimate(measure, units[:, None])} ({how}, {_count(cli, [int(values.sum())], len(values))})")
    for note in measure_notes(measure, len(values)):
        cli.say(f"note     {note}")
