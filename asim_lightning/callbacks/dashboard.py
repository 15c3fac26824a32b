"""What TensorBoard's custom scalars tab shows of a training run."""

from typing import Any, Protocol, TypeAlias, runtime_checkable

from lightning.pytorch import Trainer

from asim_lightning.callbacks.output import tensorboard_loggers
from asim_lightning.sweep.dashboard import CATEGORY

Charts: TypeAlias = dict[str, list[Any]]
"""Kind of chart and its tags, by the chart's title."""


@runtime_checkable
class HasCharts(Protocol):
    """A callback that has charts of accuracy for the layout."""

    def charts(self) -> Charts:
        """Charts of this callback."""
        ...


def write_layout(trainer: Trainer) -> None:
    """Write the whole layout: accuracy against noise, and training loss beside training noise.

    A run has one layout, so that every callback with charts writes all of it, which is the same each time; to be called
    when the fit starts, on any process.
    """
    if not trainer.is_global_zero:
        return
    accuracy: Charts = {}
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, HasCharts):
            accuracy.update(callback.charts())
    # Tags of a Multiline chart are regular expressions, and "train/loss" alone would find train/loss_epoch too.
    # The loss has a chart of its own too, as noise in percent presses it flat where both share an axis.
    training: Charts = {
        "training loss and noise": ["Multiline", ["train/loss$", "cim/train_noise$"]],
        "training loss": ["Multiline", ["train/loss$"]],
    }
    layout = {**({CATEGORY: accuracy} if accuracy else {}), "Training": training}
    for logger in tensorboard_loggers(trainer):
        logger.experiment.add_custom_scalars(layout)
