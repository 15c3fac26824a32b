"""Metrics of a classifier: the loss of training, and accuracies and losses of validation and test."""

from torch import nn
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy

TRAINING_LOSS = "train/loss"
"""Name of the loss that a fit logs."""


def accuracy_name(stage: str, k: int, is_estimate: bool) -> str:
    """Name of an accuracy that is logged, such as val/acc, test/acc5 or val/acc_estimate.

    Args:
        stage: val or test.
        k: How many of the likeliest classes count.
        is_estimate: Whether it is of the published quick estimate, which never has the name of a simulated accuracy.
    """
    return f"{stage}/acc{'' if k == 1 else k}{'_estimate' if is_estimate else ''}"


def metrics_of(num_classes: int, top5: int) -> tuple[nn.ModuleDict, nn.ModuleDict]:
    """Accuracies and losses of validation and test.

    Args:
        num_classes: Number of classes.
        top5: How many classes the second accuracy counts: 5, or all where there are fewer.

    Returns:
        Accuracies by stage and number of classes that count (val_top1, ...), and mean losses by stage (val_loss, ...).
    """
    stages = ("val", "test")
    accuracies = {
        f"{stage}_top{k}": MulticlassAccuracy(num_classes, top_k=k, average="micro")
        for stage in stages
        for k in (1, top5)
    }
    return nn.ModuleDict(accuracies), nn.ModuleDict({f"{stage}_loss": MeanMetric() for stage in stages})
