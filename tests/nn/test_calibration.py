"""Input ranges of a whole network, fitted to batches of data."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from asim_lightning.circuit import MacroConfig
from asim_lightning.nn import CimLinear, CimMatmul, calibrate_
from asim_lightning.nn.calibration import needs_calibration, quantized_layers


class Pair(nn.Module):
    """A layer whose answers are multiplied by its weights."""

    def __init__(self, **ranges: str) -> None:
        super().__init__()
        self.first = CimLinear(3, 4, bias=False, macro=MacroConfig(), **ranges)
        self.product = CimMatmul(MacroConfig(), False, **ranges)
        self.first.weight.data = torch.tensor([[1.0, 0.0, 0.0], [0.0, -6.0, 0.0], [0.0, 0.0, 2.0], [1.0, 1.0, 1.0]])

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)  # (batch, rows, 4)
        return self.product(y.abs(), y)


BATCHES = [torch.tensor([[[1.0, 0.0, 0.0]]]), torch.tensor([[[0.0, 1.0, 0.0]]]), torch.tensor([[[0.5, 0.0, 0.25]]])]


@pytest.mark.parametrize(
    "batches", [BATCHES, DataLoader(TensorDataset(torch.cat(BATCHES), torch.arange(3)))], ids=["images", "and labels"]
)
def test_ranges_hold_the_largest_magnitudes_of_all_batches(batches: Any) -> None:
    network = Pair(input_range="calibrated")
    network.first.name = "own"
    assert needs_calibration(network)
    calibrate_(network, batches)
    assert not needs_calibration(network)
    assert (network.first.name, network.product.name) == ("own", "product")  # a layer without a name gets its own
    assert float(network.first.input_max) == 1.0
    # stored operands have a sign also where encoded ones have none
    assert float(network.product.input_max) == pytest.approx(6.0, rel=1e-3)
    assert float(network.product.weight_max) == pytest.approx(6.0, rel=1e-3)


def test_layers_of_another_range_stay_as_they_are() -> None:
    network = Pair(input_range="batch")
    assert not needs_calibration(network)
    calibrate_(network, BATCHES)
    assert [layer.has_range for layer in quantized_layers(network).values()] == [False, False]
    assert [layer.input_range for layer in quantized_layers(network).values()] == ["batch", "batch"]


def state(network: nn.Module) -> list[Any]:
    layers = quantized_layers(network).values()
    return [
        [(layer.fidelity, layer.input_range) for layer in layers],
        [module.training for module in network.modules()],
        [len(module._forward_pre_hooks) for module in network.modules()],
    ]


def test_fidelity_and_mode_of_each_layer_are_left_as_they_were_also_after_an_error() -> None:
    network = Pair(input_range="calibrated")
    network.first.eval().fidelity = "float"
    before = state(network)
    with pytest.raises(ValueError, match="needs inputs of shape"):
        calibrate_(network, [*BATCHES, torch.zeros(1, 1, 5)])
    assert state(network) == before
    calibrate_(network, BATCHES)
    assert state(network) == before


def test_no_batch_and_no_such_method_are_refused() -> None:
    network = Pair(input_range="calibrated")
    with pytest.raises(ValueError, match="calibrate_ needs at least one batch, got none"):
        calibrate_(network, [])
    with pytest.raises(ValueError, match=r"`batches` must be batches, such as .*, got a tensor \(2, 3, 8, 8\)"):
        calibrate_(network, torch.ones(2, 3, 8, 8))
    with pytest.raises(ValueError, match="`method` must be one of max, percentile, mse, got 'entropy'"):
        calibrate_(network, BATCHES, "entropy")
    assert needs_calibration(network)


class Branch(nn.Module):
    """Its second layer takes wide inputs alone."""

    def __init__(self) -> None:
        super().__init__()
        self.always = CimLinear(3, 3, macro=MacroConfig(), input_range="calibrated")
        self.wide = CimLinear(3, 3, macro=MacroConfig(), input_range="calibrated", signed_input=True)
        self.product = CimMatmul(MacroConfig(), input_range="calibrated")

    def forward(self, x: Tensor) -> Tensor:
        y = self.always(x)
        return self.product(self.wide(y), y) if len(x) > 2 else y


def test_a_layer_that_no_batch_reaches_has_no_range_and_says_so() -> None:
    network = Branch().eval()
    calibrate_(network, [torch.rand(2, 1, 3)])
    assert network.always.has_range
    assert [network.wide.has_range, network.product.has_range, network.product.has_weight_range] == [False] * 3
    assert needs_calibration(network)
    with pytest.warns(UserWarning, match="^Layers without a calibrated input range use the maximum of each batch"):
        network.wide(torch.rand(2, 1, 3))
    before = float(network.always.input_max)
    calibrate_(network, [3.0 + torch.rand(4, 1, 3)], missing=True)
    assert float(network.always.input_max) == before
    assert not needs_calibration(network)
    before = float(network.wide.input_max)
    calibrate_(network, [3.0 + torch.rand(2, 1, 3)])
    assert float(network.always.input_max) > 3.0
    assert float(network.wide.input_max) == before > 0
