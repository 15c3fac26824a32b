"""Mistakes of a validation or test: the confusion matrix, and the images that the network gets wrong."""

from itertools import starmap
from typing import Any, NamedTuple

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
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
from asim_lightning.classifier.processes import gather
from asim_lightning.evaluation.whole_file import write_lines
from asim_lightning.report.classifier_figures import confusion_figure, mistakes_figure

_MOST_IMAGES = 400
_FIELDS = ("index", "label", "prediction", "confidence", "label_name", "prediction_name")


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


class _Mistake(NamedTuple):
    """A wrong answer; sorting gives the order on the page: most confident first."""

    doubt: float
    """Minus the confidence."""
    image: int
    label: int
    prediction: int


class Misclassified(Callback):
    """Lists the wrong answers of a validation or test, most confident first, and shows the first of their images.

    Written as misclassified_val.csv and misclassified_val.png (misclassified_test likewise), and shown in TensorBoard
    as ``val/misclassified``. A fit writes its last validation.

    Args:
        images: Images to show: 1..400.
        folder: Folder of the files. Default: the run's folder.
    """

    def __init__(self, images: int = 36, folder: str | None = None) -> None:
        check_whole("`images` of Misclassified", images, 1, _MOST_IMAGES)
        self.images, self.folder = images, folder
        self._start()

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the last validation."""
        self._start()

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Take a batch's wrong answers."""
        if not trainer.sanity_checking:
            self._take(outputs, batch[0])

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write, unless more validations may follow."""
        if trainer.state.fn != "fit":
            self._write(trainer, pl_module)

    on_test_epoch_start = on_validation_epoch_start
    on_test_batch_end = on_validation_batch_end
    on_test_end = on_validation_end

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the mistakes of the last validation."""
        if self._seen:
            self._write(trainer, pl_module)

    def _start(self) -> None:
        self._mistakes: list[_Mistake] = []
        self._pictures: dict[_Mistake, Tensor] = {}  # (channels, height, width) each, of the most confident mistakes
        self._seen = False

    def _take(self, outputs: Any, images: Tensor) -> None:
        self._seen = True
        wrong = (outputs["prediction"] != outputs["label"]).nonzero().flatten()  # (mistakes,)
        columns = [-outputs["confidence"], *(outputs[name] for name in _FIELDS[:3])]
        rows = zip(*(column[wrong].tolist() for column in columns), strict=True)
        places = dict(zip(starmap(_Mistake, rows), wrong.tolist(), strict=True))
        self._mistakes += places
        shown, before = sorted({*self._pictures, *places})[: self.images], self._pictures
        self._pictures = {
            each: before[each] if each in before else images[places[each]].detach().float().cpu() for each in shown
        }

    def _write(self, trainer: Trainer, module: Any) -> None:
        parts = gather((self._mistakes, self._pictures))
        folder, stage = output_folder(trainer, self.folder), stage_of(trainer)
        self._start()
        if not trainer.is_global_zero:
            return
        # an image seen by two processes counts once
        mistakes = sorted({mistake.image: mistake for part in parts for mistake in part[0]}.values())
        pictures = {mistake: picture for part in parts for mistake, picture in part[1].items()}
        names = class_names(trainer, module.num_classes)
        if folder is not None:
            rows = (
                (one.image, one.label, one.prediction, f"{-one.doubt:.6f}", names[one.label], names[one.prediction])
                for one in mistakes
            )
            write_lines(folder / f"misclassified_{stage}.csv", [_FIELDS, *rows])
            (folder / f"misclassified_{stage}.png").unlink(missing_ok=True)  # from an earlier run
        shown = [mistake for mistake in mistakes if mistake in pictures][: self.images]
        if not shown or not (folder or tensorboard_loggers(trainer)):
            return
        captions = [(names[each.label], names[each.prediction], -each.doubt) for each in shown]
        title = f"{stage}: the {len(shown)} most confident of {len(mistakes):,} mistakes"
        data = getattr(trainer, "datamodule", None)
        figure = mistakes_figure([_shown(pictures[each], data).numpy() for each in shown], captions, title)
        show_figure(trainer, f"{stage}/misclassified", figure, folder and folder / f"misclassified_{stage}.png")


def _shown(image: Tensor, data: Any) -> Tensor:
    """An image before its normalisation, 0..1; if that is unknown, stretched to its least and largest value."""
    mean, deviation = getattr(data, "mean", None), getattr(data, "deviation", None)
    if mean is None or deviation is None:
        low, high = image.min(), image.max()
        return (image - low) / (high - low).clamp_min(1e-12)
    shape = (-1, 1, 1)
    mean, deviation = (torch.as_tensor(x, dtype=torch.float32).reshape(shape) for x in (mean, deviation))
    return (image * deviation + mean).clamp(0.0, 1.0)
