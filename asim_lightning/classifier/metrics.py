"""Metrics of a classifier: the loss of training, and accuracies and losses of validation and test."""

from torch import nn
from torchmetrics import MeanMetric, Metric
from torchmetrics.classification import MulticlassAccuracy

from asim_lightning.classifier.outcome import Outcome

TRAINING_LOSS = "train/loss"
"""Name of the loss that a fit logs."""


def outcome_name(stage: str, outcome: Outcome, is_estimate: bool, k: int = 1) -> str:
    """Name of an outcome's mean that is logged, such as val/acc, test/acc5, val/acc_estimate or val/mean_iou.

    Args:
        stage: val or test.
        outcome: The outcome.
        is_estimate: Whether it is of the published quick estimate, which never has the name of a simulated accuracy.
        k: How many of the likeliest classes count, of an accuracy.
    """
    return f"{stage}/{outcome.metric}{'' if k == 1 else k}{'_estimate' if is_estimate else ''}"


def metrics_of(num_classes: int, top: tuple[int, ...]) -> tuple[nn.ModuleDict, nn.ModuleDict]:
    """Means of the outcome and losses of validation and test.

    Args:
        num_classes: Number of classes.
        top: How many of the likeliest classes each accuracy counts; empty: the outcome is no accuracy.

    Returns:
        Accuracies by stage and number of classes that count (val_top1, ...), or means of another outcome (val_mean,
        ...), and mean losses by stage (val_loss, ...).
    """
    stages = ("val", "test")
    accuracies: dict[str, Metric] = {
        f"{stage}_top{k}": MulticlassAccuracy(num_classes, top_k=k, average="micro") for stage in stages for k in top
    } or {f"{stage}_mean": MeanMetric() for stage in stages}
    return nn.ModuleDict(accuracies), nn.ModuleDict({f"{stage}_loss": MeanMetric() for stage in stages})
