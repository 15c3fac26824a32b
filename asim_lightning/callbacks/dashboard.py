"""What TensorBoard's custom scalars tab shows of a training run."""

from typing import Protocol, runtime_checkable

from lightning.pytorch import Trainer

from asim_lightning.callbacks.output import tensorboard_loggers
from asim_lightning.report.tensorboard_layout import Charts, training_layout


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
    layout = training_layout(accuracy)
    for logger in tensorboard_loggers(trainer):
        logger.experiment.add_custom_scalars(layout)
