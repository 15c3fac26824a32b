"""Input ranges that processes fitted to different images, as each of them gets them."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch import Tensor

from asim_lightning import MacroConfig
from asim_lightning.classifier.processes import fitted_ranges, synchronize_ranges
from asim_lightning.nn import CimMatmul
from tests.classifier.conftest import make_model


def test_one_strategy_without_processes_changes_nothing() -> None:
    model = make_model()
    model.calibrate([torch.randn(4, 1, 28, 28)])
    before = fitted_ranges(model.backbone)
    for method in ("max", "mse"):
        synchronize_ranges(model, SingleDeviceStrategy("cpu"), method)
    assert fitted_ranges(model.backbone) == before


class TwoProcesses(SingleDeviceStrategy):
    """The other process is the first, and has what a function makes of the ranges of this one."""

    def __init__(self, other: Callable[[Tensor], Tensor]) -> None:
        super().__init__("cpu")
        self.other = other

    def reduce(self, tensor: Tensor, *_: Any, reduce_op: str = "mean", **__: Any) -> Tensor:
        assert reduce_op == "max"
        return torch.maximum(tensor, self.other(tensor))

    def broadcast(self, obj: Tensor, src: int = 0) -> Tensor:
        assert src == 0
        return self.other(obj)


@pytest.mark.parametrize(
    ("method", "other", "expected"),
    [
        ("max", lambda mine: torch.where(mine >= 0, mine + 1, mine), [(3.0, 6.0), (-1.0, -1.0)]),
        ("mse", lambda mine: torch.where(mine >= 0, mine + 1, mine), [(3.0, 6.0), (-1.0, -1.0)]),
        ("mse", lambda mine: torch.full_like(mine, -1.0), [(2.0, 5.0), (-1.0, -1.0)]),  # has reached no layer
        ("max", lambda mine: torch.full_like(mine, 4.0), [(4.0, 5.0), (4.0, 4.0)]),  # has reached all layers
        ("mse", lambda mine: torch.full_like(mine, 1.0), [(1.0, 1.0), (1.0, 1.0)]),
    ],
)
def test_both_operands_of_products_are_shared(method: str, other: Any, expected: list[tuple[float, float]]) -> None:
    layers = {name: CimMatmul(MacroConfig(), input_range="calibrated") for name in ("reached", "elsewhere")}
    layers["reached"].store_range(2.0)
    layers["reached"].store_range(5.0, "weight_max")
    synchronize_ranges(torch.nn.ModuleDict(layers), TwoProcesses(other), method)
    assert [(float(layer.input_max), float(layer.weight_max)) for layer in layers.values()] == expected
