"""The picture of accuracy under noise while a network is trained."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from asim_lightning.evaluation.results import PointResult
from asim_lightning.report.accuracy_figure import sweep_figure


def epochs_figure(
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
    title = f"Epoch {epochs[-1]}: {rows[0].images} images of {split}"
    if len(epochs) > 1:
        marked = (("first", epochs[0]), ("best", best), ("last", epochs[-1]))
        rows = []
        for epoch in dict.fromkeys(epoch for _, epoch in marked):
            name = f"{epoch} ({', '.join(word for word, other in marked if other == epoch)})"
            rows += [PointResult(**{**vars(row), "axes": {**row.axes, "epoch": name}}) for row in results[epoch]]
    return sweep_figure(rows, axis, title, None, num_classes, adc_bits)
