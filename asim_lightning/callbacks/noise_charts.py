"""The curve of a noise sweep while training: as a figure, and as a chart of TensorBoard."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from lightning.pytorch.loggers import TensorBoardLogger
from matplotlib.figure import Figure
from torch.utils.tensorboard import SummaryWriter

from asim_lightning.callbacks.noise_levels import NoiseLevel
from asim_lightning.evaluation.results import PointResult, axis_text
from asim_lightning.sweep.dashboard import add_curve, scalar_steps
from asim_lightning.sweep.plot import sweep_figure


def noise_figure(
    results: Mapping[int, Sequence[PointResult]], axis: str, split: str, num_classes: int, adc_bits: int | None
) -> Figure:
    """Accuracy against noise: the last sweep, and beside it the first and the one with the best mean.

    Args:
        results: Results of each epoch that had a sweep.
        axis: Which noise of the macro.
        split: Name of the data set.
        num_classes: Classes of the task.
        adc_bits: Bits of the ADC, where all macros share them.
    """
    epochs = list(results)
    best = max(epochs, key=lambda epoch: sum(row.accuracy for row in results[epoch]))
    rows = list(results[epochs[-1]])
    title = f"Epoch {epochs[-1]}: {rows[0].images} images of {split}, 95 % intervals"
    if len(epochs) > 1:
        marked = (("first", epochs[0]), ("best", best), ("last", epochs[-1]))
        rows = []
        for epoch in dict.fromkeys(epoch for _, epoch in marked):
            name = f"{epoch} ({', '.join(word for word, other in marked if other == epoch)})"
            rows += [PointResult(**{**vars(row), "axes": {**row.axes, "epoch": name}}) for row in results[epoch]]
    return sweep_figure(rows, axis, title, None, num_classes, adc_bits)


def curve_steps(axis: str, levels: Iterable[NoiseLevel]) -> tuple[str, dict[str, int]]:
    """Tag of the curve, which is that of `asim sweep`, and the step of each level by its text."""
    return scalar_steps(axis, [level.place for level in levels])


def write_curve(
    loggers: Iterable[TensorBoardLogger], axis: str, levels: Sequence[NoiseLevel], results: Sequence[PointResult]
) -> None:
    """Write the curve of one sweep, in place of one that an earlier fit left in the folder.

    Args:
        loggers: Where to.
        axis: Which noise of the macro.
        levels: Its levels.
        results: The result at each level.
    """
    tag, steps = curve_steps(axis, levels)
    suffix = f".{axis}"
    for logger in loggers:
        # A file of its own, written once: steps are noise levels, so that a second curve below the same tag, as of a
        # fit that goes on in its folder, would be drawn as a zigzag with the first.
        for stale in Path(logger.log_dir).glob(f"events.out.tfevents.*{suffix}"):
            stale.unlink()
        with SummaryWriter(logger.log_dir, filename_suffix=suffix) as writer:
            add_curve(writer, tag, [(steps[axis_text(row.axes[axis])], row) for row in results])
