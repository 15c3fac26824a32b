"""Mistakes of a validation or test: the confusion matrix, and the images that the network gets wrong."""

from heapq import nsmallest
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor
from torchmetrics.functional.classification import multiclass_confusion_matrix

from asim_lightning.callbacks.output import class_names, is_due, output_folder, show_figure, stage_of
from asim_lightning.callbacks.predictions import FIELDS, AnswersCallback, Batch, answers_of
from asim_lightning.checks import check_whole
from asim_lightning.classifier.processes import gather
from asim_lightning.report.classifier_figures import confusion_figure, mistakes_figure
from asim_lightning.whole_file import write_lines

_MOST_IMAGES = 400


class ConfusionMatrix(AnswersCallback):
    """The confusion matrix of validations and tests, over all processes.

    It is in TensorBoard as ``val/confusion`` and ``test/confusion``. The latest matrix is written as
    confusion_val.png and confusion_val.csv (confusion_test likewise); the CSV has a line for each true class.

    Args:
        every_n_epochs: While training, act in epochs 0, k, 2k, ... and in the last one: 1 or more.
        normalize: Whether the picture's cells are percent of the true class, or numbers of images.
        folder: Folder of the files. Default: the run's folder.

    Examples:
        >>> from asim_lightning.callbacks import ConfusionMatrix
        >>> ConfusionMatrix(normalize=False).every_n_epochs  # asim fit ... --trainer.callbacks+=ConfusionMatrix
        1
    """

    def __init__(self, every_n_epochs: int = 1, normalize: bool = True, folder: str | None = None) -> None:
        super().__init__()
        check_whole("`every_n_epochs` of ConfusionMatrix", every_n_epochs, 1)
        self.every_n_epochs, self.normalize, self.folder = every_n_epochs, normalize, folder

    def finish(self, trainer: Trainer, pl_module: Any) -> None:
        """Show and write the matrix, if it is due."""
        if not is_due(trainer, self.every_n_epochs):
            return
        answers, stage = answers_of(self.batches), stage_of(trainer)
        folder = output_folder(trainer, self.folder)
        if not trainer.is_global_zero:
            return
        labels, predictions = (torch.tensor([row[field] for row in answers]) for field in (1, 2))  # (images,)
        counts = multiclass_confusion_matrix(predictions, labels, pl_module.num_classes, validate_args=False)
        names = class_names(trainer, len(counts))
        title = f"{stage}: {100.0 * int(counts.trace()) / len(answers):.2f} % of {len(answers):,} images right"
        if trainer.state.fn == "fit":
            title += f", epoch {trainer.current_epoch}"
        figure = confusion_figure(counts.numpy(), names, self.normalize, title)
        show_figure(trainer, f"{stage}/confusion", figure, folder and folder / f"confusion_{stage}.png")
        if folder is not None:
            rows = ([name, *row] for name, row in zip(names, counts.tolist(), strict=True))
            write_lines(folder / f"confusion_{stage}.csv", [["true \\ predicted", *names], *rows])


class Misclassified(AnswersCallback):
    """Lists the wrong answers of a validation or test, most confident first, and shows the first of their images.

    Written as misclassified_val.csv and misclassified_val.png (misclassified_test likewise), and shown in TensorBoard
    as ``val/misclassified``. A fit writes its last validation.

    Args:
        images: Images to show: 1..400.
        folder: Folder of the files. Default: the run's folder.

    Examples:
        >>> from asim_lightning.callbacks import Misclassified
        >>> Misclassified(images=16).images  # asim validate ... --trainer.callbacks+=Misclassified
        16
    """

    def __init__(self, images: int = 36, folder: str | None = None) -> None:
        super().__init__()
        check_whole("`images` of Misclassified", images, 1, _MOST_IMAGES)
        self.images, self.folder = images, folder
        self._pictures: list[tuple[float, int, Tensor]] = []
        """Minus the confidence, index and image of the most confident mistakes. # (channels, height, width)"""

    def take(self, outputs: Batch, images: Tensor) -> None:
        """Keep a batch, and the pictures of its most confident mistakes."""
        super().take(outputs, images)
        wrong = (outputs["prediction"] != outputs["label"]).nonzero().flatten()  # (mistakes,)
        doubts, indices = ((-outputs["confidence"])[wrong].tolist(), outputs["index"][wrong].tolist())
        new = zip(doubts, indices, (images[place] for place in wrong.tolist()), strict=True)
        before = self._pictures if len(self.batches) > 1 else []  # not those of the last evaluation
        shown = nsmallest(self.images, [*before, *new], key=lambda each: each[:2])
        self._pictures = [(doubt, index, image.detach().float().cpu()) for doubt, index, image in shown]

    def finish(self, trainer: Trainer, pl_module: Any) -> None:
        """Write, unless more validations may follow."""
        if trainer.state.fn != "fit":
            self._write(trainer, pl_module)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the mistakes of the last validation."""
        if self.batches:
            self._write(trainer, pl_module)

    def _write(self, trainer: Trainer, module: Any) -> None:
        answers, parts = answers_of(self.batches), gather(self._pictures)
        folder, stage = output_folder(trainer, self.folder), stage_of(trainer)
        self.batches = []  # a later fit without validations has no mistakes
        if not trainer.is_global_zero:
            return
        # an image seen by two processes counts once
        wrong = {row[0]: row for row in answers if row[1] != row[2]}.values()
        mistakes = sorted(wrong, key=lambda row: (-row[3], row[0]))
        pictures = {index: image for part in parts for _, index, image in part}
        names = class_names(trainer, module.num_classes)
        if folder is not None:
            rows = ((*row[:3], f"{row[3]:.6f}", names[row[1]], names[row[2]]) for row in mistakes)
            write_lines(folder / f"misclassified_{stage}.csv", [[*FIELDS, "label_name", "prediction_name"], *rows])
            (folder / f"misclassified_{stage}.png").unlink(missing_ok=True)  # from an earlier run
        shown = [row for row in mistakes if row[0] in pictures][: self.images]
        if not shown:
            return
        captions = [(names[label], names[prediction], sure) for _, label, prediction, sure in shown]
        title = f"{stage}: the {len(shown)} most confident of {len(mistakes):,} mistakes"
        data = getattr(trainer, "datamodule", None)
        images = [_shown(pictures[index], data).numpy() for index, *_ in shown]
        figure = mistakes_figure(images, captions, title)
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
