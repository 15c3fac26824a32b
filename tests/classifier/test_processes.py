"""Input ranges that processes fitted to different images, as each of them gets them."""

from typing import Any

import pytest
import torch
from lightning.pytorch.strategies import SingleDeviceStrategy

from asim_lightning import MacroConfig
from asim_lightning.classifier.processes import fitted_ranges, synchronize_ranges
from asim_lightning.nn import CimMatmul
from asim_lightning.nn.calibration import needs_calibration
from tests.classifier.conftest import make_model


def test_one_strategy_without_processes_changes_nothing() -> None:
    model = make_model()
    model.calibrate([torch.randn(4, 1, 28, 28)])
    before = fitted_ranges(model.backbone)
    for method in ("max", "mse"):
        synchronize_ranges(model, SingleDeviceStrategy("cpu"), method)
    assert fitted_ranges(model.backbone) == before


class TwoProcesses(SingleDeviceStrategy):
    """The other process's ranges are one higher; it is the first."""

    def reduce(self, tensor: torch.Tensor, *_: Any, reduce_op: str = "mean", **__: Any) -> torch.Tensor:
        assert reduce_op == "max"
        return torch.maximum(tensor, tensor + 1)

    def broadcast(self, obj: torch.Tensor, src: int = 0) -> torch.Tensor:
        assert src == 0
        return obj + 1


@pytest.mark.parametrize("method", ["max", "mse"])
def test_both_operands_of_a_product_of_activations_are_shared(method: str) -> None:
    model = torch.nn.ModuleDict({"a": CimMatmul(MacroConfig()), "b": CimMatmul(MacroConfig())})
    model["a"].store_range(2.0)
    model["a"].store_weight_range(5.0)
    synchronize_ranges(model, TwoProcesses("cpu"), method)
    assert (float(model["a"].input_max), float(model["a"].weight_max)) == (3.0, 6.0)
    assert not model["b"].has_range
    assert float(model["b"].input_max) == -1.0


class FirstReachedNone(SingleDeviceStrategy):
    """The other process is the first, and has no ranges."""

    def reduce(self, tensor: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        return tensor

    def broadcast(self, obj: torch.Tensor, src: int = 0) -> torch.Tensor:
        return torch.full_like(obj, -1.0)


def test_a_layer_that_the_first_process_has_not_reached_gets_the_largest_range() -> None:
    model = torch.nn.ModuleDict({"a": CimMatmul(MacroConfig(), input_range="calibrated")})
    model["a"].store_range(2.0)
    model["a"].store_weight_range(5.0)
    synchronize_ranges(model, FirstReachedNone("cpu"), "mse")
    assert (float(model["a"].input_max), float(model["a"].weight_max)) == (2.0, 5.0)


class ReachedMore(SingleDeviceStrategy):
    """The other process has ranges of 4 for all layers."""

    def reduce(self, tensor: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        return tensor.clamp_min(4.0)


def test_processes_may_reach_different_layers() -> None:
    layers = {name: CimMatmul(MacroConfig(), input_range="calibrated") for name in ("reached", "elsewhere")}
    model = torch.nn.ModuleDict(layers)
    model["reached"].store_range(5.0)
    model["reached"].store_weight_range(3.0)
    synchronize_ranges(model, SingleDeviceStrategy("cpu"))
    assert not model["elsewhere"].has_range
    synchronize_ranges(model, ReachedMore("cpu"))
    assert not needs_calibration(model)
    assert [(float(x.input_max), float(x.weight_max)) for x in layers.values()] == [(5.0, 4.0), (4.0, 4.0)]
