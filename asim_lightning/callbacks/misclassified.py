"""Images that the network gets wrong."""

from itertools import starmap
from typing import Any, NamedTuple

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from asim_lightning.callbacks.output import class_names, output_folder, show_figure, stage_of, tensorboard_loggers
from asim_lightning.checks import check_whole
from asim_lightning.classifier.processes import gather
from asim_lightning.evaluation.whole_file import write_lines
from asim_lightning.report.classifier_figures import mistakes_figure

_MOST_IMAGES = 400
_FIELDS = ("index", "label", "prediction", "confidence", "label_name", "prediction_name")


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
