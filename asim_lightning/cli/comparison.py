"""`asim validate --compare`: the same images by other fidelities, macros and mixtures of both, a line each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lightning.pytorch import Trainer

from asim_lightning.callbacks import ImageCounter
from asim_lightning.checks import check_choice, check_whole
from asim_lightning.classifier import CimClassifier
from asim_lightning.cli.messages import UsageError
from asim_lightning.evaluation import Condition, under
from asim_lightning.evaluation.condition import EQUAL_CHIPS, chips_differ, is_noisy
from asim_lightning.evaluation.evaluate import Evaluate, run_evaluations
from asim_lightning.evaluation.progress import EvaluationBar
from asim_lightning.evaluation.results import KINDS, axes_text
from asim_lightning.report.numbers import count_text
from asim_lightning.surgery import macro_layers


@dataclass(frozen=True)
class Comparison:
    """One way to compute the network that is validated.

    Raises:
        ValueError: A fidelity is unknown.
    """

    fidelity: str = "simulated"
    """Fidelity of every layer: float, quantized (integers, no macro) or simulated (bit by bit)."""
    macro: dict[str, Any] = field(default_factory=dict)
    """Fields of the macro that differ from the plan's, in every layer that is on one."""
    layers: dict[str, str] = field(default_factory=dict)
    """Fidelity of some layers, as glob, `re:` or kind: {depthwise: quantized} keeps them digital, in integers."""
    chip: int | None = None
    """Number of the chip: 0..2^32-1; null: the model's."""
    rules: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Fields of the macro of some layers that differ, as glob, `re:` or kind: {layer1.*: {adc_bits: 7}}."""

    def __post_init__(self) -> None:
        check_choice("`compare.fidelity`", self.fidelity, KINDS)
        for pattern, fidelity in self.layers.items():
            check_choice(f"`compare.layers.{pattern}`", fidelity, KINDS)

    @property
    def condition(self) -> Condition:
        """The condition that it asks for."""
        return Condition(self.fidelity, self.macro, self.layers, chip=self.chip, rules=self.rules)

    def __str__(self) -> str:
        """What is special about it, as in "simulated, random_noise 0.05, depthwise quantized"."""
        rules = (f"{pattern} {axes_text(fields)}" for pattern, fields in self.rules.items())
        chip = "" if self.chip is None else f"chip {self.chip}"
        parts = (self.fidelity, axes_text(self.macro), *rules, axes_text(self.layers), chip)
        return ", ".join(part for part in parts if part)


def validate_each(
    trainer: Trainer,
    model: CimClassifier,
    data: Any,
    comparisons: Sequence[str | Comparison],
    trials: int,
    say: Callable[[str], None],
) -> None:
    """Validate the network in each way, and say each accuracy in one line.

    The network is left as it was. Input ranges are those of the whole network quantised, in every way the same.

    Args:
        trainer: The trainer.
        model: Converted classifier.
        data: Data module; its validation images are used.
        comparisons: The ways; a name alone is a fidelity.
        trials: Reads of the chip where one is noisy: 1..65535.
        say: Takes each line.

    Raises:
        ValueError: There is no way, no layer is on a macro, or one does not fit the network; nothing is computed then.
    """
    check_whole("`trials`", trials, 1, 65535)
    if not comparisons:
        raise ValueError("`compare` must be a list of one or more, such as [float, {macro: {adc_bits: 7}}], got []")
    if not macro_layers(model.backbone):
        raise ValueError("`compare` needs a network with layers on a macro, got one without; set `model.plan`")
    ways = [Comparison(each) if isinstance(each, str) else each for each in comparisons]
    reads, own = [], model.chip
    for way in ways:  # all before the first, which may take hours
        with under(model, way.condition):
            if way.chip not in (None, own) and not chips_differ(model):
                raise ValueError(f"{EQUAL_CHIPS}, in `compare` ({way})")
            reads.append(trials if is_noisy(model) else 1)
    first, shown = model.trial, trainer.progress_bar_callback is not None and trainer.is_global_zero
    bar = EvaluationBar(sum(reads), data.val_dataloader(), shown, trainer.world_size)

    def work(evaluate: Evaluate) -> None:
        for way, count in zip(ways, reads, strict=True):
            found = []
            for trial in range(count):
                bar.describe(f"{way}, read {trial}" if count > 1 else str(way))
                found.append(evaluate(replace(way.condition, trial=(first + trial) & 0xFFFF)))
            images, right = len(found[0].value), [int(outcomes.correct.sum()) for outcomes in found]
            bar.above(say)(f"accuracy {100 * sum(right) / (images * count):.2f} % ({way}, {count_text(right, images)})")

    try:
        run_evaluations(trainer, model, data, work, "val", bar.advance)
    finally:
        bar.close()


def accuracy_line(trainer: Trainer, model: CimClassifier, metric: str) -> str:
    """The accuracy of an evaluation that an `ImageCounter` saw, and how it was computed.

    Args:
        trainer: The trainer.
        model: The classifier.
        metric: Name of the accuracy: val/acc or test/acc.

    Raises:
        UsageError: No image was evaluated.
    """
    how, what = model.fidelity if macro_layers(model.backbone) else "float", "accuracy"
    if model.fidelity == "estimated":
        metric, what = f"{metric}_estimate", "estimate"
        how = f"quantized with train_noise {model.train_noise:g}, not simulated"
    if metric not in trainer.callback_metrics:
        raise UsageError("No image was evaluated; `trainer.limit_val_batches` and `limit_test_batches` bound them")
    percent = 100 * float(trainer.callback_metrics[metric])
    images, right = (int(trainer.callback_metrics[name]) for name in (ImageCounter.METRIC, ImageCounter.RIGHT))
    return f"{what} {percent:.2f} % ({how}, {count_text([right], images)})"
