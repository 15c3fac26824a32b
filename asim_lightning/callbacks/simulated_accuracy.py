"""Accuracy on the macro while training, for the choice of the epoch that is kept."""

from lightning.pytorch import Callback, LightningModule, Trainer

from asim_lightning.callbacks.noise_measurement import held_out_batches, validation_loader
from asim_lightning.checks import check_whole
from asim_lightning.classifier import CimClassifier
from asim_lightning.evaluation import Condition
from asim_lightning.evaluation.evaluate import evaluate
from asim_lightning.evaluation.results import result_of
from asim_lightning.surgery import macro_layers

_OTHER_CHIPS = tuple(2**32 - 1 - number for number in range(8))
"""Chips that stand for all chips; `--chips` evaluates others, which no epoch was chosen for."""
_FEWER = 100
"""Images on each of these chips."""


class SimulatedAccuracy(Callback):
    """Measures, after each validation of a fit, the accuracy of the macro as configured, simulated bit by bit.

    Logs ``val/acc_simulated``, 0..1, which a ModelCheckpoint can monitor. A fit with `train_noise_model` macro or chip
    has this callback by itself if no other callback keeps an epoch, or if one monitors this metric.

    Args:
        images: Images of the validation data, spread evenly over it, always the same; all if there are fewer.
        chips: Numbers of the chips over which the accuracy is a mean; null: the model's chip.

    Raises:
        ValueError: An argument is not allowed.
    """

    METRIC = "val/acc_simulated"
    """The metric that it logs."""
    logged = (METRIC,)
    """Metrics that it logs."""

    def __init__(self, images: int = 200, chips: list[int] | None = None) -> None:
        check_whole("`images` of SimulatedAccuracy", images, 1)
        if chips is not None and not chips:
            raise ValueError("`chips` of SimulatedAccuracy must be null or one or more numbers, got []")
        self.images = images
        self.conditions = [Condition(chip=chip) for chip in ([None] if chips is None else chips)]

    def __str__(self) -> str:
        chips = [each.chip for each in self.conditions if each.chip is not None]
        on = f"chip {chips[0]}" if len(chips) == 1 else f"each of {len(chips)} chips"
        return f"up to {self.images} validation images" + (f" on {on}" if chips else "")

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure.

        Raises:
            ValueError: The module is no CimClassifier, or the validation data has no length.
        """
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        if not isinstance(pl_module, CimClassifier):
            raise ValueError(f"SimulatedAccuracy needs a CimClassifier, got {type(pl_module).__name__}")
        batches = held_out_batches(trainer, pl_module, validation_loader(trainer), self.images)
        outcomes = [evaluate(trainer, pl_module, batches, condition) for condition in self.conditions]
        accuracy = result_of({}, "simulated", outcomes).accuracy
        # equal on every process; a maximum over them, unlike a mean, keeps its last bit
        pl_module.log(self.METRIC, accuracy, reduce_fx="max", sync_dist=True)


def accuracy_of_training(model: CimClassifier) -> SimulatedAccuracy | None:
    """The callback that measures what the noise model of a classifier trains for.

    Args:
        model: The classifier.

    Returns:
        None if the noise is not that of a macro or chip, or `val/acc` measures the same.
    """
    kind, arguments = model.hparams["train_noise_model"], model.hparams["train_noise_args"] or {}
    if kind not in ("macro", "chip") or not macro_layers(model.backbone):
        return None
    chip = arguments.get("chip") if kind == "chip" else None
    if chip == "fresh":
        return SimulatedAccuracy(_FEWER, list(_OTHER_CHIPS))
    if model.fidelity == "simulated" and chip in (None, model.chip):
        return None
    return SimulatedAccuracy(chips=None if chip is None else [chip])
