"""Contents of TensorBoard's tabs for a run: custom scalar charts, and columns of the table of hyperparameters."""

from collections.abc import Collection, Mapping
from typing import Any, TypeAlias

from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData  # type: ignore[import-untyped]
from torch.utils.tensorboard.summary import hparams

Charts: TypeAlias = dict[str, list[Any]]
"""Kind of chart and its tags, by the chart's title."""
Layout: TypeAlias = dict[str, Charts]
"""Charts by their heading."""

_SWEEP = "Sweep"
"""Heading of all charts of accuracy curves."""


def margin_chart(tag: str) -> Charts:
    """A chart of the custom scalars tab, by its title: the curve with a tag of `scalar_steps`, and its interval."""
    # A Margin chart, unlike all others, is not smoothed, which would shift the curve. Its tags are literal where
    # those of Multiline charts are regular expressions: the page escapes them, so that a "$" would match nothing.
    meaning = tag.removeprefix("sweep/accuracy_vs_").replace("_", " ")  # of a step: "random noise in millipercent"
    return {f"accuracy (x = {meaning})": ["Margin", [f"{tag}/mean", f"{tag}/low", f"{tag}/high"]]}


def sweep_layout(tag: str) -> Layout:
    """The layout of a sweep's run: its curve.

    Args:
        tag: Tag of the curve, as `scalar_steps` gives it.
    """
    return {_SWEEP: margin_chart(tag)}


def training_layout(accuracy: Charts) -> Layout:
    """The layout of a training run: accuracy against noise, and training loss beside training noise.

    Args:
        accuracy: Charts of `margin_chart`; none where no accuracy under noise is measured.
    """
    # Tags of a Multiline chart are regular expressions, and "train/loss" alone would find train/loss_epoch too.
    # The loss has a chart of its own too, as noise in percent presses it flat where both share an axis.
    training: Charts = {
        "training loss and noise": ["Multiline", ["train/loss$", "cim/train_noise$"]],
        "training loss": ["Multiline", ["train/loss$"]],
    }
    return {**({_SWEEP: accuracy} if accuracy else {}), "Training": training}


def hparams_line(
    given: Mapping[str, float | int | str | bool], metrics: Collection[str], shown: Collection[str]
) -> tuple[Any, Any, Any]:
    """The three summaries that make one row of the HPARAMS tab.

    The tab takes a metric's value from the run's scalar of that name.

    Args:
        given: Hyperparameters.
        metrics: Names of metrics.
        shown: Hyperparameters that tell runs apart: of all, the tab shows the five that differ.
    """
    columns, start, end = hparams(dict(given), dict.fromkeys(metrics, 0.0))
    plugin = columns.value[0].metadata.plugin_data
    data = HParamsPluginData.FromString(plugin.content)
    for info in data.experiment.hparam_infos:
        info.differs = info.name in shown
    plugin.content = data.SerializeToString()
    return columns, start, end
