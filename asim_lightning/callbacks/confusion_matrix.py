"""The confusion matrix of a validation or test."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torchmetrics.classification import MulticlassConfusionMatrix

from asim_lightning.callbacks.output import (
    class_names,
    is_due,
    output_folder,
    show_figure,
    stage_of,
    tensorboard_loggers,
)
from asim_lightning.checks import check_flag, check_whole
from asim_lightning.evaluation.whole_file import write_lines
from asim_lightning.report.classifier_figures import confusion_figure


class ConfusionMatrix(Callback):
    """The confusion matrix of validations and tests, over all processes.

    It is in TensorBoard as ``val/confusion`` and ``test/confusion``. The latest matrix is written as
    confusion_val.png and confusion_val.csv (confusion_test likewise); the CSV has a line for each true class.

    Args:
        every_n_epochs: While training, act in epochs 0, k, 2k, ... and in the last one: 1 or more.
        normalize: Whether the picture's cells are percent of the true class, or numbers of images.
        folder: Folder of the files. Default: the run's folder.
    """

    def __init__(self, every_n_epochs: int = 1, normalize: bool = True, folder: str | None = None) -> None:
        check_whole("`every_n_epochs` of ConfusionMatrix", every_n_epochs, 1)
        check_flag("`normalize` of ConfusionMatrix", normalize)
        self.every_n_epochs, self.normalize, self.folder = every_n_epochs, normalize, folder
        self._metric: MulticlassConfusionMatrix | None = None

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Start a matrix, if it is due."""
        self._metric = None
        if not trainer.sanity_checking and is_due(trainer, self.every_n_epochs):
            self._metric = MulticlassConfusionMatrix(pl_module.num_classes, validate_args=False).to(pl_module.device)

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Count a batch."""
        if self._metric is not None:
            self._metric.update(outputs["prediction"], outputs["label"])

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show and write the matrix."""
        if self._metric is None:
            return
        counts = self._metric.compute().cpu()  # (classes, classes), summed over the processes
        self._metric = None
        folder, stage = output_folder(trainer, self.folder), stage_of(trainer)
        if not trainer.is_global_zero or not (folder or tensorboard_loggers(trainer)):
            return
        names = class_names(trainer, len(counts))
        accuracy = 100.0 * float(counts.trace()) / max(int(counts.sum()), 1)
        title = f"{stage}: {accuracy:.2f} % of {int(counts.sum()):,} images right"
        if trainer.state.fn == "fit":
            title += f", epoch {trainer.current_epoch}"
        figure = confusion_figure(counts.numpy(), names, self.normalize, title)
        show_figure(trainer, f"{stage}/confusion", figure, folder and folder / f"confusion_{stage}.png")
        if folder is not None:
            rows = ([name, *row] for name, row in zip(names, counts.tolist(), strict=True))
            write_lines(folder / f"confusion_{stage}.csv", [["true \\ predicted", *names], *rows])

    on_test_epoch_start = on_validation_epoch_start
    on_test_batch_end = on_validation_batch_end
    on_test_epoch_end = on_validation_epoch_end
